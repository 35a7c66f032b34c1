"""``python -m replica`` is the ``replica`` command."""

from replica.cli import main

if __name__ == "__main__":
    main()
