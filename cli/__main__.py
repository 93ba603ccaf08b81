"""``python -m qkan.cli`` is the console script ``qkan``."""

from qkan.cli.main import main

main()
