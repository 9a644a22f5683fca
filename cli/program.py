"""Runs a program so that Ctrl-C, a closed stream or a full disk ends it without a traceback."""

import os
import sys
from importlib import import_module
from typing import Final, NoReturn

_INTERRUPTED: Final = 130
"""The exit status after Ctrl-C, as shells report it."""


def start(module: str) -> NoReturn:
    """Import the module, run its `main`, and exit with the status that `main` returns.

    The import takes up to a second, and somebody may press Ctrl-C meanwhile.
    """
    _open_standard_streams()
    try:
        try:
            sys.exit(import_module(module).main())
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except OSError as error:
        # At its exit, Python would try again to write the rest of the output, and print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"Error: {error}.")


def _open_standard_streams() -> None:
    """Open /dev/null for standard streams that are closed. Otherwise other files would get their descriptors 0 to 2.

    Python sets such a stream to None, and the commands do not check that.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)  # noqa: FBT003
            setattr(sys, name, os.fdopen(descriptor, mode))
