"""What a user waits for before the first scan is read."""

import subprocess
import sys

import pytest

SLOW = {"matplotlib", "pandas", "pytorch_lightning", "sympy"}
SLOW |= {"torch._dynamo", "torchmetrics", "triton"}


@pytest.mark.slow
def test_predicting_imports_nothing_slow_that_it_does_not_need() -> None:
    code = "import gaborseg.inference, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not SLOW & set(done.stdout.split())
