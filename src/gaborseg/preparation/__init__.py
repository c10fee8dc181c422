"""From a user's scans to a data set that can be trained on: find, inspect, write."""

from gaborseg.preparation.mapping import LabelMapping, read_mapping
from gaborseg.preparation.patterns import Pattern
from gaborseg.preparation.prepare import prepare_scans
from gaborseg.preparation.survey import files_by_pattern

__all__ = ["LabelMapping", "Pattern", "files_by_pattern", "prepare_scans", "read_mapping"]
