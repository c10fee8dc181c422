"""The training curves of the page: every column of ``metrics.csv``, thinned to what is drawn."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gaborseg.study import Results, RunRecord, readable

_MOST_EPOCHS, _FEWEST_EPOCHS = 120, 24
_MOST_VALUES = 60_000
"""Values that the curves of a page hold, about; more runs and columns get fewer epochs each."""
_DIGITS = 4
_NAMES = {
    "val/dice": "validation Dice",
    "val/loss": "validation loss",
    "train/loss": "training loss",
    "lr": "learning rate",
    "seconds": "seconds an epoch",
}
_EPOCH = "epoch"


def training_curves(results: Results) -> dict[str, Any]:
    """Return the curves of the runs at the chosen rates, and what their columns are called.

    Returns:
        ``measures``, the columns that some run has, the usual ones first; and ``training``, for
        each run its epochs from 1, the minutes until their end, and the values of its columns.
    """
    runs = [
        (c.id, run) for c in results.shown for run in results.runs_of(c) if run.best_row is not None
    ]
    columns = _columns(run.curves for _, run in runs)
    share = _MOST_VALUES // max(1, len(runs) * len(columns))
    epochs = min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, share))
    return {
        "measures": [{"id": column, "name": _name(column)} for column in columns],
        "training": [
            {
                "configuration": key,
                "split": run.split,
                "seed": run.seed,
                **_thinned(run, columns, epochs),
            }
            for key, run in runs
        ],
    }


def _columns(curves: Iterable[pd.DataFrame]) -> list[str]:
    """Return all columns that hold numbers, the usual ones first."""
    found: dict[str, None] = {}
    for frame in curves:
        there = frame.columns[~frame.isna().all()]
        found |= dict.fromkeys(str(name) for name in there if name != _EPOCH)
    usual = [name for name in _NAMES if name in found]
    return [*usual, *(name for name in found if name not in _NAMES)]


def _name(column: str) -> str:
    """Return a column as the reader sees it.

    >>> _name("val/dice/third_ventricle"), _name("lr")
    ('validation Dice, 3rd ventricle', 'learning rate')
    """
    whole, _, structure = column.rpartition("/")
    if whole in _NAMES:
        return f"{_NAMES[whole]}, {readable(structure)}"
    return _NAMES.get(column, column)


def _thinned(run: RunRecord, columns: Sequence[str], most: int) -> dict[str, Any]:
    """Return evenly spaced epochs of a run, the best and the last among them."""
    count, best = len(run.curves), run.best_row or 0
    rows = np.unique([*np.linspace(0, count - 1, min(count, most)).astype(int), best])
    thin = run.curves.iloc[rows]
    seconds = run.curves.get("seconds", pd.Series(np.full(count, np.nan)))
    minutes = np.cumsum(seconds.to_numpy()) / 60
    return {
        "epochs": [int(epoch) + 1 for epoch in thin[_EPOCH]],
        "minutes": _rounded(minutes[rows]),
        "best": int(np.flatnonzero(rows == best)[0]),
        "values": {key: _rounded(thin[key].to_numpy()) for key in columns if key in thin},
    }


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]
