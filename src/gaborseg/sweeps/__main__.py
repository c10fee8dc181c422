"""Runs a command's module as ``python -m`` does, in a process that ends with the sweep's.

    python -m gaborseg.sweeps src.train kernel=gabor ...

Watching the parent begins here, before the command's imports, which take seconds.
"""

import runpy
import sys

from gaborseg.runs import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
