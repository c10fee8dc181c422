"""Run folders with known scores, as ``src.train`` writes them, without training anything."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaborseg.runs import TECHNICAL, find_run_folders, tidy_texts
from gaborseg.study import Study, make_study, read_runs, tidy_runs

STRUCTURES = [
    "cerebral_grey",
    "third_ventricle",
    "fourth_ventricle",
    "brainstem",
    "cvl_i_v",
    "cvl_vi_vii",
    "cvl_viii_x",
    "accumbens",
    "amygdala",
    "caudate",
    "cerebellar_grey",
    "cerebellar_white",
    "cerebral_white",
    "hippocampus",
    "inferior_lateral_ventricle",
    "lateral_ventricle",
    "pallidum",
    "putamen",
    "thalamus",
]
SUBJECTS = tuple(f"sub-{number:02d}" for number in range(1, 44))
KERNELS = ("conventional", "gabor", "mixed")
LOSSES = ("pcc", "dice", "cross_entropy")
RATES = tuple(10**exponent for exponent in (-4, -3.5, -3, -2.5, -2))
PARAMETERS = {"conventional": 4_991_540, "gabor": 1_530_272, "mixed": 1_598_900}
PARAMETERS |= {"vnet": 45_670_348, "nnunet": 5_601_524}
NETWORKS = {"vnet": "gaborseg.networks.VNet", "nnunet": "gaborseg.networks.NNUNet"}
TARGETS = {"pcc": "PCCLoss", "dice": "DiceLoss", "cross_entropy": "CrossEntropyLoss"}

FEW_STRUCTURES = ("inner", "outer")
FEW_SUBJECTS = tuple("abcdefgh")


def split_of(index: int, subjects: Sequence[str] = SUBJECTS) -> dict[str, list[str]]:
    """60 / 10 / 30 % of the subjects."""
    order = np.random.default_rng((7, index)).permutation(len(subjects)).tolist()
    train, validation = round(0.6 * len(subjects)), max(1, round(0.1 * len(subjects)))
    parts = (order[:train], order[train : train + validation], order[train + validation :])
    names = ("train", "validation", "test")
    return {n: [subjects[i] for i in sorted(p)] for n, p in zip(names, parts, strict=True)}


NUM_TESTED = len(split_of(0, FEW_SUBJECTS)["test"])


def write_run(
    folder: Path,
    scores: dict[str, NDArray[np.float64]],
    *,
    kernel: str = "mixed",
    loss: str = "pcc",
    rate: float = 1e-3,
    split: int = 0,
    seed: int = 0,
    structures: Sequence[str] = STRUCTURES,
    subjects: Sequence[str] = SUBJECTS,
    epochs: int = 40,
    done: bool = True,
    decision: str = "argmax",
    settings: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    outcome: dict[str, Any] | None = None,
    commit: str = "a" * 40,
) -> Path:
    """Write a run whose ``scores`` map a column to (test subjects, structures), NaN if absent.

    Instead of a kernel, one of ``NETWORKS`` may be named, which have their own.
    """
    folder.mkdir(parents=True)
    parts = split_of(split, subjects)
    choices = {"kernel": kernel, "loss": loss, "decision": decision, "data": "atlas"}
    config = {
        "kernel": {"name": kernel},
        "loss": {"_target_": f"gaborseg.losses.{TARGETS[loss]}"},
        "decision": {"_target_": f"gaborseg.decisions.{decision.title()}"},
        "data": {"num_workers": split, "split": split, "seed": seed, "source": {"size": 48}},
        "optimizer": {"lr": rate},
        "trainer": {"max_epochs": epochs},
        "seed": seed,
        "split": split,
        "logger": {"csv": {"number": split}},
    }
    if kernel in NETWORKS:
        choices["network"] = choices.pop("kernel")
        del config["kernel"]
        config["network"] = {"_target_": NETWORKS[kernel], "in_channels": None}
    for key, value in (settings or {}).items():
        node = config
        *groups, name = key.split(".")
        for group in groups:
            node = node.setdefault(group, {})
        node[name] = value
    described = {
        "name": "cohort",
        "num_subjects": len(subjects),
        "structures": list(structures),
        "size": [48, 48, 48],
        "split": parts,
        **(data or {}),
    }
    record = {
        "name": folder.name,
        "choices": choices,
        "parameters": {"gabor": 0, "conventional": PARAMETERS[kernel], "total": PARAMETERS[kernel]},
        "data": described,
        "sessions": [{"git_commit": commit, "torch": "2.13.0"}],
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    (folder / "run.json").write_text(json.dumps(record))
    write_curves(folder / "metrics.csv", epochs, [seed, split, *folder.name.encode()])
    if done:
        write_scores(folder / "subjects.csv", scores, parts["test"], structures)
        usual = {
            "epochs": epochs,
            "seconds_per_step": 0.5,
            "peak_memory_bytes": 2**30,
            "device": "CPU",
        }
        (folder / "done.json").write_text(json.dumps(usual | (outcome or {})))
    return folder


def write_small_run(folder: Path, dice: float = 0.5, **changes: Any) -> Path:
    """Write a run of eight subjects and two structures, all with the same Dice."""
    scores = {"dice": np.full((NUM_TESTED, len(FEW_STRUCTURES)), dice)}
    options = {"structures": FEW_STRUCTURES, "subjects": FEW_SUBJECTS, **changes}
    return write_run(folder, scores, **options)


def write_pair(
    folder: Path, difference: float, splits: int, noise: float = 0.01, trained: float = 0.0
) -> None:
    """Two configurations, the first one better by ``difference``, give or take ``trained``."""
    rng = np.random.default_rng(5)
    for split in range(splits):
        base = rng.uniform(0.6, 0.8, size=(len(split_of(split)["test"]), len(FEW_STRUCTURES)))
        shift = difference + trained * rng.normal()
        other = base - shift + noise * rng.normal(size=base.shape)
        for loss, dice in (("pcc", base), ("dice", other)):
            run = folder / f"{loss}-{split}"
            write_run(run, {"dice": dice}, loss=loss, split=split, structures=FEW_STRUCTURES)


def study_of(folder: Path) -> Study:
    return make_study(*read_runs(find_run_folders([folder])), TECHNICAL)


def tidied(study: Study, folder: Path) -> Study:
    """The study that is read from the table of a study."""
    folder.mkdir()
    for name, text in tidy_texts(tidy_runs(study, TECHNICAL), "study").items():
        (folder / name).write_text(text)
    return study_of(folder)


def write_scores(
    path: Path,
    scores: dict[str, NDArray[np.float64]],
    subjects: Sequence[str],
    structures: Sequence[str],
) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "structure", *scores])
        for row, subject in enumerate(subjects):
            for column, structure in enumerate(structures):
                values = [table[row, column] for table in scores.values()]
                writer.writerow(
                    [subject, structure, *("" if np.isnan(v) else repr(float(v)) for v in values)]
                )


def write_curves(path: Path, epochs: int, seed: list[int]) -> None:
    noise = np.random.default_rng(seed).normal(scale=0.008, size=epochs)
    speed = np.random.default_rng(seed).uniform(4, 9)
    dice = 0.8 * (1 - np.exp(-np.arange(1, epochs + 1) / speed)) + noise
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "val/loss", "val/dice", "lr", "train/loss", "seconds"])
        for epoch, value in enumerate(dice):
            writer.writerow(
                [epoch, 0.5 - value / 2, value, 1e-3, 0.5 - value / 2.2, 30 + epoch % 3]
            )


def write_grid(
    root: Path, rates: Sequence[float] = RATES, splits: Sequence[int] = range(5)
) -> None:
    """The paper's grid with scores that behave like the paper's: 225 runs."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.65, 0.92, size=len(STRUCTURES))
    person = rng.normal(scale=0.015, size=len(SUBJECTS))
    penalty = {"conventional": 0.0, "gabor": 0.03, "mixed": 0.003}
    for kernel in KERNELS:
        for loss in LOSSES:
            for rate in rates:
                distance = np.log10(rate) + 3
                steep = {"pcc": 0.02, "dice": 0.12, "cross_entropy": 0.03}[loss]
                fall = 0.03 * max(0, -distance) ** 2 + steep * max(0, distance) ** 2
                shift = (
                    {"pcc": 0, "dice": 0.008, "cross_entropy": 0.03}[loss] + fall + penalty[kernel]
                )
                for split in splits:
                    test = [SUBJECTS.index(s) for s in split_of(split)["test"]]
                    shape = (len(test), len(STRUCTURES))
                    trained = rng.normal(scale=0.003)
                    dice = (
                        base
                        - shift
                        + person[test, None]
                        + trained
                        + rng.normal(scale=0.012, size=shape)
                    )
                    truth = np.exp(rng.normal(8, 0.1, size=shape))
                    scores = {
                        "dice": np.clip(dice, 0, 1),
                        "hd95": 4 * (1 - dice) + rng.gamma(2, 0.2, size=shape),
                        "nsd": np.clip(dice + 0.08, 0, 1),
                        "volume": truth * (1 + rng.normal(0.01, 0.05, size=shape)),
                        "true_volume": truth,
                    }
                    exponent = round(float(np.log10(rate)), 2)
                    folder = root / f"kernel={kernel},loss={loss},lr=1e{exponent},split={split}"
                    options = {"kernel": kernel, "loss": loss, "rate": rate, "split": split}
                    write_run(folder, scores, **options, outcome={"nsd_tolerance": 4.0})
