"""Command-line programs; each runs as `python -m experiments.NAME`."""
