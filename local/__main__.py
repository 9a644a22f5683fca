"""Starts `python -m local`."""

from cli.program import start

start("local.main")
