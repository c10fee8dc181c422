"""Run folders, read back: what was run, how far it came, and the scores of its test subjects."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from gaborseg.data import told_person
from gaborseg.runs import (
    MONITOR,
    TOLERANCE,
    TRAINING,
    Monitor,
    RunFile,
    RunFileError,
    Score,
    TidyRun,
    monitor_in,
    number,
    read_curves,
    read_failure,
    read_outcome,
    read_record,
    read_run_scores,
    read_settings,
    read_tidy,
)
from gaborseg.study.names import KERNELS, LOSSES, NETWORKS

SCORES = Score._fields[2:]
_MONITOR = {"name": "monitor", "mode": "monitor_mode"}  # its settings
_OPTIONS = {
    "kernel": tuple(kernel for kernel in KERNELS if kernel not in NETWORKS),
    "network": ("vnet_ds", *NETWORKS),
    "loss": tuple(LOSSES),
    "decision": ("argmax", "calibrated"),
}


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
        scores: A row for each test subject and structure, a column for each score; NaN where it
            does not exist.
        data: Name, structures, split, size ... of the data, as the run recorded them.
        parameters: Number of trained parameters by kind of layer, and in all.
        versions: Of the software that the run was finished with.
        outcome: Its mean scores and cost.
        failure: The error that ended it, if one did.
        curves: A row for each epoch.
        monitor: What chose the epoch that was tested.
        people: Whose scan each subject is, of those that are not their person's only one.
        training_subjects: How many scans it was trained on; None if that is not recorded.
    """

    folder: Path
    done: bool
    choices: dict[str, str]
    settings: dict[str, Any] | None
    scores: pd.DataFrame
    data: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    outcome: dict[str, Any] = field(default_factory=dict)
    failure: str = ""
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    monitor: Monitor = field(default_factory=Monitor)
    people: dict[str, str] = field(default_factory=dict)
    training_subjects: int | None = None

    @property
    def test_to_training(self) -> float:
        """Number of test subjects over that of training subjects; NaN if it is not recorded."""
        tested = len(_part(self.data, "split").get("test") or self.scores["subject"].unique())
        return tested / (self.training_subjects or math.nan)

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
        """The row of ``curves`` with the best value of the monitor: the epoch that is tested."""
        values = self.curves.get(self.monitor.name)
        return None if values is None or values.isna().all() else self.monitor.best([*values])

    @property
    def validation_dice(self) -> float:
        """The validation Dice of the best epoch, NaN if there is none."""
        row, dice = self.best_row, self.curves.get(MONITOR)
        return math.nan if row is None or dice is None else float(dice.iloc[row])


def read_records(path: Path) -> list[RunRecord]:
    """Return what a run folder says, or each run of a tidy table.

    Raises:
        RunFileError: If a file is damaged, a finished run has no scores, or they make no sense.
    """
    if path.is_dir():
        return [read_run(path)]
    return [_tidy_record(path, run) for run in read_tidy(path)]


def _tidy_record(path: Path, run: TidyRun) -> RunRecord:
    told = run.settings
    name = ",".join(f"{key}={value}" for key, value in told.items()).replace("/", "_")
    return _checked(
        RunRecord(
            folder=path / name,
            done=True,
            choices=_with_rate(told),
            settings=None,
            scores=_frame(run.scores),
            curves=_curves(run.curves),
            monitor=monitor_in({"monitor": {k: told[v] for k, v in _MONITOR.items() if v in told}}),
            people={s: p for s, p in run.people.items() if told_person(p)},
            outcome={TOLERANCE: run.facts[TOLERANCE]} if TOLERANCE in run.facts else {},
            training_subjects=int(run.facts.get(TRAINING, 0)) or None,
        )
    )


def read_run(folder: Path) -> RunRecord:
    """Return what a run folder says.

    A folder with nothing but tables (``subjects.csv``, ``metrics.csv``) counts as done; kernel,
    loss and decision are then taken from its name.

    Raises:
        RunFileError: If a file is damaged, a finished run has no scores, or they make no sense.
    """
    record = read_record(folder)
    config = read_settings(folder)
    outcome = read_outcome(folder)
    done = bool(outcome) or not (record or config)
    data = _part(record, "data")
    return _checked(
        RunRecord(
            folder=folder,
            done=done,
            choices=_part(record, "choices") or _named_choices(folder.name),
            settings=flatten(config) if config else None,
            data=data,
            parameters=_part(record, "parameters"),
            versions=_versions(record),
            outcome=outcome,
            failure="" if done else str(read_failure(folder).get("error", "")),
            scores=_scores(folder, data.get("structures")) if done else pd.DataFrame(),
            curves=_curves(read_curves(folder / RunFile.CURVES)),
            monitor=monitor_in(record),
            people={str(s): str(p) for s, p in _part(data, "participants").items()},
            training_subjects=len(_part(data, "split").get("train") or ()) or None,
        )
    )


def _checked(run: RunRecord) -> RunRecord:
    _ = run.rate, run.seed  # what cannot be read must show here
    return run


def _part(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return an object in a run's record, empty if it is not there."""
    part = record.get(key) or {}
    if not isinstance(part, dict):
        raise RunFileError(f"{RunFile.RECORD}: {key} must be a mapping, got {type(part).__name__}")
    return part


def _versions(record: Mapping[str, Any]) -> dict[str, str]:
    sessions = record.get("sessions") or []
    return sessions[-1] if sessions else record.get("versions") or {}


def _scores(folder: Path, structures: Sequence[str] | None) -> pd.DataFrame:
    """Return the scores of a finished run, of none but the structures of its data."""
    path = folder / RunFile.SCORES
    if not path.exists():
        raise RunFileError(f"{path.name} is missing, though the run is done")
    scores = _frame(read_run_scores(folder))
    if strange := set(scores["structure"]) - set(structures or scores["structure"]):
        raise RunFileError(
            f"{path.name} has a structure that {RunFile.RECORD} has not: {min(strange)}"
        )
    return scores


def _frame(rows: Sequence[Score]) -> pd.DataFrame:
    """Return scores as a table without the columns that hold none; Dice is always there."""
    scores = pd.DataFrame(rows, columns=Score._fields)
    return scores[[name for name in scores if name == "dice" or not scores[name].isna().all()]]


def _curves(epochs: Mapping[int, Mapping[str, str | None]]) -> pd.DataFrame:
    """Return training curves as numbers, one row per epoch; what is no number is NaN."""
    rows = [{name: _number(cell) for name, cell in row.items()} for row in epochs.values()]
    curves = pd.DataFrame(rows)
    return curves.assign(epoch=list(epochs)) if rows else curves


def tidy_run(record: RunRecord, settings: dict[str, str], people: dict[str, str]) -> TidyRun:
    """Return a run as rows of a tidy table, with the settings that tell it from the others.

    ``people`` are those of subjects that are not their person's only one.

    What has chosen its best epoch is one of them, unless that was validation Dice.
    """
    if record.monitor != Monitor():
        settings = settings | {v: getattr(record.monitor, k) for k, v in _MONITOR.items()}
    rows = record.scores.to_dict("records")
    epochs = record.curves.drop(columns="epoch", errors="ignore").to_dict("records")
    numbers = [int(epoch) for epoch in record.curves.get("epoch", ())]
    curves = dict(zip(numbers, epochs, strict=True))
    told = {TRAINING: record.training_subjects, TOLERANCE: record.outcome.get(TOLERANCE)}
    facts = {name: float(value) for name, value in told.items() if value}
    return TidyRun(settings, [Score(**row) for row in rows], curves, people, facts)


def _number(cell: str | None) -> float:
    value = number(cell)
    return math.nan if value is None else value


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


def _named_choices(name: str) -> dict[str, str]:
    """Return the choices that the name of a run folder tells.

    >>> _named_choices("kernel=gabor,loss=pcc,optimizer.lr=10^-3,split=3")
    {'kernel': 'gabor', 'loss': 'pcc', 'optimizer.lr': '10^-3', 'split': '3', 'lr': '10^-3'}
    >>> _named_choices("h100_mixed_cross_entropy_calibrated")
    {'kernel': 'mixed', 'loss': 'cross_entropy', 'decision': 'calibrated'}
    """
    if choices := dict(part.split("=", 1) for part in name.split(",") if "=" in part):
        return _with_rate(choices)
    for group, options in _OPTIONS.items():
        found = [o for o in options if re.search(rf"(^|[-_]){o}($|[-_])", name)]
        if found:
            choices[group] = max(found, key=len)
    if numbered := re.search(r"(^|[-_])lr([0-9.e-]*[0-9])($|[-_])", name):
        choices["lr"] = numbered[2]
    if numbered := re.search(r"(^|[-_])split([0-9]+)($|[-_])", name):
        choices["split"] = numbered[2]
    return choices


def _with_rate(choices: dict[str, str]) -> dict[str, str]:
    rate = choices.get("optimizer.lr")
    return choices | ({"lr": rate} if rate else {})


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
        raise RunFileError(f"the learning rate must be a positive number, got {told}")
    return rate


def _seed(told: object) -> int:
    try:
        return int(str(told))
    except ValueError as error:
        raise RunFileError(f"the seed must be a whole number, got {told}") from error
