"""One run, from its data to its test; start with run.py."""

from gaborseg.experiment.run import train

__all__ = ["train"]
