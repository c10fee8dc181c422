"""Many runs: their processes, the machine that they share, and how far they are."""

from gaborseg.sweeps.cells import SHELLS_SIGNAL, Cell, SweepFailed
from gaborseg.sweeps.machine import TRACKER_NOTE, device_count, machine_for, visible_gpus
from gaborseg.sweeps.plan import PLAN, Round, note_round, read_plan, read_rounds, write_plan
from gaborseg.sweeps.status import show_sweeps, sweeps_in
from gaborseg.sweeps.work import work_through

__all__ = [
    "PLAN",
    "SHELLS_SIGNAL",
    "TRACKER_NOTE",
    "Cell",
    "Round",
    "SweepFailed",
    "device_count",
    "machine_for",
    "note_round",
    "read_plan",
    "read_rounds",
    "show_sweeps",
    "sweeps_in",
    "visible_gpus",
    "work_through",
    "write_plan",
]
