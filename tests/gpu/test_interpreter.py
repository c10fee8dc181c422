"""The tests of this folder in Triton's interpreter: see `tests/support/on_gpu.py`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from on_gpu import ELSEWHERE


@pytest.mark.slow
@pytest.mark.skipif(not ELSEWHERE, reason="needs Triton; on a GPU or interpreted, they run as such")
def test_kernels_pass_their_tests_in_the_interpreter() -> None:
    options = ["-q", "--numprocesses=0", "-p", "no:cacheprovider", "-m", "not slow"]
    command = [sys.executable, "-m", "pytest", *options, str(Path(__file__).parent)]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
