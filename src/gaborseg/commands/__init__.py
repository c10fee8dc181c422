"""The commands, and the console program ``gaborseg`` that runs them by name.

    gaborseg train kernel=gabor loss=pcc

does in any folder what ``python -m src.train kernel=gabor loss=pcc`` does in a checkout.
"""

import os
import runpy
import sys
from importlib.metadata import version
from pathlib import Path

from gaborseg.interface import CONSOLE, output_may_be_cut

_HERE = Path(__file__).parent
_COMPLETION = 'Tab completion in bash: eval "$(gaborseg train -sc install=bash)"'
_EXAMPLES = (
    "  gaborseg train",
    "  gaborseg report runs=outputs/runs output=outputs/report",
    "  gaborseg predict checkpoint=outputs/runs/default input=scans output=segmented",
)


def main() -> None:
    """Run the command that the first argument names, as ``python -m`` would."""
    name, *arguments = sys.argv[1:] or ["--help"]
    os.environ[CONSOLE] = "1"
    os.environ["PYTHONSAFEPATH"] = "1"  # for processes that it starts: no modules from this folder
    if name in ("-h", "--help", "help"):
        with output_may_be_cut():
            print(_overview(), flush=True)
    elif name == "--version":
        print(f"gaborseg {version('gaborseg')}")
    elif name in _names():
        sys.argv[1:] = arguments
        runpy.run_module(f"{__name__}.{name}", run_name="__main__", alter_sys=True)
    else:
        print(
            f"error: the command must be one of {', '.join(_names())}, got {name}", file=sys.stderr
        )
        sys.exit(2)


def _names() -> list[str]:
    return sorted(path.stem for path in _HERE.glob("[!_]*.py"))


def _overview() -> str:
    """Each command with the first line of its docstring, read without importing it."""
    lines = [
        "Usage: gaborseg COMMAND [key=value ...]; gaborseg COMMAND --help lists its settings",
        "",
    ]
    for name in _names():
        docstring = (_HERE / f"{name}.py").read_text(encoding="utf-8").split('"""')[1]
        lines.append(f"  {name:<11} {docstring.splitlines()[0]}")
    return "\n".join([*lines, "", _COMPLETION, "", "Examples", "", *_EXAMPLES])
