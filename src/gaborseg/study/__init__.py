"""Runs to one tidy study, and from there to tables, statistics, figures and a page."""

from gaborseg.study.cohort import SITE, participant_rows, source_of
from gaborseg.study.comparisons import (
    ALPHA,
    RESAMPLES,
    SHOWN,
    VERDICTS,
    Comparison,
    bootstrap_interval,
    interval_of_average,
)
from gaborseg.study.configurations import Configuration, chosen_kernel
from gaborseg.study.findings import findings
from gaborseg.study.names import (
    ABBREVIATIONS,
    AVERAGE,
    KERNELS,
    LOSSES,
    METRICS,
    Metric,
    rank_of,
    readable,
    readable_rate,
    readable_split,
)
from gaborseg.study.paper import paper_sizes, published
from gaborseg.study.results import Results, compute
from gaborseg.study.run_folders import RunRecord
from gaborseg.study.study import Study, make_study, read_runs, tidy_runs
from gaborseg.study.summaries import (
    PAPER_RATE,
    Replicates,
    by_person,
    mean,
    rate_at_edge,
    replicates_of,
    std,
)

__all__ = [
    "ABBREVIATIONS",
    "ALPHA",
    "AVERAGE",
    "KERNELS",
    "LOSSES",
    "METRICS",
    "PAPER_RATE",
    "RESAMPLES",
    "SHOWN",
    "SITE",
    "VERDICTS",
    "Comparison",
    "Configuration",
    "Metric",
    "Replicates",
    "Results",
    "RunRecord",
    "Study",
    "bootstrap_interval",
    "by_person",
    "chosen_kernel",
    "compute",
    "findings",
    "interval_of_average",
    "make_study",
    "mean",
    "paper_sizes",
    "participant_rows",
    "published",
    "rank_of",
    "rate_at_edge",
    "read_runs",
    "readable",
    "readable_rate",
    "readable_split",
    "replicates_of",
    "source_of",
    "std",
    "tidy_runs",
]
