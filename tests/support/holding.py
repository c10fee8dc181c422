"""Another process that holds a folder, as a command at work does."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config import PROJECT

HOLD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {project!r})
from gaborseg.runs import locked
with locked(Path({folder!r})):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def held_by_another(folder: Path) -> Iterator[subprocess.Popen]:
    code = HOLD.format(project=str(PROJECT), folder=str(folder))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()
