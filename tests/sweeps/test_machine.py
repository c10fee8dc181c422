import re
from pathlib import Path
from typing import Any

import pytest

from gaborseg.sweeps import Cell, device_count, machine_for
from gaborseg.sweeps.machine import DevicePool, Machine


def cell(**options: Any) -> Cell:
    return Cell("name", Path("folder"), ("true",), **options)


def machine(cells: list[Cell], gpus: str = "", n_jobs: int | None = None) -> Machine:
    return machine_for(cells, n_jobs=n_jobs, gpus=tuple(gpus), processors=8, environment={})


def test_a_device_is_lent_to_one_cell_at_a_time() -> None:
    pool = DevicePool("0123")
    assert [pool.take(2), pool.take(2), pool.take(1)] == [("0", "1"), ("2", "3"), None]
    pool.give_back(("0", "1"))
    assert pool.take(1) == ("0",)


def test_a_device_named_twice_serves_two_cells_but_no_cell_twice() -> None:
    pool = DevicePool("00")
    assert [pool.take(1), pool.take(1), pool.take(1)] == [("0",), ("0",), None]
    assert DevicePool("00").take(2) is None


def test_no_device_is_always_there() -> None:
    assert DevicePool("").take(0) == ()


@pytest.mark.parametrize(
    ("needs", "gpus", "jobs"),
    [([0, 0], "", 1), ([1], "0123", 4), ([2], "01234", 2), ([2, 1], "01", 2)],
)
def test_as_many_cells_run_as_the_gpus_allow(needs: list[int], gpus: str, jobs: int) -> None:
    assert machine([cell(gpus=need) for need in needs], gpus).jobs == jobs


def test_the_user_may_set_the_number_of_jobs() -> None:
    assert machine([cell()], n_jobs=3).jobs == 3


def test_a_cell_that_could_never_run_is_refused() -> None:
    with pytest.raises(ValueError, match=r"trainer.devices must be at most 2, all GPUs, got 4"):
        machine([cell(gpus=1), cell(gpus=4)], "01")
    with pytest.raises(ValueError, match="n_jobs must be a whole number from 1 on, got 0"):
        machine([cell()], n_jobs=0)


def test_a_cell_sees_the_gpus_it_is_lent() -> None:
    environment = machine([cell(gpus=2)], "0123").environment_of(cell(gpus=2), ("1", "3"))
    assert environment["CUDA_VISIBLE_DEVICES"] == "1,3"


def test_processors_are_shared_among_cells_and_their_processes() -> None:
    alone = machine([cell()]).environment_of(cell(), ())
    two = machine([cell()], n_jobs=2).environment_of(cell(processes=2), ())
    assert "OMP_NUM_THREADS" not in alone
    assert two["OMP_NUM_THREADS"] == "2"


def test_the_users_number_of_threads_stays() -> None:
    mine = Machine((), 8, 2, {"OMP_NUM_THREADS": "3"})
    assert mine.environment_of(cell(), ())["OMP_NUM_THREADS"] == "3"


def test_in_a_slurm_job_a_cell_starts_its_processes_itself() -> None:
    inside = Machine((), 8, 1, {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "sweep"})
    assert inside.environment_of(cell(), ())["SLURM_JOB_NAME"] == "bash"


@pytest.mark.parametrize("devices", [[2], 0, -2, "0,1"])
def test_devices_that_are_no_positive_number_are_refused(devices: Any) -> None:
    message = f"trainer.devices must be a positive number in a sweep, got {devices}; "
    with pytest.raises(ValueError, match=re.escape(message)):
        device_count(devices, 4)
