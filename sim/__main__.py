"""`python -m sim`."""

from sim.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
