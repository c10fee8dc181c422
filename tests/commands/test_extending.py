"""docs/extending.md, executed as it stands: options that no file of ours knows."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import PROJECT
from tiny_cohort import write_cohort
from warm import Command

PAGE = (PROJECT / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
OFFLINE = os.environ | {"WANDB_MODE": "offline"}
CONSOLE = "import sys; from gaborseg.commands import main; main()"


def commands() -> Iterator[list[str]]:
    """The arguments of the page's commands, in order."""
    for line in re.findall(r"^gaborseg (.*)$", PAGE, re.MULTILINE):
        yield line.replace('"', "").split()


def snapshot() -> dict[Path, int]:
    """Every file of the repository that is not ignored, with the time of its last change."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return {path: path.stat().st_mtime_ns for path in map(PROJECT.joinpath, names.splitlines())}


def gaborseg(folder: Path, *arguments: str) -> str:
    """What the console program says; like it, the process has no working directory on its path."""
    words = [sys.executable, "-P", "-c", CONSOLE, *arguments]
    done = subprocess.run(
        words, cwd=folder, env=OFFLINE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def warm_gaborseg(folder: Path, *arguments: str) -> str:
    """What the console program says in a process that has imported torch already."""
    done = Command("-c", CONSOLE, *arguments, environment=OFFLINE, folder=folder).wait()
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def column(path: Path, name: str) -> list[str]:
    with path.open(newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def test_the_examples_are_as_short_as_they_say() -> None:
    lengths = {name: len(text.splitlines()) for name, text in FILES.items()}
    assert list(lengths) == [
        "my_kernels.py",
        "conf/kernel/hat.yaml",
        "my_losses.py",
        "conf/loss/power_jaccard.yaml",
        "my_metrics.py",
        "conf/metrics/volume_error.yaml",
        "conf/experiment/hats.yaml",
    ]
    assert lengths["my_kernels.py"] <= 25
    assert lengths["my_losses.py"] <= 12
    assert lengths["my_metrics.py"] <= 25


@pytest.mark.slow
def test_the_page_trains_and_reports_a_kernel_and_a_loss_of_the_users_own(tmp_path: Path) -> None:
    before, folder = snapshot(), tmp_path / "my_project"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    cohort = write_cohort(tmp_path / "cohort")
    small = ["data=folder", f"data.root={cohort}", "data.cache=cache"]
    small += ["data.num_workers=0", "trainer=cpu", "trainer.max_epochs=1"]
    hat, sweep, report, predict = commands()
    assert "hat" in warm_gaborseg(folder, *hat, *small)
    assert "2 of 2 done" in gaborseg(folder, *sweep, *small)
    curves = [*folder.glob("outputs/runs/*experiment=hats*/metrics.csv")]
    errors = [float(error) for path in curves for error in column(path, "val/volume_error")]
    assert len(errors) == 2
    assert min(errors) >= 0
    warm_gaborseg(folder, *report)

    tables = folder / "outputs" / "report" / "tables"
    assert {"hat"} == set(column(tables / "parameters.csv", "kernel"))
    assert max(map(int, column(tables / "parameters.csv", "hat"))) > 0
    assert set(column(tables / "runs.csv", "configuration")) == {
        "hat · PCC",
        "hat · power jaccard",
        "hat · Dice",
    }
    assert {"start", "trained"} == set(column(tables / "kernels_hat.csv", "time"))
    assert "sigma median" in (tables / "kernels_hat.csv").read_text()
    assert (tables.parent / "figures" / "hat_kernel_distributions.png").is_file()
    page = (tables.parent / "index.html").read_text()
    assert "hat · PCC" in page
    assert "hat · power jaccard" in page

    run = next((folder / "outputs" / "runs").glob("*experiment=smoke*"))
    places = {"outputs/runs/RUN": str(run), "SCANS": str(cohort), "DIR": str(folder / "seg")}
    for word, place in places.items():
        predict = [argument.replace(f"={word}", f"={place}") for argument in predict]
    warm_gaborseg(folder, *predict)
    assert len([*(folder / "seg").rglob("*.nii.gz")]) == 6
    assert snapshot() == before
