"""`python -m masfire.cli` is the command `masfire`."""

from masfire.cli import main

main()
