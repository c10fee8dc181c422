"""From a user's scans to a data set that can be trained on: find, inspect, write."""

from gaborseg.preparation.mapping import LabelMapping, read_mapping
from gaborseg.preparation.prepare import prepare_scans

__all__ = ["LabelMapping", "prepare_scans", "read_mapping"]
