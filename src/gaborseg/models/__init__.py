"""Trained models: checkpoints and exported files, read without running anybody's code."""

from gaborseg.models.description import ModelError
from gaborseg.models.export import export_model
from gaborseg.models.exported import load_exported
from gaborseg.models.loading import TrainedModel, build_network, choose_device, load_trained
from gaborseg.models.model import Facts, Model, check_logits, facts_of
from gaborseg.models.transfer import Transfer, take_over

__all__ = [
    "Facts",
    "Model",
    "ModelError",
    "TrainedModel",
    "Transfer",
    "build_network",
    "check_logits",
    "choose_device",
    "export_model",
    "facts_of",
    "load_exported",
    "load_trained",
    "take_over",
]
