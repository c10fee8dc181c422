"""Loggers and callbacks that a configuration adds to a run: ours, Lightning's or the user's."""

import importlib.util
import inspect
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers.logger import Logger
from torchmetrics import Metric

from gaborseg.interface import build, settings_named, target_of
from gaborseg.runs import Run, check_objective

_CHECKPOINTS = "checkpoints"
_LOG_NOTHING_ELSE = ("gaborseg.", "pytorch_lightning.")
"""Whose callbacks log nothing that a callback might look at; a user's own may."""
_PACKAGES = {"TensorBoardLogger": "tensorboard", "MLFlowLogger": "mlflow"}


def build_logger(node: DictConfig, run: Run) -> Logger:
    """Return the logger of a node; unless told otherwise, it writes to the run folder.

    Ours are marked ``_partial_`` and take the run.
    """
    if node.get("_partial_"):
        with settings_named(node):
            logger: Logger = build(node)(run)
        return logger
    parameters = inspect.signature(target_of(node)).parameters
    is_open = "save_dir" in parameters and node.get("save_dir") is None
    _require(node._target_)
    built = build(node, **({"save_dir": str(run.folder)} if is_open else {}))
    if not isinstance(built, Logger):
        raise ValueError(f"logger must hold Lightning's loggers, got {node._target_}")
    return built


def _require(target: str) -> None:
    """Check that what a logger of Lightning writes with is installed.

    Raises:
        ImportError: If it is not; the message has the command that installs it.
    """
    package = _PACKAGES.get(target.rpartition(".")[2], "")
    if package and importlib.util.find_spec(package) is None:
        raise ImportError(f"{target} needs {package}: pip install -e '.[{package}]' in a clone")


def build_callbacks(config: DictConfig, run: Run) -> list[Callback]:
    """Return the callbacks of a configuration; their checkpoints go to the run folder.

    Raises:
        ValueError: One is no callback, or looks at a metric that nothing logs.
    """
    built = {name: build_callback(node, run) for name, node in config.callbacks.items()}
    if all(type(callback).__module__.startswith(_LOG_NOTHING_ELSE) for callback in built.values()):
        for name, callback in built.items():
            if isinstance(callback, EarlyStopping) and callback.strict:
                key = f"callbacks.{name}.monitor"
                check_objective(callback.monitor, metrics=config.metrics, key=key)
    return [*built.values()]


def build_callback(node: DictConfig, run: Run) -> Callback:
    """Return the callback of a node; its checkpoints go to the run folder unless told otherwise."""
    told: dict[str, Any] = {}
    if _is_checkpoint(node) and node.get("dirpath") is None:
        told["dirpath"] = str(run.folder / _CHECKPOINTS)
    built = build(node, **told)
    if not isinstance(built, Callback):
        raise ValueError(f"callbacks must hold Lightning's callbacks, got {node._target_}")
    return built


def build_metrics(nodes: DictConfig) -> dict[str, Metric]:
    """Return the user's own metrics by name.

    Raises:
        ValueError: One is no metric of torchmetrics.
    """
    return {str(name): _build_metric(str(name), node) for name, node in nodes.items()}


def _build_metric(name: str, node: Any) -> Metric:
    told = node.get("_target_") if isinstance(node, DictConfig) else node
    built = build(node) if isinstance(node, DictConfig) and told else None
    if not isinstance(built, Metric):
        raise ValueError(f"metrics.{name} must be a torchmetrics.Metric, got {told}")
    return built


def _is_checkpoint(node: DictConfig) -> bool:
    kind = target_of(node)
    return isinstance(kind, type) and issubclass(kind, ModelCheckpoint)
