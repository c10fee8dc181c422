"""Scores of a finished run, or of two folders of label maps."""

from gaborseg.evaluation.scoring import evaluate

__all__ = ["evaluate"]
