"""Turns Python's garbage collector off during a function's start-up. Each handler imports this module first."""

import gc

# Imported modules are never garbage, and to search them takes a tenth of the time of a cold start.
gc.disable()


def turn_gc_on() -> None:
    """Turn the garbage collector on. It never scans the objects that exist by now."""
    # https://docs.python.org/3/library/gc.html#gc.freeze
    gc.freeze()
    gc.enable()
