"""What a run notes about itself, in its folder, for its trackers and on the screen."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers.wandb import WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from rich.table import Table

from gaborseg.data import SegmentationData
from gaborseg.gpu import Choices, choices_for, pin
from gaborseg.interface import prediction_line, report_line, show
from gaborseg.machine import software_versions
from gaborseg.runs import (
    MONITOR,
    Run,
    RunFile,
    Score,
    early_end_line,
    number,
    overall_means,
    read_outcome,
    read_scores,
    scores_table,
    structure_dice,
)
from gaborseg.training import (
    Cost,
    EpochLine,
    SegmentationModule,
    TestReport,
    early_end,
    log_result,
    use_epoch_as_axis,
    write_model_card,
)

log = logging.getLogger(__name__)

_AnyCallback = TypeVar("_AnyCallback", bound=Callback)
_TIME = "%Y-%m-%dT%H:%M:%S%z"


@rank_zero_only
def record_start(
    run: Run,
    trainer: pl.Trainer,
    data: SegmentationData,
    counts: Mapping[str, int],
    choices: Mapping[str, Any],
    start: Mapping[str, Any],
) -> None:
    """Write ``run.json`` and hand configuration and parameter counts to the trackers."""
    parameters = dict(counts) | {"total": sum(counts.values())}
    session = {"started": time.strftime(_TIME), **software_versions()}
    record = {
        **run.origin,
        "name": run.name,
        "group": run.group,
        "choices": dict(choices),
        "parameters": parameters,
        "data": data.describe(),
        **({"weights": dict(start)} if start else {}),
        "monitor": callback(trainer, EpochLine).monitor._asdict(),
        **_gpu_choices(trainer),
        "sessions": [*run.sessions(), session],
    }
    run.write_json(RunFile.RECORD, record)
    grouped = dict(choices) | {"kernel": run.tags[0]}  # trackers tell runs apart by it
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            use_epoch_as_axis(logger)
        logger.log_hyperparams({**run.config, "parameters": parameters, "choices": grouped})


def _gpu_choices(trainer: pl.Trainer) -> dict[str, Any]:
    """How the run's work goes on its card, which it keeps to when it is resumed."""
    device = trainer.strategy.root_device
    return {"gpu": choices_for(device).as_record()} if device.type == "cuda" else {}


def keep_to_gpu_choices(run: Run, trainer: pl.Trainer) -> None:
    """Let a run that goes on work as it began, whatever has been measured since.

    A run begins with what is measured on its card; one line says what that is.
    """
    device = trainer.strategy.root_device
    if device.type != "cuda":
        return
    began = run.record().get("gpu")
    try:
        told = Choices.read(began) if began else None
    except ValueError as error:
        raise ValueError(f"{run.path(RunFile.RECORD)}: gpu: {error}") from error
    pin(told or choices_for(device))
    rank_zero_only(log.info)(_told(choices_for(device)))


def _told(choices: Choices) -> str:
    spectral = sum(way == "spectral" for way in choices.ways.values())
    if not choices.ways:
        return (
            "GPU: nothing measured on this card; python -m src.benchmark tune finds what is faster"
        )
    return (
        f"GPU: of {len(choices.ways)} measured convolutions {spectral} go by spectra; "
        f"steps are {'replayed as graphs' if choices.graphs else 'launched kernel by kernel'}"
    )


@rank_zero_only
def record_end(
    run: Run, trainer: pl.Trainer, seconds: float, epoch: int, stopped: Mapping[str, Any]
) -> None:
    """Write ``done.json``, the last file of a run, and show the result.

    Args:
        run: What has ended.
        trainer: It has tested the run.
        seconds: How long this session took.
        epoch: Which one was tested, from 1.
        stopped: How the training ended before it had all epochs, if it did.
    """
    rows = read_scores(run.path(RunFile.SCORES))
    means = overall_means(rows)
    cost = callback(trainer, Cost).record()
    write_model_card(run)
    run.write_json(
        RunFile.OUTCOME,
        {
            "test_dice": means.dice,
            "test_hd95": means.hd95,
            "test_nsd": means.nsd,
            "nsd_tolerance": callback(trainer, TestReport).tolerance,
            "test_subjects": len({row.subject for row in rows}),
            "epochs": trainer.current_epoch,
            **({"stopped_early": dict(stopped)} if stopped else {}),
            "best": _best(trainer, epoch),
            **_own_scores(trainer),
            **cost,
            "seconds_of_this_session": round(seconds, 1),
            "finished": time.strftime(_TIME),
        },
    )
    costs = {f"cost/{name}": v for name, v in cost.items() if isinstance(v, int | float)}
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            log_result(logger, run, {**_summary(run, rows, epoch), **costs})
        else:
            logger.log_metrics(costs)
    show_result(run)


def tell_early_end(trainer: pl.Trainer) -> dict[str, Any]:
    """Return how a training ended before it had all epochs, and log it; empty if it had."""
    if stopped := early_end(trainer):
        rank_zero_only(log.info)(f"The training was {early_end_line(stopped)}")
    return stopped


def _best(trainer: pl.Trainer, epoch: int) -> dict[str, Any]:
    """Return which epoch was tested, and what chose it."""
    line = callback(trainer, EpochLine)
    value = line.best if math.isfinite(line.best) else None
    return {**line.monitor._asdict(), "value": value, "epoch": epoch}


def _own_scores(trainer: pl.Trainer) -> dict[str, Any]:
    """Return the values of the user's own metrics in the test, if there are any."""
    names = cast(SegmentationModule, trainer.lightning_module).metrics.names
    values = {name: float(trainer.callback_metrics[f"test/{name}"]) for name in names}
    told = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return {"metrics": told} if told else {}


def _summary(run: Run, rows: Sequence[Score], epoch: int) -> dict[str, float]:
    """Return what a list of runs compares: scores of validation and test, parameters, seconds.

    Args:
        run: What was tested.
        rows: The scores of its test subjects.
        epoch: Which one was tested, from 1.
    """
    curves = {e: {k: number(cell) for k, cell in row.items()} for e, row in run.curves().items()}
    tested = {f"best/{k}": v for k, v in curves.get(epoch - 1, {}).items() if k.startswith("val/")}
    means = overall_means(rows)
    test = {f"test/{name}": getattr(means, name) for name in ("dice", "hd95", "nsd")}
    test |= {f"test/dice/{name}": dice for name, dice in structure_dice(rows).items()}
    highest = max((row.get(MONITOR) or 0.0 for row in curves.values()), default=math.nan)
    numbers = {
        "best/epoch": epoch,
        **tested,
        f"highest/{MONITOR}": highest,
        **test,
        "parameters": run.record()["parameters"]["total"],
        "cost/seconds": sum(row.get("seconds") or 0.0 for row in curves.values()),
    }
    return {name: v for name, v in numbers.items() if v is not None and math.isfinite(v)}


def callback(trainer: pl.Trainer, kind: type[_AnyCallback]) -> _AnyCallback:
    """Return the trainer's only callback of a kind."""
    (found,) = (c for c in cast(Any, trainer).callbacks if isinstance(c, kind))
    return found


def show_result(run: Run) -> None:
    """Show the table of test scores, where everything is, and how to go on."""
    rows = read_scores(run.path(RunFile.SCORES))
    mean = overall_means(rows).dice
    show(scores_table(rows, f"Test scores of {run.name}"))
    for name, value in read_outcome(run.folder).get("metrics", {}).items():
        log.info(f"test/{name} {'-' if value is None else f'{value:.4f}'}")
    log.info(f"Mean test Dice {mean:.4f}. Everything was written to {run.folder}")
    log.info(report_line(run.folder))
    log.info(prediction_line(run.folder))


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
