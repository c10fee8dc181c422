"""Run folders, read back: what was run, how far it came, and the scores of its test subjects."""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from gaborseg.study.names import KERNELS, LOSSES, NETWORKS

Array = NDArray[np.float64]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SCORES = ("dice", "hd95", "nsd", "volume", "true_volume")
_SHARES = ("dice", "nsd")  # scores in [0, 1]; the others are not negative
REPORT_MARK = "report.json"
_NO_RUN = {REPORT_MARK, "evaluation.json"}  # folders of reports and of evaluations
_OPTIONS = {
    "kernel": tuple(kernel for kernel in KERNELS if kernel not in NETWORKS),
    "network": ("vnet_ds", *NETWORKS),
    "loss": tuple(LOSSES),
    "decision": ("argmax", "calibrated"),
}


class RunFolderError(ValueError):
    """A run folder that cannot be used; the message says why, in one line."""


@dataclass(frozen=True)
class Problem:
    """Something about a run folder that the reader of a report must know."""

    folder: str
    message: str

    def __str__(self) -> str:
        return f"{self.folder}: {self.message}"


@dataclass(frozen=True)
class RunRecord:
    """What a run folder says.

    Its learning rate and seed, where they are told, are numbers.

    Attributes:
        folder: Where it is.
        done: Whether the run was trained and tested to its end.
        choices: The option of each group of the configuration, as far as it is known.
        settings: The resolved configuration, flat; None if the folder holds none.
        data: Name, structures, split, size ... of the data, as ``run.json`` has them.
        parameters: Number of trained parameters by kind of layer, and in all.
        versions: Of the software that the run was finished with.
        outcome: What ``done.json`` says.
        failure: The error that ended it, if one did.
        scores: A row for each test subject and structure, a column for each score; NaN where it
            does not exist.
        curves: A row for each epoch.
    """

    folder: Path
    done: bool
    choices: dict[str, str]
    settings: dict[str, Any] | None
    data: dict[str, Any]
    parameters: dict[str, int]
    versions: dict[str, str]
    outcome: dict[str, Any]
    failure: str
    scores: pd.DataFrame
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def rate(self) -> float | None:
        """The learning rate, None if it is not recorded."""
        settings = self.settings
        told = self.choices.get("lr") if settings is None else settings.get("optimizer.lr")
        return None if told is None else _rate(told)

    @property
    def split(self) -> str:
        """Which subjects were trained on and tested: an index, or the name of a split file."""
        settings = self.settings or self.choices
        split_file = settings.get("data.split_file")
        return Path(split_file).stem if split_file else str(settings.get("split", "0"))

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return _seed((self.settings or self.choices).get("seed", 0))

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the structures, in the order of their labels."""
        return tuple(self.data.get("structures") or dict.fromkeys(self.scores.get("structure", ())))

    @property
    def epochs(self) -> tuple[int, int | None]:
        """Epochs that were trained, and that were asked for, if that is recorded."""
        asked = (self.settings or {}).get("trainer.max_epochs")
        return len(self.curves), asked

    @property
    def best_row(self) -> int | None:
        """The row of ``curves`` with the highest validation Dice: the epoch that is tested."""
        dice = self.curves.get("val/dice")
        return None if dice is None or dice.isna().all() else int(np.nanargmax(dice))

    @property
    def validation_dice(self) -> float:
        """The highest validation Dice of all epochs, NaN if there is none."""
        row = self.best_row
        return float("nan") if row is None else float(self.curves["val/dice"].iloc[row])


def find_run_folders(roots: Iterable[Path]) -> Iterator[Path]:
    """Yield all run folders in or below the given folders, each once, in the order of their paths.

    Raises:
        FileNotFoundError: If one of the given folders does not exist.
    """
    seen = set()
    for root in roots:
        if not root.is_dir():
            raise FileNotFoundError(f"runs must be folders that exist, got {root}")
        for folder in _below(root):
            if folder.resolve() not in seen:
                seen.add(folder.resolve())
                yield folder


def _below(root: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(root, followlinks=True):
        names = set(files)
        if names & _NO_RUN:
            folders.clear()
        elif _is_run_folder(names):
            folders.clear()
            yield Path(path)
        folders[:] = sorted(set(folders) - {"wandb"} - {f for f in folders if f[0] == "."})


def _is_run_folder(files: set[str]) -> bool:
    if "config.yaml" in files:
        return bool(files & {"run.json", "metrics.csv", "train.log", "subjects.csv"})
    return bool(files & {"run.json", "subjects.csv", "done.json"})


def read_run(folder: Path) -> RunRecord:
    """Return what a run folder says.

    A folder with nothing but tables (``subjects.csv``, ``metrics.csv``) counts as done; kernel,
    loss and decision are then taken from its name.

    Raises:
        RunFolderError: If a file is damaged, a finished run has no scores, or they make no sense.
    """
    record = _json(folder / "run.json")
    config = _yaml(folder / "config.yaml")
    outcome = _json(folder / "done.json")
    done = bool(outcome) or not (record or config)
    data = _part(record, "data")
    run = RunRecord(
        folder=folder,
        done=done,
        choices=_part(record, "choices") or named_choices(folder.name),
        settings=flatten(config) if config else None,
        data=data,
        parameters=_part(record, "parameters"),
        versions=_versions(record),
        outcome=outcome,
        failure="" if done else str(_json(folder / "failed.json").get("error", "")),
        scores=_scores(folder, data.get("structures")) if done else pd.DataFrame(),
        curves=_read_curves(folder / "metrics.csv"),
    )
    _ = run.rate, run.seed  # what cannot be read must show here
    return run


def _part(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return an object in ``run.json``, empty if it is not there."""
    part = record.get(key) or {}
    if not isinstance(part, dict):
        raise RunFolderError(f"run.json: {key} must be an object, got {type(part).__name__}")
    return part


def _scores(folder: Path, structures: Sequence[str] | None) -> pd.DataFrame:
    """Return the scores of a finished run, of none but the structures of its data."""
    path = folder / "subjects.csv"
    if not path.exists():
        raise RunFolderError("subjects.csv is missing, though the run is done")
    scores = read_scores(path)
    if strange := set(scores["structure"]) - set(structures or scores["structure"]):
        raise RunFolderError(f"subjects.csv has a structure that run.json has not: {min(strange)}")
    return scores


def read_scores(path: Path) -> pd.DataFrame:
    """Return the scores of test subjects: subject, structure, and every known score as a number.

    Raises:
        RunFolderError: If the file is damaged, empty, or holds impossible or repeated scores.
    """
    try:
        scores = pd.read_csv(path, dtype={"subject": str, "structure": str}, encoding="utf-8")
    except (ValueError, OSError) as error:
        raise RunFolderError(f"subjects.csv cannot be read: {_first_line(error)}") from error
    if missing := {"subject", "structure", "dice"} - set(scores.columns):
        raise RunFolderError(f"subjects.csv has no column {', '.join(sorted(missing))}")
    if scores.empty:
        raise RunFolderError("subjects.csv holds no subject")
    if len(set(zip(scores["subject"], scores["structure"], strict=True))) < len(scores):
        repeated = scores.duplicated(["subject", "structure"])
        raise RunFolderError(f"subjects.csv has {_place(scores, repeated)} twice")
    columns = {name: _numbers(scores, name) for name in SCORES if name in scores}
    return pd.DataFrame(scores[["subject", "structure"]].to_dict("list") | columns)


def _numbers(scores: pd.DataFrame, name: str) -> Array:
    """Return a column as numbers; NaN is empty, and infinite is none."""
    column = scores[name]
    plain = column.dtype.kind in "fi"
    values = (column if plain else pd.to_numeric(column, errors="coerce")).to_numpy(dtype=float)
    limit, rule = (1, "in [0, 1]") if name in _SHARES else (np.inf, "not negative")
    wrong = (np.isnan(values) & column.notna().to_numpy()) | (values < 0) | (values > limit)
    if wrong.any():
        raise RunFolderError(
            f"subjects.csv: {name} must be {rule} or empty, "
            f"got {column[wrong].iloc[0]} for {_place(scores, wrong)}"
        )
    return np.where(np.isinf(values), np.nan, values)


def _place(scores: pd.DataFrame, where: Any) -> str:
    row = scores[where].iloc[0]
    return f"{row['structure']} of {row['subject']}"


def _read_curves(path: Path) -> pd.DataFrame:
    """Return ``metrics.csv`` as numbers, one row an epoch; no rows if there is no such file.

    Raises:
        RunFolderError: If it is damaged, or a row does not say of which epoch it is.
    """
    if not path.exists() or not path.stat().st_size:
        return pd.DataFrame()
    try:
        curves = pd.read_csv(path).apply(pd.to_numeric, errors="coerce")
    except (ValueError, OSError) as error:
        raise RunFolderError(f"metrics.csv cannot be read: {_first_line(error)}") from error
    if "epoch" not in curves or not np.isfinite(curves["epoch"].to_numpy(dtype=float)).all():
        raise RunFolderError("metrics.csv must have a number in the column epoch of every row")
    return curves


def flatten(config: Mapping[str, Any] | Sequence[Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level, names joined by dots.

    >>> flatten({"a": {"b": 1}, "c": [2, {"d": 3}]})
    {'a.b': 1, 'c.0': 2, 'c.1.d': 3}
    """
    pairs = config.items() if isinstance(config, Mapping) else enumerate(config)
    flat: dict[str, Any] = {}
    for key, value in pairs:
        name = f"{prefix}{key}"
        nested = isinstance(value, Mapping | list) and value
        flat |= flatten(value, f"{name}.") if nested else {name: value}
    return flat


def named_choices(name: str) -> dict[str, str]:
    """Return the choices that the name of a run folder tells.

    >>> named_choices("kernel=gabor,loss=pcc,optimizer.lr=10^-3,split=3")
    {'kernel': 'gabor', 'loss': 'pcc', 'optimizer.lr': '10^-3', 'split': '3', 'lr': '10^-3'}
    >>> named_choices("h100_mixed_cross_entropy_calibrated")
    {'kernel': 'mixed', 'loss': 'cross_entropy', 'decision': 'calibrated'}
    """
    choices = dict(part.split("=", 1) for part in name.split(",") if "=" in part)
    if "optimizer.lr" in choices:
        choices["lr"] = choices["optimizer.lr"]
    if choices:
        return choices
    for group, options in _OPTIONS.items():
        found = [o for o in options if re.search(rf"(^|[-_]){o}($|[-_])", name)]
        if found:
            choices[group] = max(found, key=len)
    if numbered := re.search(r"(^|[-_])lr([0-9.e-]*[0-9])($|[-_])", name):
        choices["lr"] = numbered[2]
    if numbered := re.search(r"(^|[-_])split([0-9]+)($|[-_])", name):
        choices["split"] = numbered[2]
    return choices


def _rate(told: object) -> float:
    """Return a learning rate that may be written as a power.

    >>> _rate("10^-3"), _rate("0.01"), _rate("1e-3.5") == 10**-3.5
    (0.001, 0.01, True)
    """
    power = re.fullmatch(r"(?:10\^|1e)(.*)", str(told))
    try:
        rate = 10 ** float(power[1]) if power else float(str(told))
    except (ValueError, OverflowError):
        rate = math.nan
    if not 0 < rate < math.inf:
        raise RunFolderError(f"the learning rate must be a positive number, got {told}")
    return rate


def _seed(told: object) -> int:
    try:
        return int(str(told))
    except ValueError as error:
        raise RunFolderError(f"the seed must be a whole number, got {told}") from error


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RunFolderError(f"{path.name} cannot be read: {_first_line(error)}") from error
    if not isinstance(record, dict):
        raise RunFolderError(f"{path.name} must hold an object, got {type(record).__name__}")
    return record


def _yaml(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        record = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (ValueError, OSError, yaml.YAMLError) as error:
        raise RunFolderError(f"{path.name} cannot be read: {_first_line(error)}") from error
    if not isinstance(record, dict):
        raise RunFolderError(f"{path.name} must hold settings, got {type(record).__name__}")
    return record


def _versions(record: Mapping[str, Any]) -> dict[str, str]:
    sessions = record.get("sessions") or []
    return sessions[-1] if sessions else record.get("versions") or {}


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
