"""What is checked before a run trains: settings that nothing else checks, and data that changed."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from gaborseg.data import SegmentationData
from gaborseg.experiment.starting import check_start
from gaborseg.interface import monitor_of, own_mode, target_of
from gaborseg.networks import MONAI_NETWORKS, require_monai
from gaborseg.runs import Run, check_objective

log = logging.getLogger(__name__)

_SAID_ELSEWHERE = {
    "logger": "choose loggers with logger=",
    "callbacks": "choose callbacks with callbacks=",
    "default_root_dir": "choose the folder with hydra.run.dir=",
    "plugins": "a run has its own",
}


def check_settings(config: DictConfig) -> None:
    """Check what nothing else checks before the data are prepared.

    Raises:
        ValueError: If a number is out of its range; the message names it.
        ImportError: If what the network is built with is not installed.
    """
    seed, epochs, rate = config.seed, config.trainer.max_epochs, config.optimizer.lr
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer from 0 to 2^32 - 1, got {seed}")
    if type(epochs) is not int or epochs < 1:
        raise ValueError(f"trainer.max_epochs must be a positive integer, got {epochs}")
    if type(rate) not in (float, int) or not 0 < rate < math.inf:
        raise ValueError(f"optimizer.lr must be a positive number, got {rate}")
    pause = config.pause_after
    if pause is not None and (type(pause) is not int or pause < 1):
        raise ValueError(f"pause_after must be a positive integer or null, got {pause}")
    _check_trainer(config.trainer)
    check_objective(config.objective, metrics=config.metrics)
    monitor_of(config)
    check_start(config.weights)
    if config.network._target_ in MONAI_NETWORKS:
        require_monai()


def _check_trainer(node: DictConfig) -> None:
    """Check that settings of Lightning's Trainer do not say what others say, or break a run.

    Raises:
        ValueError: One does.
    """
    for name, instead in _SAID_ELSEWHERE.items():
        if name in node:
            raise ValueError(f"trainer.{name} must not be set: {instead}")
    if node.get("fast_dev_run"):
        raise ValueError("trainer.fast_dev_run must be false: use experiment=smoke")
    if node.get("check_val_every_n_epoch", 1) != 1:
        raise ValueError(
            "trainer.check_val_every_n_epoch must be 1, got "
            f"{node.check_val_every_n_epoch}: the best epoch, metrics.csv and resuming need every "
            "epoch's validation"
        )


def check_stopping(config: DictConfig, structures: Sequence[str]) -> None:
    """Check what callbacks that end a training look at, once the structures are known.

    Raises:
        ValueError: Nothing logs it, or the callback takes its worse values for the better ones.
    """
    stopping = {n: node for n, node in config.callbacks.items() if _is_stopping(node)}
    for name, node in stopping.items():
        monitor, mode, key = node.get("monitor"), node.get("mode", "min"), f"callbacks.{name}"
        if monitor in (None, "") or not str(monitor).startswith("val/"):
            continue
        own = str(monitor).removeprefix("val/") in config.metrics
        if node.get("strict", True):
            check_objective(monitor, structures, config.metrics, key=f"{key}.monitor")
        better = own_mode(config, monitor) if own else "min" if monitor == "val/loss" else "max"
        if better and mode != better:
            raise ValueError(f"{key}.mode must be {better} for monitor={monitor}, got {mode}")


def _is_stopping(node: DictConfig) -> bool:
    kind = target_of(node)
    return isinstance(kind, type) and issubclass(kind, EarlyStopping)


def check_same_data(run: Run, data: SegmentationData, resume: Path | None) -> None:
    """Check that the data of a run that goes on are those that it began with.

    Args:
        run: The run.
        data: Its data, prepared.
        resume: The checkpoint that it goes on from; None: it begins.

    Raises:
        ValueError: Subjects have come, gone or changed their part, or structures have changed.
    """
    if resume is None:
        return
    began, now = run.record().get("data") or {}, data.describe()
    for key in ("structures", "channels", "size"):
        if began.get(key, now[key]) != now[key]:
            raise ValueError(_changed(run, key, began[key], now[key]))
    split = began.get("split") or {}
    for part, subjects in now["split"].items():
        if split.get(part, subjects) != subjects:
            raise ValueError(_changed(run, f"{part} subjects", split[part], subjects))


def _changed(run: Run, what: str, before: Sequence[Any], now: Sequence[Any]) -> str:
    lost, new = ([x for x in a if x not in b] for a, b in ((before, now), (now, before)))
    pairs = (("without", lost), ("with", new))
    told = [f"{word} {', '.join(map(str, some[:3]))}" for word, some in pairs if some]
    return (
        f"{run.folder} began with other {what}: now {' and '.join(told) or 'in another order'}; "
        "bring the data back, or choose another folder with hydra.run.dir=..."
    )


def tell_repeats(processes: int, subjects: int) -> None:
    """Warn if so many processes share so few validation subjects that the first counts repeatedly.

    Every process must have one, or those without would wait for the others for ever.
    """
    if processes > subjects:
        rank_zero_only(log.warning)(
            f"{processes} processes share {subjects} validation subjects: the first of them counts "
            f"{processes - subjects + 1} times in val/loss, metrics of your own and "
            f"decision=calibrated; trainer.devices={subjects} avoids that"
        )
