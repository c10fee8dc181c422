"""Weights & Biases tracking that works without an account: offline unless a key is found."""

import contextlib
import functools
import logging
import math
import netrc
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from gaborseg.machine import read_text, write_text
from gaborseg.runs import Run, RunFile, Score, read_scores, run_name
from gaborseg.sweeps import TRACKER_NOTE

log = logging.getLogger(__name__)

_HOST = "api.wandb.ai"
_OFFLINE = "offline"
MODES = ("auto", "online", _OFFLINE)
_ONLINE = ("online", "run", "shared")  # as ``WANDB_MODE`` may say it
_SUBJECTS = "subjects"  # the table of scores
_LONGEST_TAG = 64  # characters: W&B takes no longer one
_PATIENCE, _UPLOAD = 20, 300  # seconds to wait for the server at the start and the end of a run
_UNTRIED = 3600  # seconds for which the runs of a sweep believe one of them that found no server


def wandb_logger(run: Run, *, project: str, entity: str | None, mode: str) -> WandbLogger:
    """Return a logger whose run has a name, tags, a group and an id that the choices determine.

    Args:
        run: What is tracked; its folder holds the offline files.
        project: W&B project.
        entity: W&B user or team; the account's own if None.
        mode: ``"online"``, ``"offline"``, or ``"auto"``: what ``WANDB_MODE`` says, else online
            if a key is found.

    Raises:
        ValueError: If the mode is unknown.
    """
    if mode not in MODES:
        raise ValueError(f"logger.wandb.mode must be one of {', '.join(MODES)}, got {mode!r}")
    _set_up()
    mode = chosen_mode(mode)
    _forget_idle_sessions(run)
    if mode == _OFFLINE:
        _say_offline(run.folder)
    return _PatientLogger(
        save_dir=run.folder,
        project=project,
        entity=entity,
        name=run.name,
        id=run.identity,
        group=run.group,
        job_type="train",
        tags=[run_name([tag], _LONGEST_TAG) for tag in run.tags],
        offline=mode == _OFFLINE,
        mode=mode,
    )


class _UnreachableError(Exception):
    """W&B cannot be used: no server in time, or one that refuses the key."""


class _PatientLogger(WandbLogger):
    """Lightning's logger, whose run is offline if W&B cannot be reached in time."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Return the W&B run, which starts now if it has not yet."""
        if self._experiment is None:
            self._experiment = start_run(**self._wandb_init)
        return self._experiment


def chosen_mode(mode: str) -> str:
    """Return what ``auto`` stands for: what ``WANDB_MODE`` says, else online if there is a key."""
    if mode != "auto":
        return mode
    return os.environ.get("WANDB_MODE") or ("online" if has_key() else _OFFLINE)


def start_run(*, mode: str, dir: str | Path, **options: Any) -> Any:
    """Return a new W&B run: offline if that is its mode, or if W&B cannot be reached in time.

    Args:
        mode: As W&B knows it.
        dir: The folder in which W&B makes its own.
        options: Others of ``wandb.init``.
    """
    wandb = _set_up()
    start = functools.partial(wandb.init, **options, dir=dir)
    if mode in _ONLINE:
        host = wandb.setup().settings.base_url
        if reason := _told_by_another_run():
            log.warning(f"W&B cannot be used, as another run of the sweep has found: {reason}")
        else:
            log.info(f"W&B: waiting for {host}, {_PATIENCE} seconds at most")
            try:
                return _start_online(start, mode, Path(dir))
            except _UnreachableError as error:
                log.warning(f"W&B cannot be used: {error}")
                _tell_other_runs(str(error))
        _say_offline(Path(dir))
        mode = _OFFLINE
    return start(mode=mode, resume=None, settings=wandb.Settings(silent=True))


def _start_online(start: Callable[..., Any], mode: str, folder: Path) -> Any:
    """Return a new W&B run that is online, if that works in time; else it leaves nothing.

    Raises:
        _UnreachableError: It does not.
    """
    import wandb

    before = {*_online_folders(folder)}
    try:
        settings = wandb.Settings(silent=True, init_timeout=_PATIENCE)
        return start(mode=mode, resume="allow", settings=settings)
    except (wandb.Error, ValueError, OSError) as error:
        wandb.teardown(exit_code=1)  # or the run that did not start holds on to its id
        for made in {*_online_folders(folder)} - before:
            shutil.rmtree(made, ignore_errors=True)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _UnreachableError(reason) from error


def _told_by_another_run() -> str:
    """Return why W&B cannot be used, if another run of the same sweep has found that lately."""
    if note := os.environ.get(TRACKER_NOTE):
        with contextlib.suppress(OSError, ValueError):
            if 0 <= time.time() - Path(note).stat().st_mtime < _UNTRIED:
                return read_text(Path(note))
    return ""


def _tell_other_runs(reason: str) -> None:
    if note := os.environ.get(TRACKER_NOTE):
        with contextlib.suppress(OSError):
            write_text(Path(note), reason)


def _set_up() -> Any:
    """Return W&B's package, which prints nothing and ends every upload in time."""
    import wandb  # slow to import, and not needed without a run of it

    os.environ.setdefault("WANDB_FINISH_TIMEOUT", str(_UPLOAD))
    try:
        wandb.setup(wandb.Settings(silent=True))
    except ValueError as error:
        raise ValueError(_refused_variables(error)) from error
    return wandb


def _refused_variables(error: ValueError) -> str:
    """Return what is wrong with W&B's variables of the environment, by their names."""
    found: list[Any] = getattr(error, "errors", list)()  # pydantic has it
    told = [
        f"WANDB_{'_'.join(map(str, one['loc'])).upper()}={one['input']}: {one['msg']}"
        for one in found
    ]
    return f"W&B cannot use {'; '.join(told) or error}; correct it, unset it, or use logger=csv"


def _online_folders(folder: str | Path) -> Iterator[Path]:
    return Path(folder).glob("wandb/run-*")


@rank_zero_only
def _forget_idle_sessions(run: Run) -> None:
    """Remove the offline files of sessions that ended before the run's first epoch.

    Once there is an epoch, all stay: which of them hold it, nothing tells for sure. Times of change
    do not, for copying a folder renews them.
    """
    if any(run.path(name).exists() for name in (RunFile.CURVES, RunFile.LAST, RunFile.BEST)):
        return
    for folder in run.folder.glob(f"wandb/offline-run-*-{run.identity}"):
        shutil.rmtree(folder, ignore_errors=True)


@rank_zero_only
def _say_offline(folder: Path) -> None:
    place = shlex.quote(str(folder))
    log.info(f"W&B is offline; to upload: wandb sync {place}/wandb/offline-run-*")


def has_key() -> bool:
    """Return whether a W&B key is set in the environment or stored by ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(_HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False


@rank_zero_only
def use_epoch_as_axis(logger: WandbLogger) -> None:
    """Plot every metric against the epoch, so that resumed runs continue their curves."""
    run: Any = logger.experiment
    run.define_metric("epoch")
    run.define_metric("*", step_metric="epoch")


@rank_zero_only
def log_result(logger: WandbLogger, run: Run, summary: Mapping[str, float]) -> None:
    """Give the W&B run of a finished run its summary, its picture and a table of its scores.

    A summary replaces an earlier one; picture and table are logged by one session of a run alone.

    Args:
        logger: The run's.
        run: What has been tested; its folder holds ``subjects.csv`` and ``example.png``.
        summary: Numbers by name.
    """
    import wandb

    tracked: Any = logger.experiment
    tracked.summary.update({**summary})
    if any(run.folder.glob(f"wandb/*run-*-{run.identity}/files/media/table/{_SUBJECTS}_*")):
        return  # an earlier session has; scores that are lost are tested again
    rows = [[_known(value) for value in row] for row in read_scores(run.path(RunFile.SCORES))]
    table = wandb.Table(columns=[*Score._fields], data=rows)
    logged: dict[str, Any] = {_SUBJECTS: table}
    with contextlib.suppress(OSError):  # a picture that is lost or damaged
        logged["example"] = wandb.Image(str(run.path(RunFile.EXAMPLE)))
    tracked.log(logged)


def _known(value: str | float) -> str | float | None:
    return None if isinstance(value, float) and math.isnan(value) else value


def finish(exit_code: int) -> None:
    """Close the W&B run of this process, if one is open, as a success (0) or a failure."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        if not wandb.run.offline:
            log.info(f"W&B: uploading what is left, {_UPLOAD} seconds at most")
        wandb.finish(exit_code=exit_code)
