"""The command line: `python -m flows build|plan|geometry|verify|explain --help`."""

from flows.cli import app

app()
