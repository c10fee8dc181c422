from src.runs.folder import Run, software_versions, write_atomically
from src.runs.lock import is_locked, locked
from src.runs.names import folder_name, readable, sweep_folder
from src.runs.parent import end_with_parent, lead_children, lead_these
from src.runs.state import FAILED, RunState, Stage, note_failure, read_state

__all__ = [
    "FAILED",
    "Run",
    "RunState",
    "Stage",
    "end_with_parent",
    "folder_name",
    "is_locked",
    "lead_children",
    "lead_these",
    "locked",
    "note_failure",
    "read_state",
    "readable",
    "software_versions",
    "sweep_folder",
    "write_atomically",
]
