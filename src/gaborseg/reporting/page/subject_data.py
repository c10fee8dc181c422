"""The scores of every test subject and structure, as compact numbers for the page."""

from typing import Any

import numpy as np

from gaborseg.reporting.subjects.participants import participant_columns
from gaborseg.study import METRICS, Metric, Replicates, Results, mean


def subject_data(results: Results) -> dict[str, Any]:
    """Return the scores of every subject at the chosen rates, and what is known of the subjects.

    Scores are whole numbers, one decimal finer than tables show them: a Dice of 0.8312 is 8312.
    Splits and seeds that tested a subject are averaged.
    """
    study = results.study
    return {
        "names": study.subjects,
        "columns": participant_columns(study.runs, study.subjects),
        "scores": {
            metric: {key: _scaled(found, METRICS[metric]) for key, found in by_id.items()}
            for metric, by_id in results.replicates.items()
        },
    }


def _scaled(found: Replicates, metric: Metric) -> list[list[int | None] | None]:
    """Return scores by subject and structure; None instead of those of an untested subject."""
    cases = mean(found.cases, axis=0) * metric.factor * 10 ** (metric.digits + 1)
    return [
        None if np.isnan(row).all() else [None if np.isnan(v) else round(v) for v in row.tolist()]
        for row in cases
    ]
