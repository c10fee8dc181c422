"""What the cells of a sweep share on one machine: GPUs, processors, and places to run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gaborseg.runs import lead_children
from gaborseg.sweeps.cells import Cell

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_THREADS = "OMP_NUM_THREADS"
TRACKER_NOTE = "GABORSEG_TRACKER_NOTE"
"""Names, in the environment of a sweep's cells, the file in which one tells the others that its
tracker's server cannot be reached."""


class DevicePool:
    """GPUs that are lent to one cell at a time.

    Args:
        devices: Names as ``CUDA_VISIBLE_DEVICES`` knows them; one that is named twice can be lent
            to two cells at once.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self.free = list(devices)

    def take(self, count: int) -> tuple[str, ...] | None:
        """Return different devices, lent from now on, or None while too few are free."""
        taken = tuple(dict.fromkeys(self.free))[:count]
        if len(taken) < count:
            return None
        for device in taken:
            self.free.remove(device)
        return taken

    def give_back(self, devices: Sequence[str]) -> None:
        """Take lent devices back."""
        self.free.extend(devices)


@dataclass(frozen=True)
class Machine:
    """A machine's share in a sweep.

    Attributes:
        gpus: The GPUs to deal out, as ``CUDA_VISIBLE_DEVICES`` names them.
        processors: How many processors there are.
        jobs: How many cells run at a time, at most.
        environment: The environment that all cells have in common.
    """

    gpus: tuple[str, ...]
    processors: int
    jobs: int
    environment: Mapping[str, str]

    def environment_of(self, cell: Cell, gpus: Sequence[str]) -> dict[str, str]:
        """Return the environment of a cell's process, which sees the GPUs lent to it alone.

        The processors are shared out unless the user has set the number of threads.
        """
        environment = {**self.environment, **lead_children(), "PYTHONUNBUFFERED": "1"}
        if gpus:
            environment[_VISIBLE] = ",".join(gpus)
        if self.jobs > 1:
            threads = max(self.processors // (self.jobs * cell.processes), 1)
            environment.setdefault(_THREADS, str(threads))
        if "SLURM_NTASKS" in environment:  # inside a job, a cell is still a run on one machine:
            environment["SLURM_JOB_NAME"] = "bash"  # so Lightning starts its processes itself
        return environment


def machine_for(
    cells: Sequence[Cell],
    *,
    n_jobs: int | None,
    gpus: tuple[str, ...],
    processors: int,
    environment: Mapping[str, str],
) -> Machine:
    """Return the machine, with as many cells at a time as asked for.

    Args:
        cells: What is to be run.
        n_jobs: How many cells at a time; None: as many as the GPUs allow, one on a CPU.
        gpus: The GPUs to deal out.
        processors: How many processors there are.
        environment: The environment that all cells have in common.

    Raises:
        ValueError: If a cell could never run.
    """
    if n_jobs is not None and (not isinstance(n_jobs, int) or n_jobs < 1):
        raise ValueError(f"hydra.launcher.n_jobs must be a whole number from 1 on, got {n_jobs}")
    least, most = (choose(cell.gpus for cell in cells) for choose in (min, max))
    there = len(set(gpus))
    if most > there:
        raise ValueError(f"trainer.devices must be at most {there}, all GPUs, got {most}")
    jobs = len(gpus) // least if least else 1
    return Machine(gpus, processors, n_jobs or jobs, environment)


def visible_gpus(environment: Mapping[str, str], count: int) -> tuple[str, ...]:
    """Return the names of the ``count`` GPUs that this process sees.

    Example:
        >>> visible_gpus({"CUDA_VISIBLE_DEVICES": "4,6"}, 2), visible_gpus({}, 2)
        (('4', '6'), ('0', '1'))
    """
    named = environment.get(_VISIBLE, "").replace(" ", "")
    return tuple(named.split(",")[:count]) if named else tuple(map(str, range(count)))


def device_count(devices: int | str, available: int) -> int:
    """Return how many devices ``trainer.devices`` asks for.

    Example:
        >>> [device_count(devices, available=4) for devices in (2, "2", "auto", -1)]
        [2, 2, 4, 4]

    Raises:
        ValueError: If it is not a number: which devices they are is not its to say.
    """
    if devices in ("auto", "-1", -1):
        return available
    if str(devices).isdecimal() and int(devices) > 0:
        return int(devices)
    raise ValueError(
        f"trainer.devices must be a positive number in a sweep, got {devices}; "
        "hydra.launcher.gpus says which GPUs are used"
    )
