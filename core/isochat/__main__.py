"""``python -m isochat``: the command line, where the script is not on the path."""

from isochat.cli import main

main()
