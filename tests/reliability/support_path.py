"""Importing this puts tests/support on the path, as pytest does, for scripts that run alone."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))
