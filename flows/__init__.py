"""When a build runs: Prefect flows, and the command line `python -m flows`."""
