"""Runs to one tidy study, and from there to tables, statistics, figures and a page."""

from src.analysis.chart_style import chart_look
from src.analysis.charts import all_charts
from src.analysis.comparisons import VERDICTS, Comparison, compare_all
from src.analysis.configurations import Configuration, find_configurations
from src.analysis.page import Gallery, Picture, make_page
from src.analysis.report_tables import all_tables
from src.analysis.results import Results, compute
from src.analysis.robustness import Robustness, curve_of, robustness
from src.analysis.run_folders import (
    REPORT_MARK,
    Problem,
    RunFolderError,
    RunRecord,
    find_run_folders,
    read_run,
)
from src.analysis.study import Study, make_study, read_runs
from src.analysis.summaries import Replicates, Summary, replicates_of, summarise
from src.analysis.tables import Column, Spread, Table

__all__ = [
    "REPORT_MARK",
    "VERDICTS",
    "Column",
    "Comparison",
    "Configuration",
    "Gallery",
    "Picture",
    "Problem",
    "Replicates",
    "Results",
    "Robustness",
    "RunFolderError",
    "RunRecord",
    "Spread",
    "Study",
    "Summary",
    "Table",
    "all_charts",
    "all_tables",
    "chart_look",
    "compare_all",
    "compute",
    "curve_of",
    "find_configurations",
    "find_run_folders",
    "make_page",
    "make_study",
    "read_run",
    "read_runs",
    "replicates_of",
    "robustness",
    "summarise",
]
