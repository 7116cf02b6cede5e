"""``python -m pymap``."""

from pymap.main import main

if __name__ == "__main__":
    main()
