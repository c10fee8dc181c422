"""Importing large libraries, which takes a command longer than anything else at its start."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def large_imports() -> Iterator[None]:
    """Import large libraries in a fifth less time, and end the process the sooner for it.

    Nothing of a library is garbage, so the collector looks for none meanwhile, and afterwards
    leaves out what there is, unless nothing was imported that had not been before. For programs:
    garbage in cycles that a process has by then is never freed.

    Example:
        >>> with large_imports():
        ...     import torch
    """
    enabled, imported = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > imported:
            gc.freeze()
        if enabled:
            gc.enable()
