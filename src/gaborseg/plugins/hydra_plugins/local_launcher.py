"""Hydra's launcher for one machine: every run of a sweep in a process of its own.

Hydra composes the runs, ``gaborseg.sweeps`` works on them. Hydra wants its launchers in a package
called ``hydra_plugins``, and imports that at every start: what is slow is imported when needed.
"""

import contextlib
import math
import os
import re
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import rich
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.run_results import Failed, Returned, refuse_storage
from omegaconf import DictConfig

from gaborseg.runs import (
    RunFileError,
    Stage,
    check_objective,
    check_searchable,
    folder_name,
    locked,
    objective_value,
    readable,
)

if TYPE_CHECKING:
    from gaborseg.runs import Run
    from gaborseg.sweeps import Cell

# What the runs do not get from the sweep's own command.
_OURS = re.compile(
    r"[+~]*hydra(\.mode|\.run\.dir|/job_logging|/launcher|/sweeper\S*|\.sweeper\.\S*)(=|$)"
)
_LONGEST_GROUP = 100  # characters, so that trackers take it as it is


@dataclass(frozen=True)
class _Job:
    """One run as Hydra composes it.

    Attributes:
        overrides: The choices that make it.
        folder: Its run folder.
        config: Its configuration, resolved.
    """

    overrides: tuple[str, ...]
    folder: Path
    config: dict[str, Any]


class LocalLauncher(Launcher):
    """Starts the runs of a sweep, some at a time.

    Args:
        n_jobs: How many at a time; by default as many as the GPUs allow, one on a CPU.
        gpus: Indices of the GPUs to deal out; by default all that are visible.

    Attributes:
        until: How many epochs the runs of the next launch are trained for; None: to their end.
        last_rung: How many epochs a sweeper will have runs pause after, at most.
        values: The objective of each run of the last launch by its folder, None if it has none.
    """

    def __init__(self, n_jobs: int | None = None, gpus: Sequence[int] | None = None) -> None:
        self.n_jobs = n_jobs
        self.indices = gpus
        self.until: int | None = None
        self.last_rung = 0
        self.values: dict[Path, float | None] = {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take up what Hydra gives."""
        self.loader = hydra_context.config_loader
        self.config = config
        refuse_storage(config.hydra.sweeper)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Work on all runs and return their objectives, scores of the validation.

        Raises:
            UserError: If something is wrong with the sweep as a whole.
            KeyboardInterrupt: If a signal asked for an end.
        """
        from gaborseg.interface import mistakes_as_user_errors, report_line
        from gaborseg.machine import PARTIAL, available_processors, remove_partials
        from gaborseg.sweeps import TRACKER_NOTE, machine_for, work_through, write_plan

        setup_globals()
        folder = Path(self.config.hydra.sweep.dir)
        note = folder.absolute() / f"{PARTIAL}tracker"
        with contextlib.ExitStack() as stack:
            with mistakes_as_user_errors():
                stack.enter_context(locked(folder))
                remove_partials(folder)
                stack.callback(note.unlink, missing_ok=True)
                jobs = self._compose(job_overrides, initial_job_idx)
                gpus = self._gpus() if any(_may_use_gpus(job) for job in jobs) else ()
                typed = self.config.hydra.overrides.task
                cells = [self._cell(job, name, gpus) for job, name in named(distinct(jobs), typed)]
                shared = {"WANDB_RUN_GROUP": self._group(), **os.environ, TRACKER_NOTE: str(note)}
                machine = machine_for(
                    cells,
                    n_jobs=self.n_jobs,
                    gpus=gpus,
                    processors=available_processors(),
                    environment=shared,
                )
                write_plan(folder, cells, sys.argv[1:], more=initial_job_idx > 0)
            goes_on = self.until or (self._direction and not self.last_rung)  # a search
            then = "" if goes_on else report_line(folder.absolute())
            entries = work_through(cells, machine, folder, rich.get_console(), then)
            failed = {entry.cell.folder for entry in entries if entry.stage == Stage.FAILED}
            self.values = {job.folder: self._value(job, failed) for job in jobs}
            self._note_round(folder, jobs)
        failure = f"{len(failed)} of {len(cells)} runs failed"
        return [
            Failed(job.overrides, job.folder, failure)
            if job.folder in failed
            else Returned(job.overrides, job.folder, self._found(job))
            for job in jobs
        ]

    def _value(self, job: _Job, failed: Collection[Path]) -> float | None:
        """Return the objective of a run, None if it has none."""
        if job.folder in failed:
            return None
        with contextlib.suppress(RunFileError):  # the state of the run tells of it
            value = objective_value(job.folder, job.config["objective"], self.until)
            return value if value is not None and math.isfinite(value) else None
        return None

    def _found(self, job: _Job) -> float:
        """Return what a sweeper is told of a run; one that has diverged is the worst there is."""
        value = self.values[job.folder]
        worst = math.inf if self._direction == "minimize" else -math.inf
        return worst if value is None else value

    @property
    def _direction(self) -> str | None:
        """Return what a search is for; None if the sweep compares nothing."""
        return self.config.hydra.sweeper.get("direction")

    def _note_round(self, folder: Path, jobs: Sequence[_Job]) -> None:
        from gaborseg.sweeps import Round, note_round

        if self._direction is not None:
            name = str(jobs[0].config["objective"])
            note_round(folder, Round(name, self._direction, self.until, self.values))

    def _compose(self, overrides: Sequence[Sequence[str]], first: int) -> list[_Job]:
        from gaborseg.interface import SweepComposer, each_interpolation_parsed_once, own_mode
        from gaborseg.machine import progress

        compose = SweepComposer(self.loader, self.config)
        steps = progress(overrides, "Composing the runs")
        before = HydraConfig.instance().cfg
        place = Path(self.config.hydra.sweep.dir)  # a run's own is named by that run's choices
        try:
            with each_interpolation_parsed_once():
                numbered = enumerate(steps, first)
                jobs = [_job_of(compose(choices, n), choices, place) for n, choices in numbered]
        finally:
            HydraConfig.instance().cfg = before
        if self._direction is not None:
            for job in jobs:
                mode = own_mode(job.config, job.config["objective"])
                check_searchable(job.config, self._direction, mode)
        return jobs

    def _gpus(self) -> tuple[str, ...]:
        """Return the GPUs to deal out.

        Raises:
            ValueError: If one was asked for that is not there.
        """
        import torch

        from gaborseg.sweeps import visible_gpus

        visible = visible_gpus(os.environ, torch.cuda.device_count())
        indices = range(len(visible)) if self.indices is None else self.indices
        if unknown := [index for index in indices if index not in range(len(visible))]:
            raise ValueError(
                f"hydra.launcher.gpus must number GPUs from 0, of {len(visible)} that are here, "
                f"got {unknown[0]}"
            )
        return tuple(visible[index] for index in indices)

    def _cell(self, job: _Job, name: str, gpus: Sequence[str]) -> "Cell":
        """Return a run as a cell, checked against what its folder holds.

        Raises:
            ValueError: If it cannot run on one machine, whatever that has.
        """
        from gaborseg.runs import Run
        from gaborseg.sweeps import Cell, device_count

        trainer = job.config["trainer"]
        if trainer.get("num_nodes", 1) != 1:
            raise ValueError(
                f"trainer.num_nodes must be 1 with hydra/launcher=local, got {trainer['num_nodes']}"
            )
        on_gpu = _may_use_gpus(job) and (bool(gpus) or trainer["accelerator"] != "auto")
        processes = device_count(trainer["devices"], len(set(gpus)) if on_gpu else 1)
        epochs, until = trainer["max_epochs"], self.until or job.config["pause_after"]
        if self.last_rung >= epochs:
            raise ValueError(
                f"hydra.sweeper.rungs must be below trainer.max_epochs={epochs}, "
                f"got {self.last_rung}"
            )
        refusal, remark = _said_by(Run(job.folder, job.config, name, (), ""))
        return Cell(
            name=name,
            folder=job.folder,
            command=self._command(job),
            gpus=processes if on_gpu else 0,
            processes=processes,
            refusal=refusal,
            remark=remark,
            until=until if until and until < epochs else None,
        )

    def _command(self, job: _Job) -> tuple[str, ...]:
        """Return the command of the run alone, with the sweep's settings and its own folder."""
        main = sys.modules["__main__"].__spec__
        module = main.name if main else "gaborseg.commands.train"
        general = [
            override for override in self.config.hydra.overrides.hydra if not _OURS.match(override)
        ]
        own = ["hydra.mode=RUN", f"hydra.run.dir={quoted(job.folder)}", "hydra/job_logging=cell"]
        sources = self.config.hydra.runtime.config_sources
        brought = [f"--config-dir={s.path}" for s in sources if s.provider == "command-line"]
        start = (sys.executable, "-m", "gaborseg.sweeps", module)
        pause = [f"pause_after={self.until}"] if self.until else []
        return (*start, *brought, *job.overrides, *pause, *general, *own)

    def _group(self) -> str:
        """Return a name for the set of all runs, decided by what was asked for."""
        choices = self.config.hydra.runtime.choices
        overrides = self.config.hydra.overrides.task
        return str(choices.get("sweeps") or folder_name(overrides, _LONGEST_GROUP))


class LocalSweeper(BasicSweeper):
    """Hydra's own sweeper, which leaves composing, and so checking, the runs to the launcher.

    Args:
        params: Values of settings, all combinations of which are runs.
    """

    def __init__(self, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep; Hydra's ``multirun.yaml`` is not written through a link or a pipe."""
        self.free_place()
        return super().sweep(arguments)

    def free_place(self) -> Path:
        """Return where Hydra's ``multirun.yaml`` goes.

        Raises:
            UserError: If there is a link, or no regular file.
        """
        from gaborseg.interface import mistakes_as_user_errors
        from gaborseg.machine import refuse_link

        assert self.config is not None
        place = Path(self.config.hydra.sweep.dir, "multirun.yaml")
        with mistakes_as_user_errors():
            refuse_link(place)
            if place.exists() and not place.is_file():
                raise FileExistsError(f"{place} must be a regular file: remove it")
        return place

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leave it to ``LocalLauncher``; for other launchers do what Hydra does."""
        if not isinstance(self.launcher, LocalLauncher):
            super().validate_batch_is_legal(batch)


def _job_of(config: DictConfig, choices: Sequence[str], place: Path) -> _Job:
    """Return a run of a sweep as it is composed now; the configuration may change afterwards."""
    from gaborseg.interface import (
        effective_settings,
        monitor_of,
        refuse_idle_kernel,
        refuse_missing_parts,
        refuse_unread,
    )

    HydraConfig.instance().cfg = cast(Any, config)
    folder = (place / config.hydra.sweep.subdir).absolute()
    refuse_missing_parts(config)
    refuse_idle_kernel(config, config.hydra.runtime.choices, choices)
    refuse_unread(config, config.hydra.runtime.choices, choices)
    check_objective(config.objective, metrics=config.metrics)
    monitor_of(config)
    return _Job(tuple(choices), folder, effective_settings(config))


def _said_by(run: "Run") -> tuple[str, str]:
    """Return why a run must not be started, and what was other code when it was worked on."""
    try:
        changed, other = run.conflicts(), run.software_changes()
    except (ValueError, OSError) as error:
        return str(error), ""
    refusal = f"other settings in {run.folder}: {'; '.join(changed)}" if changed else ""
    return refusal, "; ".join(other)


def _may_use_gpus(job: _Job) -> bool:
    """Return whether a run works on GPUs where there are some."""
    return job.config["trainer"]["accelerator"] in ("auto", "gpu", "cuda")


def distinct(jobs: Sequence[_Job]) -> list[_Job]:
    """Return each run once, however often its choices were listed.

    Raises:
        ValueError: If different runs would share a folder.
    """
    runs: dict[Path, _Job] = {}
    for job in jobs:
        if runs.setdefault(job.folder, job).config != job.config:
            raise ValueError(f"hydra.sweep.subdir must differ, got {job.folder} for two runs")
    return list(runs.values())


def named(jobs: Sequence[_Job], typed: Sequence[str] = ()) -> list[tuple[_Job, str]]:
    """Return the runs with what tells each from the others: one alone, from what was typed."""
    choices = [set(job.overrides) for job in jobs]
    shared = set.intersection(*choices) if len(jobs) > 1 else {*typed}
    return [
        (job, " ".join(readable(o) for o in job.overrides if o not in shared) or job.folder.name)
        for job in jobs
    ]


def quoted(path: Path) -> str:
    """Return a path as a value that Hydra reads as it is, whatever is in it."""
    return QuotedString(str(path), Quote.double).with_quotes()
