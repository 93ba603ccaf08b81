"""``python -m qkan.cli`` is the console script ``qkan``."""

from qkan.cli.main import main

if __name__ == "__main__":  # the worker processes of a comparison import this file as well
    main()
