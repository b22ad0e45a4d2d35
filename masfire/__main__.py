"""`python -m masfire` is the command `masfire`."""

from masfire.cli import main

if __name__ == "__main__":
    main()
