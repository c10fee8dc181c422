"""One run: data, training, best epoch, test, run folder.

    python -m src.train kernel=gabor loss=pcc

The same command on the same run folder resumes after the last whole epoch, or shows the result.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import hydra
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.loggers.wandb import WandbLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from rich.table import Table
from torch import nn

from src.command import at_the_door, build, exit_on_user_error, run_command, show
from src.data import SegmentationData
from src.networks import parameter_counts
from src.training import (
    EpochLine,
    FitDecision,
    Run,
    SeedEpochs,
    SegmentationModule,
    TestReport,
    checkpoints,
    finish,
    read_scores,
    scores_table,
    software_versions,
    subject_means,
    use_epoch_as_axis,
)

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def main(config: DictConfig) -> float:
    """Train and test as configured; return the mean test Dice."""
    runtime = HydraConfig.get().runtime
    with exit_on_user_error():
        choices = {k: v for k, v in runtime.choices.items() if not k.startswith("hydra/")}
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
    with at_the_door():
        run = describe_run(config, folder, choices)
        run.claim()
    if run.done:
        log.info("This run is done; delete its folder, or name another, to train it again.")
        return report(run)
    try:
        return _train(config, run, choices)
    finally:
        finish()


def _train(config: DictConfig, run: Run, choices: Mapping[str, Any]) -> float:
    started = time.time()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    with at_the_door():
        trainer = build_trainer(config, run)
        data = build_data(config)
        module = build_module(config, data)
        trainer.callbacks[:0] = [  # type: ignore[attr-defined]
            TestReport(run, data.subjects),
            FitDecision(data.loader("validation")),
        ]
    counts = parameter_counts(module.network)
    _record(run, trainer, data, counts, choices)
    show_summary(counts, data, run)
    _fit(trainer, module, data, run)
    trainer.test(module, data.loader("test"), ckpt_path=str(run.path("best.ckpt")), verbose=False)
    _finish(run, trainer, time.time() - started)
    return report(run)


def describe_run(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> Run:
    """Return the run's name, tags and group, from kernel, loss, learning rate and split.

    Raises:
        ValueError: If the learning rate is not positive.
    """
    tags = (
        str(choices["kernel"]),
        str(choices["loss"]),
        f"lr{config.optimizer.lr:.3g}",
        f"split{config.split}",
    )
    if config.optimizer.lr <= 0:
        raise ValueError(f"optimizer.lr must be positive, got {config.optimizer.lr}")
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    if not isinstance(resolved, dict):
        raise TypeError(f"the configuration must be a mapping, got {type(resolved).__name__}")
    group = str(choices.get("experiment") or "train")
    return Run(folder, {str(k): v for k, v in resolved.items()}, "-".join(tags), tags, group)


def build_trainer(config: DictConfig, run: Run) -> pl.Trainer:
    """Return the Trainer with the loggers and callbacks of the configuration and of the run."""
    loggers: list[Logger] = [build(node)(run) for node in config.logger.values()]
    chosen: list[Callback] = [build(node) for node in config.callbacks.values()]
    own = [SeedEpochs(config.seed), EpochLine()]
    trainer = build(config.trainer, _partial_=True, default_root_dir=str(run.folder))
    try:
        return trainer(logger=loggers or False, callbacks=[*chosen, *own, *checkpoints(run)])
    except (MisconfigurationException, RuntimeError) as error:
        accelerator = config.trainer.accelerator
        raise ValueError(f"trainer.accelerator={accelerator} cannot be used: {error}") from error


def build_data(config: DictConfig) -> SegmentationData:
    """Return the data, checked and prepared."""
    data: SegmentationData = build(config.data)
    data.prepare()
    return data


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
    )


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
) -> None:
    """Write ``run.json`` and hand configuration and parameter counts to the trackers."""
    parameters = dict(counts) | {"total": sum(counts.values())}
    record = {
        "name": run.name,
        "group": run.group,
        "choices": dict(choices),
        "parameters": parameters,
        "versions": software_versions(),
        "data": data.describe(),
    }
    run.write_json("run.json", record)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            use_epoch_as_axis(logger)
        logger.log_hyperparams({**run.config, "parameters": parameters, "choices": dict(choices)})


def _fit(trainer: pl.Trainer, module: SegmentationModule, data: SegmentationData, run: Run) -> None:
    resume = run.last_checkpoint
    if resume is not None:
        log.info(f"Resuming from {resume}")
    trainer.fit(
        module,
        data.loader("train"),
        data.loader("validation"),
        ckpt_path=None if resume is None else str(resume),
    )


@rank_zero_only
def _finish(run: Run, trainer: pl.Trainer, seconds: float) -> None:
    """Write ``done.json``, the last file of a run."""
    dice = subject_means(read_scores(run.path("subjects.csv")))
    run.write_json(
        "done.json",
        {
            "test_dice": sum(dice) / len(dice),
            "test_subjects": len(dice),
            "epochs": trainer.current_epoch,
            "seconds_of_this_session": round(seconds, 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        },
    )


def report(run: Run) -> float:
    """Show the table of test scores and where everything is; return the mean test Dice."""
    rows = read_scores(run.path("subjects.csv"))
    dice = subject_means(rows)
    mean = sum(dice) / len(dice)
    _show_report(scores_table(rows, f"Test Dice of {run.name}"), run, mean)
    return mean


@rank_zero_only
def _show_report(table: Table, run: Run, mean: float) -> None:
    show(table)
    log.info(f"Mean test Dice {mean:.4f}. Everything was written to {run.folder}")


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
