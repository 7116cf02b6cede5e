"""``python -m pymap.admin.cli`` is ``pymap-admin``."""

from pymap.admin.cli import main

main()
