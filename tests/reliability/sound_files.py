"""Data, runs and a model that nothing is wrong with, made in some seconds."""

import shutil
from pathlib import Path

from forked_command import Ending, run_forked

from tiny_cohort import write_cohort
from tiny_run import tiny_overrides

TRAINING = tuple(tiny_overrides(Path("data")))
SCAN = "data/sub-01/anat/sub-01_T1w.nii.gz"


def make_sound(folder: Path) -> None:
    """Fill a folder with data, a finished run, one that is still to be tested, and a model."""
    folder.mkdir(parents=True)
    write_cohort(folder / "data")
    for name in ("one", "half"):
        must(run_forked("train", [*TRAINING, f"hydra.run.dir=runs/{name}"], folder))
    must(run_forked("export", ["checkpoint=runs/one", "output=model.onnx"], folder))
    for name in ("done.json", "subjects.csv", "example.png", "model_card.md"):
        (folder / "runs" / "half" / name).unlink()
    shutil.rmtree(folder / "runs" / "half" / "predictions")


def must(ending: Ending) -> None:
    """Check that a command on sound files succeeded."""
    assert ending.kind == "ok", ending.output
