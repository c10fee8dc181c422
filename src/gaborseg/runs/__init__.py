"""The folder of a run: its files, their columns, its state, its lock."""

from gaborseg.runs.checkpoints import (
    check_archive,
    check_origin,
    is_sealed,
    not_finite,
    sealed,
    told_digest,
    weights_digest,
)
from gaborseg.runs.curves import read_curves, write_curves
from gaborseg.runs.files import (
    RunFile,
    RunFileError,
    number,
    read_failure,
    read_outcome,
    read_record,
    read_settings,
)
from gaborseg.runs.folder import Run, tidy_up
from gaborseg.runs.lock import LOCK, locked
from gaborseg.runs.names import (
    folder_name,
    readable,
    run_name,
    short_rate,
    source_name,
    sweep_folder,
)
from gaborseg.runs.objective import (
    MONITOR,
    Monitor,
    check_objective,
    check_searchable,
    choose_monitor,
    monitor_in,
    objective_value,
)
from gaborseg.runs.parent import end_with_parent, lead_children, lead_these
from gaborseg.runs.renames import as_saved_now
from gaborseg.runs.scores import (
    Score,
    overall_means,
    read_run_scores,
    read_scores,
    score_rows,
    scores_table,
    structure_dice,
    subject_means,
    write_scores,
)
from gaborseg.runs.search import REPORT_MARK, find_run_folders
from gaborseg.runs.settings import TECHNICAL, WORKING
from gaborseg.runs.state import RunState, Stage, early_end_line, note_failure, read_state
from gaborseg.runs.tidy import (
    TOLERANCE,
    TRAINING,
    TidyRun,
    is_tidy,
    read_tidy,
    tidy_texts,
)

__all__ = [
    "LOCK",
    "MONITOR",
    "REPORT_MARK",
    "TECHNICAL",
    "TOLERANCE",
    "TRAINING",
    "WORKING",
    "Monitor",
    "Run",
    "RunFile",
    "RunFileError",
    "RunState",
    "Score",
    "Stage",
    "TidyRun",
    "as_saved_now",
    "check_archive",
    "check_objective",
    "check_origin",
    "check_searchable",
    "choose_monitor",
    "early_end_line",
    "end_with_parent",
    "find_run_folders",
    "folder_name",
    "is_sealed",
    "is_tidy",
    "lead_children",
    "lead_these",
    "locked",
    "monitor_in",
    "not_finite",
    "note_failure",
    "number",
    "objective_value",
    "overall_means",
    "read_curves",
    "read_failure",
    "read_outcome",
    "read_record",
    "read_run_scores",
    "read_scores",
    "read_settings",
    "read_state",
    "read_tidy",
    "readable",
    "run_name",
    "score_rows",
    "scores_table",
    "sealed",
    "short_rate",
    "source_name",
    "structure_dice",
    "subject_means",
    "sweep_folder",
    "tidy_texts",
    "tidy_up",
    "told_digest",
    "weights_digest",
    "write_curves",
    "write_scores",
]
