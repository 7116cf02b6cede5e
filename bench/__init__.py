"""Load against pymap and its peers: `python -m bench` prints one table. See README.md."""
