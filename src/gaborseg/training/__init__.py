"""The Lightning module of a training, its callbacks, checkpoints, schedules and trackers."""

from gaborseg.training.averaging import EpochAveraging
from gaborseg.training.callbacks import (
    DeadStructures,
    EpochLine,
    EpochRow,
    FitDecision,
    PauseAfter,
    ProgressBar,
    SeedEpochs,
    StayStopped,
    StopAtNaN,
)
from gaborseg.training.checkpoints import (
    AtomicCheckpointIO,
    checkpoint_to_resume,
    checkpoints,
    read_best,
)
from gaborseg.training.compilation import network_compiler
from gaborseg.training.cost import Cost
from gaborseg.training.csv_logger import CsvLogger
from gaborseg.training.early_end import early_end
from gaborseg.training.graphs import GraphedNetwork
from gaborseg.training.mlflow_logger import mlflow_logger
from gaborseg.training.model_card import write_model_card
from gaborseg.training.module import SegmentationModule
from gaborseg.training.schedules import constant, cosine, one_cycle
from gaborseg.training.testing import TestReport, write_label_map
from gaborseg.training.wandb_logger import (
    MODES,
    chosen_mode,
    finish,
    has_key,
    log_result,
    start_run,
    use_epoch_as_axis,
    wandb_logger,
)

__all__ = [
    "MODES",
    "AtomicCheckpointIO",
    "Cost",
    "CsvLogger",
    "DeadStructures",
    "EpochAveraging",
    "EpochLine",
    "EpochRow",
    "FitDecision",
    "GraphedNetwork",
    "PauseAfter",
    "ProgressBar",
    "SeedEpochs",
    "SegmentationModule",
    "StayStopped",
    "StopAtNaN",
    "TestReport",
    "checkpoint_to_resume",
    "checkpoints",
    "chosen_mode",
    "constant",
    "cosine",
    "early_end",
    "finish",
    "has_key",
    "log_result",
    "mlflow_logger",
    "network_compiler",
    "one_cycle",
    "read_best",
    "start_run",
    "use_epoch_as_axis",
    "wandb_logger",
    "write_label_map",
    "write_model_card",
]
