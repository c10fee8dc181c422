from src.training.callbacks import (
    EpochLine,
    FitDecision,
    ProgressBar,
    SeedEpochs,
    StopAtNaN,
    TestReport,
)
from src.training.checkpoints import AtomicCheckpointIO, checkpoints
from src.training.csv_logger import CsvLogger
from src.training.decision import Argmax, Calibrated
from src.training.module import SegmentationModule
from src.training.results import read_scores, scores_table, subject_means
from src.training.run_folder import Run, software_versions
from src.training.schedules import constant, cosine, one_cycle
from src.training.wandb_logger import finish, use_epoch_as_axis, wandb_logger

__all__ = [
    "Argmax",
    "AtomicCheckpointIO",
    "Calibrated",
    "CsvLogger",
    "EpochLine",
    "FitDecision",
    "ProgressBar",
    "Run",
    "SeedEpochs",
    "SegmentationModule",
    "StopAtNaN",
    "TestReport",
    "checkpoints",
    "constant",
    "cosine",
    "finish",
    "one_cycle",
    "read_scores",
    "scores_table",
    "software_versions",
    "subject_means",
    "use_epoch_as_axis",
    "wandb_logger",
]
