"""The folder of a run: its files, their columns, its state, its lock."""

from gaborseg.runs.folder import TECHNICAL, Run
from gaborseg.runs.lock import locked
from gaborseg.runs.names import folder_name, readable, sweep_folder
from gaborseg.runs.parent import end_with_parent, lead_children, lead_these
from gaborseg.runs.scores import (
    Score,
    overall_means,
    read_scores,
    score_rows,
    scores_table,
    subject_means,
    write_scores,
)
from gaborseg.runs.state import FAILED, RunState, Stage, note_failure, read_state

__all__ = [
    "FAILED",
    "TECHNICAL",
    "Run",
    "RunState",
    "Score",
    "Stage",
    "end_with_parent",
    "folder_name",
    "lead_children",
    "lead_these",
    "locked",
    "note_failure",
    "overall_means",
    "read_scores",
    "read_state",
    "readable",
    "score_rows",
    "scores_table",
    "subject_means",
    "sweep_folder",
    "write_scores",
]
