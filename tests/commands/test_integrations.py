"""docs/integrations.md: every program of the page, executed as it stands."""

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config import PROJECT, SUPPORT

PAGE = (PROJECT / "docs" / "integrations.md").read_text()
PROGRAMS = dict(
    re.findall(r"^## ([^\n]+)\n.*?^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
)
NNUNET = "An nnU-Net trainer"


def run(title: str) -> dict[str, Any]:
    """What a program leaves."""
    names: dict[str, Any] = {}
    exec(PROGRAMS[title], names)
    return names


def test_the_page_has_four_programs() -> None:
    assert len(PROGRAMS) == 4


@pytest.mark.parametrize("title", [title for title in PROGRAMS if title != NNUNET])
def test_a_program_learns(title: str) -> None:
    losses = run(title)["losses"]
    assert all(map(math.isfinite, losses))
    assert len(losses) < 10 or losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("nnunetv2"), reason="nnunetv2 is not installed")
def test_nnunet_plans_and_trains_with_gabor_kernels(tmp_path: Path) -> None:
    (tmp_path / "nnUNetTrainerGaborPCC.py").write_text(PROGRAMS[NNUNET])
    script = [sys.executable, str(SUPPORT / "train_nnunet.py"), str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Gabor kernels: True, finite losses: True" in done.stdout
    assert [*tmp_path.rglob("checkpoint_final.pth")]
