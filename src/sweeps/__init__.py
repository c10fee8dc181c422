from src.sweeps.cells import Cell, SweepFailed
from src.sweeps.display import cells_table, counts
from src.sweeps.machine import (
    DevicePool,
    Machine,
    device_count,
    machine_for,
    visible_gpus,
)
from src.sweeps.plan import PLAN, read_plan, write_plan
from src.sweeps.sweep import Display, Entry, Sweep
from src.sweeps.work import work_through

__all__ = [
    "PLAN",
    "Cell",
    "DevicePool",
    "Display",
    "Entry",
    "Machine",
    "Sweep",
    "SweepFailed",
    "cells_table",
    "counts",
    "device_count",
    "machine_for",
    "read_plan",
    "visible_gpus",
    "work_through",
    "write_plan",
]
