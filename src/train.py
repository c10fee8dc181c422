"""One run: data, training, best epoch, test, run folder.

    python -m src.train kernel=gabor loss=pcc

The same command on the same run folder resumes after the last whole epoch, or shows the result.
"""

import contextlib
import json
import logging
import math
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import hydra
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.loggers.wandb import WandbLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from rich.table import Table
from torch import nn

from src.allocator import keep_freed_memory
from src.command import (
    UserError,
    build,
    errors_in_log,
    mistakes_as_user_errors,
    run_command,
    show,
)
from src.data import DataError, SegmentationData, appearance_of
from src.layers import settle_algorithms
from src.layers.algorithm import faster_directly
from src.metrics import mean_dice
from src.networks import parameter_counts
from src.runs import FAILED, lead_these, note_failure
from src.training import (
    AtomicCheckpointIO,
    Cost,
    EpochLine,
    FitDecision,
    Run,
    SeedEpochs,
    SegmentationModule,
    StopAtNaN,
    TestReport,
    checkpoint_to_resume,
    checkpoints,
    finish,
    overall_means,
    read_scores,
    scores_table,
    software_versions,
    use_epoch_as_axis,
    write_model_card,
)

log = logging.getLogger(__name__)

AnyCallback = TypeVar("AnyCallback", bound=Callback)
PRIVATE = ("root", "split")
"""What of the data's description stays in the run folder: paths, and names of subjects."""
TIME = "%Y-%m-%dT%H:%M:%S%z"


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def main(config: DictConfig) -> float:
    """Train and test as configured; return the mean test Dice."""
    hydra_config = HydraConfig.get()
    runtime = hydra_config.runtime
    choices = {k: v for k, v in runtime.choices.items() if not k.startswith("hydra/")}
    with errors_in_log():
        in_sweep = hydra_config.mode == RunMode.MULTIRUN
        in_one_process = in_sweep and runtime.choices["hydra/launcher"] == "basic"
        if in_one_process and config.trainer.devices not in (1, "1"):
            raise UserError(
                "hydra/launcher=basic must be used with trainer.devices=1; "
                f"for {config.trainer.devices} processes a run leave it out"
            )
        return train(config, Path(runtime.output_dir), choices)


def train(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> float:
    """Train and test one run in its folder and return the mean test Dice in [0, 1].

    Args:
        config: The composed configuration.
        folder: The run folder; a half-finished run of the same configuration is resumed.
        choices: The option chosen in each group, for the run's name and tags.

    Raises:
        UserError: If anything that the user chose or brought cannot work.
    """
    with mistakes_as_user_errors():
        check_settings(config)
        run = describe_run(config, folder, choices)
        run.check_folder()
    if run.done:
        log.info("This run is done; name another folder with hydra.run.dir=... to train again.")
        return report(run)
    with at_work(run):
        return _train(config, run, choices)


@contextlib.contextmanager
def at_work(run: Run) -> Iterator[None]:
    """Hold the run's folder, and tell its files and its tracker how the work ended.

    Raises:
        UserError: If another process works on the run.
    """
    with contextlib.ExitStack() as stack:
        if getattr(rank_zero_only, "rank", 0) == 0:
            with mistakes_as_user_errors():
                stack.enter_context(run.working())
        stack.enter_context(lead_these())  # the other processes of a distributed run
        try:
            yield
        except BaseException as error:
            if isinstance(error, Exception):
                note_failure(run.folder, error)
            finish(exit_code=1)
            raise
        finish(exit_code=0)


def _train(config: DictConfig, run: Run, choices: Mapping[str, Any]) -> float:
    started = time.time()
    keep_freed_memory()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    with mistakes_as_user_errors():
        data: SegmentationData = build(config.data)
        trainer = build_trainer(config, run, data)
        prepare(data)
        module = build_module(config, data)
        exceptions = direct_layers(run)
        settle_algorithms(module.network, trainer.strategy.root_device, exceptions)
    counts = parameter_counts(module.network)
    run.claim()
    _record(run, trainer, data, counts, choices, exceptions)
    show_summary(counts, data, run)
    with keyboard_interrupts(), killed_together(run, trainer):
        _fit(trainer, module, data, run)
        best = str(run.path("best.ckpt"))
        trainer.test(module, data.loader("test"), ckpt_path=best, verbose=False)
    _finish(run, trainer, time.time() - started)
    return float(mean_dice(module.test_scores.dice))


def check_settings(config: DictConfig) -> None:
    """Check the numbers that nothing else checks before the training starts.

    Raises:
        ValueError: If one is out of its range; the message names it.
    """
    seed, epochs, rate = config.seed, config.trainer.max_epochs, config.optimizer.lr
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer from 0 to 2^32 - 1, got {seed}")
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"trainer.max_epochs must be a positive integer, got {epochs}")
    if not isinstance(rate, float | int) or not 0 < rate < math.inf:
        raise ValueError(f"optimizer.lr must be a positive number, got {rate}")


def describe_run(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> Run:
    """Return the run, named by kernel, loss, learning rate and split."""
    tags = (
        str(choices["kernel"]),
        str(choices["loss"]),
        f"lr{config.optimizer.lr:.3g}",
        f"split{config.split}",
    )
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    group = os.environ.get("WANDB_RUN_GROUP") or choices.get("sweeps") or choices.get("experiment")
    return Run(folder, cast(dict[str, Any], resolved), "-".join(tags), tags, str(group or "train"))


def build_trainer(config: DictConfig, run: Run, data: SegmentationData) -> pl.Trainer:
    """Return the Trainer with the loggers and callbacks of the configuration and of the run.

    Raises:
        ValueError: If this machine has no such accelerator.
    """
    loggers: list[Logger] = [build(node)(run) for node in config.logger.values()]
    callbacks: list[Callback] = [
        TestReport(run, lambda: affines(data)),
        FitDecision(lambda: data.loader("validation")),
        *(build(node) for node in config.callbacks.values()),
        SeedEpochs(config.seed),
        StopAtNaN(),
        Cost(),
        EpochLine(),
        *checkpoints(run),
    ]
    trainer = build(config.trainer, _partial_=True, default_root_dir=str(run.folder))
    try:
        return trainer(logger=loggers or False, callbacks=callbacks, plugins=[AtomicCheckpointIO()])
    except (MisconfigurationException, RuntimeError) as error:
        accelerator = config.trainer.accelerator
        raise ValueError(f"trainer.accelerator={accelerator} cannot be used: {error}") from error


def affines(data: SegmentationData) -> dict[str, NDArray]:
    """Return the affine (4, 4) of each subject of the data set, in its order."""
    cases = zip(data.subjects, data.prepared.cases, strict=True)
    return {subject: case.read("affine") for subject, case in cases}


def prepare(data: SegmentationData) -> None:
    """Check and prepare the data; of several problems, log all but the one that is raised."""
    try:
        data.prepare()
    except DataError as error:
        for line in str(error).splitlines()[1:]:
            log.error(line)
        raise


def build_module(config: DictConfig, data: SegmentationData) -> SegmentationModule:
    """Return the module around network, loss, optimiser, schedule and decision."""
    config = fill_in_counts(config, data)
    network: nn.Module = build(config.network)
    optimizer = build(config.optimizer)
    scheduler = build(config.scheduler)
    scheduler(optimizer(network.parameters()), total_steps=1)  # wrong values must show here
    return SegmentationModule(
        network=network,
        loss=build(config.loss),
        optimizer=optimizer,
        scheduler=scheduler,
        decision=build(config.decision),
        structures=data.structures,
        description=describe_model(config, data),
        infer=data.infer,
    )


def describe_model(config: DictConfig, data: SegmentationData) -> dict[str, Any]:
    """Return what a checkpoint needs beside its weights, plain values, nothing of this machine."""
    known = {key: value for key, value in data.describe().items() if key not in PRIVATE}
    cases = dict(zip(data.subjects, data.prepared.cases, strict=True))
    appearance = appearance_of([cases[subject] for subject in data.split.train])
    nodes = OmegaConf.to_container(config, resolve=True)
    return {
        **{part: cast(dict[str, Any], nodes)[part] for part in ("network", "decision")},
        "data": known | {"appearance": appearance.as_json()},
    }


def direct_layers(run: Run) -> list[str]:
    """Return the Gabor layers that were known to be faster directly when the run began.

    A table that is measured later does not change the numbers of a run that is resumed.
    """
    path = run.path("run.json")
    if not path.exists():
        return faster_directly()
    return list(json.loads(path.read_text()).get("direct_layers", []))


def fill_in_counts(config: DictConfig, data: SegmentationData) -> DictConfig:
    """Return the configuration with the data's numbers of image channels and classes.

    Raises:
        ValueError: If the network is told other numbers than the data have.
    """
    counts = {"in_channels": data.in_channels, "num_classes": data.num_classes}
    for key, found in counts.items():
        told = config.network[key]
        if told not in (None, found):
            raise ValueError(f"network.{key} must be {found}, as in the data, got {told}")
    filled = OmegaConf.merge(config, {"network": counts})
    return cast(DictConfig, filled)


@rank_zero_only
def _record(
    run: Run,
    trainer: pl.Trainer,
    data: SegmentationData,
    counts: Mapping[str, int],
    choices: Mapping[str, Any],
    exceptions: Sequence[str],
) -> None:
    """Write ``run.json`` and hand configuration and parameter counts to the trackers."""
    parameters = dict(counts) | {"total": sum(counts.values())}
    session = {"started": time.strftime(TIME), **software_versions()}
    record = {
        "name": run.name,
        "group": run.group,
        "choices": dict(choices),
        "parameters": parameters,
        "direct_layers": list(exceptions),
        "data": data.describe(),
        "sessions": [*run.sessions(), session],
    }
    run.write_json("run.json", record)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            use_epoch_as_axis(logger)
        logger.log_hyperparams({**run.config, "parameters": parameters, "choices": dict(choices)})


def _fit(trainer: pl.Trainer, module: SegmentationModule, data: SegmentationData, run: Run) -> None:
    resume = checkpoint_to_resume(run.folder)
    if resume is not None:
        log.info(f"Resuming from {resume}")
    trainer.fit(
        module,
        data.loader("train"),
        data.loader("validation"),
        ckpt_path=None if resume is None else str(resume),
    )


@contextlib.contextmanager
def keyboard_interrupts() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM, which Lightning turns into an exit, interrupt as usual."""
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error


@contextlib.contextmanager
def killed_together(run: Run, trainer: pl.Trainer) -> Iterator[None]:
    """End a distributed run as killed, not as failed, if another of its processes was killed.

    The other processes see no more than a lost connection; that is not the error to report.
    """
    try:
        yield
    except Exception:
        others = getattr(trainer.strategy.launcher, "procs", [])
        if others:
            time.sleep(1)  # its connections are closed a moment before it has ended
        if any((process.poll() or 0) < 0 for process in others):
            log.error("another process of this run was killed")
            for process in others:
                process.kill()
                process.wait()
            run.path(FAILED).unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        raise


@rank_zero_only
def _finish(run: Run, trainer: pl.Trainer, seconds: float) -> None:
    """Write ``done.json``, the last file of a run, and show the result."""
    rows = read_scores(run.path("subjects.csv"))
    means = overall_means(rows)
    cost = _callback(trainer, Cost).record()
    write_model_card(run)
    run.write_json(
        "done.json",
        {
            "test_dice": means.dice,
            "test_hd95": means.hd95,
            "test_nsd": means.nsd,
            "nsd_tolerance": _callback(trainer, TestReport).tolerance,
            "test_subjects": len({row.subject for row in rows}),
            "epochs": trainer.current_epoch,
            **cost,
            "seconds_of_this_session": round(seconds, 1),
            "finished": time.strftime(TIME),
        },
    )
    numbers = {f"cost/{name}": v for name, v in cost.items() if isinstance(v, int | float)}
    for logger in trainer.loggers:
        logger.log_metrics(numbers)
    report(run)


def _callback(trainer: pl.Trainer, kind: type[AnyCallback]) -> AnyCallback:
    """Return the trainer's only callback of a kind."""
    (found,) = (c for c in cast(Any, trainer).callbacks if isinstance(c, kind))
    return found


def report(run: Run) -> float:
    """Show the table of test scores and where everything is; return the mean test Dice."""
    rows = read_scores(run.path("subjects.csv"))
    mean = overall_means(rows).dice
    show(scores_table(rows, f"Test scores of {run.name}"))
    log.info(f"Mean test Dice {mean:.4f}. Everything was written to {run.folder}")
    return mean


@rank_zero_only
def show_summary(counts: Mapping[str, int], data: SegmentationData, run: Run) -> None:
    """Show the parameters by kind of layer, the data and the folder."""
    table = Table("parameters")
    table.add_column("count", justify="right")
    for kind, count in counts.items():
        if count:
            table.add_row(kind, f"{count:,}")
    table.add_section()
    table.add_row("total", f"{sum(counts.values()):,}", style="bold")
    show(table)
    parts = (data.split.train, data.split.validation, data.split.test)
    sizes = "/".join(str(len(part)) for part in parts)
    log.info(f"{run.name}: {len(data.subjects)} subjects, {sizes} to train/validate/test")
    log.info(f"Run folder: {run.folder}")


if __name__ == "__main__":
    run_command(main)
