"""`python -m linftui` is the same as `linftui`."""

from linftui.cli.app import main

main()
