"""`python -m tocsin.console.cli` is the command `tocsin`."""

from tocsin.console.cli import main

main()
