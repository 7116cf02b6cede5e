"""Where mail lives: the contract in `api`, what every store gets for free in `index`, and the
stores themselves in folders of their own."""
