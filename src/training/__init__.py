from src.training.callbacks import (
    EpochLine,
    EpochRow,
    FitDecision,
    ProgressBar,
    SeedEpochs,
    StopAtNaN,
)
from src.training.checkpoints import AtomicCheckpointIO, checkpoint_to_resume, checkpoints
from src.training.cost import Cost
from src.training.csv_logger import CsvLogger
from src.training.decision import Argmax, Calibrated
from src.training.model_card import write_model_card
from src.training.module import SegmentationModule
from src.training.results import (
    Means,
    Score,
    overall_means,
    read_scores,
    score_rows,
    scores_table,
    subject_means,
    write_scores,
)
from src.training.schedules import constant, cosine, one_cycle
from src.training.testing import TestReport, write_label_map
from src.training.wandb_logger import finish, use_epoch_as_axis, wandb_logger

__all__ = [
    "Argmax",
    "AtomicCheckpointIO",
    "Calibrated",
    "Cost",
    "CsvLogger",
    "EpochLine",
    "EpochRow",
    "FitDecision",
    "Means",
    "ProgressBar",
    "Score",
    "SeedEpochs",
    "SegmentationModule",
    "StopAtNaN",
    "TestReport",
    "checkpoint_to_resume",
    "checkpoints",
    "constant",
    "cosine",
    "finish",
    "one_cycle",
    "overall_means",
    "read_scores",
    "score_rows",
    "scores_table",
    "subject_means",
    "use_epoch_as_axis",
    "wandb_logger",
    "write_label_map",
    "write_model_card",
    "write_scores",
]
