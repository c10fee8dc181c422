"""The work of one run: data, training, best epoch, test; also what is half done already."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import nn

from gaborseg.data import SegmentationData, appearance_of
from gaborseg.experiment.additions import build_callbacks, build_logger, build_metrics
from gaborseg.experiment.checks import (
    check_same_data,
    check_settings,
    check_stopping,
    tell_repeats,
)
from gaborseg.experiment.interruptions import (
    at_work,
    end_at_once_when_terminated,
    keyboard_interrupts,
    killed_together,
)
from gaborseg.experiment.record import (
    callback,
    keep_to_gpu_choices,
    record_end,
    record_start,
    show_result,
    show_summary,
    tell_early_end,
)
from gaborseg.experiment.starting import start_from_weights, trained_source
from gaborseg.interface import (
    UserError,
    build,
    effective_choices,
    effective_settings,
    mistakes_as_user_errors,
    monitor_of,
    own_choices,
    settings_named,
)
from gaborseg.machine import keep_freed_memory
from gaborseg.networks import parameter_counts
from gaborseg.runs import (
    Run,
    RunFile,
    check_objective,
    objective_value,
    run_name,
    short_rate,
    tidy_up,
    weights_digest,
)
from gaborseg.scans import DataError
from gaborseg.training import (
    AtomicCheckpointIO,
    Cost,
    DeadStructures,
    EpochLine,
    EpochRow,
    FitDecision,
    PauseAfter,
    SeedEpochs,
    SegmentationModule,
    StayStopped,
    StopAtNaN,
    TestReport,
    checkpoint_to_resume,
    checkpoints,
    network_compiler,
    read_best,
)

log = logging.getLogger(__name__)
for chatty in ("pytorch_lightning", "lightning_fabric"):
    logging.getLogger(chatty).setLevel(logging.WARNING)  # importing them has set it to INFO

_PRIVATE = ("root", "roots", "split", "participants")
"""What of the data's description stays in the run folder: paths, and names of subjects."""


def train(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> float | None:
    """Train and test one run in its folder and return its objective, a score of the validation.

    That is what a search compares: ``config.objective``, by default validation Dice in [0, 1], at
    the epoch whose weights are kept as the best. None without a ``metrics.csv`` to read it from.

    Args:
        config: The composed configuration.
        folder: The run folder; a half-finished run of the same configuration is resumed.
        choices: The option chosen in each group, for the run's name and tags.

    Raises:
        UserError: If anything that the user chose or brought cannot work.
    """
    if _is_alone(config):  # whatever RANK, LOCAL_RANK or SLURM_PROCID are left in the environment
        cast(Any, rank_zero_only).rank = 0
    choices = effective_choices(config, choices)
    with mistakes_as_user_errors():
        check_settings(config)
        run = describe_run(config, folder, choices)
        run.check_folder()
    if run.done:
        tidy_up(folder)
        log.info("This run is done; name another folder with hydra.run.dir=... to train again.")
        show_result(run)
        return _objective(config, run)
    if run.lost:
        rank_zero_only(log.warning)(f"{run.folder}: {run.lost}; the run is tested again")
    with at_work(run):
        if run.done:
            show_result(run)
        else:
            _train(config, run, choices)
        return _objective(config, run)


def _objective(config: DictConfig, run: Run) -> float | None:
    return objective_value(run.folder, config.objective, config.pause_after)


def _is_alone(config: DictConfig) -> bool:
    """Return whether a run is one process by its own settings."""
    return config.trainer.devices in (1, "1") and config.trainer.get("num_nodes", 1) == 1


def _train(config: DictConfig, run: Run, choices: Mapping[str, Any]) -> None:
    started = time.time()
    keep_freed_memory()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    with mistakes_as_user_errors():
        resume = checkpoint_to_resume(run)
        source = trained_source(config.weights, run) if resume is None else None
        data: SegmentationData = build(config.data)
        trainer = build_trainer(config, run, data)
        _check_device(config, trainer, data)
        compiler = network_compiler(config.compile, trainer.strategy.root_device)
        end_at_once_when_terminated(trainer)
        prepare(data)
        check_same_data(run, data, resume)
        tell_repeats(trainer.world_size, len(data.split.validation))
        check_objective(config.objective, data.structures, config.metrics)
        check_stopping(config, data.structures)
        monitor_of(config, data.structures)
        module = build_module(config, data)
        start = start_from_weights(module, config.weights, source, resume)
        del source  # which has given what it had
        module.compiler = compiler
        if changes := run.software_changes():
            rank_zero_only(log.warning)(f"begun with other code: {'; '.join(changes)}")
        keep_to_gpu_choices(run, trainer)
    counts = parameter_counts(module.network)
    rank_zero_only(run.claim)()
    record_start(run, trainer, data, counts, choices, start)
    show_summary(counts, data, run)
    with keyboard_interrupts(trainer), killed_together(run, trainer):
        _fit(trainer, module, data, resume)
        if _is_paused(trainer):
            log.info(f"Paused after epoch {config.pause_after}, as pause_after asks for")
            return
        stopped = tell_early_end(trainer)
        epoch = _test(trainer, module, data, run)
    record_end(run, trainer, time.time() - started, epoch, stopped)


def _test(trainer: pl.Trainer, module: SegmentationModule, data: SegmentationData, run: Run) -> int:
    """Test the weights of the best checkpoint, whatever callbacks keep, and return its epoch.

    Lightning would let them exchange the weights while it loads a checkpoint: one that averages
    weights puts those of the last step in their place. Epochs count from 1.

    Raises:
        UserError: If the checkpoint is missing or damaged, or other weights were tested.
    """
    with mistakes_as_user_errors():
        best = read_best(run)
    weights = best["state_dict"]
    module.load_state_dict(weights)
    trainer.test(module, datamodule=data, verbose=False)
    if callback(trainer, TestReport).weights != {weights_digest(weights)}:
        raise UserError(
            f"callbacks must not change the weights in the test: what was tested is not what "
            f"{run.path(RunFile.BEST)} holds; remove the callback that does, and repeat the command"
        )
    return int(best["epoch"]) + 1


def _is_paused(trainer: pl.Trainer) -> bool:
    """Return whether the training was stopped before its end, to be gone on with."""
    return any(c.paused for c in cast(Any, trainer).callbacks if isinstance(c, PauseAfter))


def describe_run(config: DictConfig, folder: Path, choices: Mapping[str, Any]) -> Run:
    """Return the run, named by kernel, loss, learning rate, split and all that is its own.

    If the network has kernels of its own, its name takes the place of the kernel's. Its own is what
    its experiment sets otherwise.
    """
    kernel = "kernel" if choices.get("kernel") else "network"
    tags = (
        str(choices[kernel]),
        str(choices["loss"]),
        f"lr{short_rate(config.optimizer.lr)}",
        f"split{config.split}",
        *own_choices(config, choices, but=(kernel, "loss", "optimizer.lr", "split")),
    )
    group = os.environ.get("WANDB_RUN_GROUP") or choices.get("sweeps") or choices.get("experiment")
    return Run(folder, effective_settings(config), run_name(tags), tags, str(group or "train"))


def build_trainer(config: DictConfig, run: Run, data: SegmentationData) -> pl.Trainer:
    """Return the Trainer with the loggers and callbacks of the configuration and of the run.

    Raises:
        UserError: One of them cannot be made, or this machine has no such accelerator.
    """
    monitor = monitor_of(config)
    loggers = [build_logger(node, run) for node in config.logger.values()]
    callbacks: list[Callback] = [
        TestReport(run, lambda: affines(data)),
        *build_callbacks(config, run),
        FitDecision(lambda: data.loader("validation")),  # to the weights that are validated
        SeedEpochs(config.seed),
        StopAtNaN(),
        StayStopped(),
        PauseAfter(config.pause_after),
        Cost(),
        EpochLine(monitor, config.pause_after),
        DeadStructures(),
        EpochRow(),
        *checkpoints(run, monitor),
    ]
    plugins: list[Any] = [AtomicCheckpointIO(run.origin)]
    if _is_alone(config):
        plugins.append(LightningEnvironment())  # not that of a cluster's packed job
    trainer = build(config.trainer, _partial_=True, default_root_dir=str(run.folder))
    with settings_named(config.trainer, otherwise="accelerator"):
        return trainer(logger=loggers or False, callbacks=callbacks, plugins=plugins)


def _check_device(config: DictConfig, trainer: pl.Trainer, data: SegmentationData) -> None:
    """Check that what is to be done on a GPU can be.

    Raises:
        ValueError: If the training has no CUDA device.
    """
    device = trainer.strategy.root_device.type
    if data.augment_on == "gpu" and device != "cuda":
        raise ValueError(
            f"data.augment_on=gpu needs a training on a CUDA GPU, got trainer.accelerator="
            f"{config.trainer.accelerator} on this machine's {device}: use data.augment_on=cpu"
        )


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
    config = _fill_in_facts(config, data)
    network: nn.Module = build(config.network)
    optimizer = build(config.optimizer)
    scheduler = build(config.scheduler)
    with settings_named(config.optimizer):  # wrong values must show here
        trial = optimizer(network.parameters())
    with settings_named(config.scheduler):
        scheduler(trial, total_steps=1)
    module = SegmentationModule(
        network=network,
        loss=build(config.loss),
        optimizer=optimizer,
        scheduler=scheduler,
        decision=build(config.decision),
        structures=data.structures,
        description=_describe_model(config, data),
        patch_size=data.patch_size,
        ignore=data.ignore,
        metrics=build_metrics(config.metrics),  # last, for they may draw numbers
    )
    module.metrics.try_out(data.spatial_shape, data.num_classes)
    return module


def _describe_model(config: DictConfig, data: SegmentationData) -> dict[str, Any]:
    """Return what a checkpoint needs beside its weights, plain values, nothing of this machine."""
    known = {key: value for key, value in data.describe().items() if key not in _PRIVATE}
    cases = dict(zip(data.subjects, data.prepared.cases, strict=True))
    appearance = appearance_of([cases[subject] for subject in data.split.train])
    nodes = OmegaConf.to_container(config, resolve=True)
    return {
        **{part: cast(dict[str, Any], nodes)[part] for part in ("network", "decision")},
        "data": known | {"appearance": appearance.as_json()},
    }


def _fill_in_facts(config: DictConfig, data: SegmentationData) -> DictConfig:
    """Return the configuration with the data's numbers of image channels and classes.

    A network that asks for the size of what it is trained on is told that too.

    Raises:
        ValueError: If the network is told other numbers than the data have.
    """
    counts = {"in_channels": data.in_channels, "num_classes": data.num_classes}
    for key, found in counts.items():
        told = config.network[key]
        if told not in (None, found):
            raise ValueError(f"network.{key} must be {found}, as in the data, got {told}")
    facts: dict[str, Any] = dict(counts)
    if "size" in config.network and config.network.size is None:
        facts["size"] = list(data.training_shape)
    filled = OmegaConf.merge(config, {"network": facts})
    return cast(DictConfig, filled)


def _fit(
    trainer: pl.Trainer, module: SegmentationModule, data: SegmentationData, resume: Path | None
) -> None:
    if resume is not None:
        rank_zero_only(log.info)(f"Resuming from {resume}")
    trainer.fit(module, datamodule=data, ckpt_path=None if resume is None else str(resume))
