"""``python -m flowrunner``."""

from flowrunner.cli.main import main

if __name__ == "__main__":
    main()
