"""From a user's scans to a data set that can be trained on: find, inspect, write."""

from src.data.preparation.contact_sheet import contact_sheets
from src.data.preparation.discovery import Found
from src.data.preparation.inspection import Inspection
from src.data.preparation.mapping import LabelMapping, read_mapping
from src.data.preparation.problems import Problem
from src.data.preparation.recipe import Recipe, check_choices, check_output
from src.data.preparation.survey import Survey, discover, inspect_all, take_stock
from src.data.preparation.writing import (
    lost_structures,
    write_description,
    write_problems,
    write_subjects,
)

__all__ = [
    "Found",
    "Inspection",
    "LabelMapping",
    "Problem",
    "Recipe",
    "Survey",
    "check_choices",
    "check_output",
    "contact_sheets",
    "discover",
    "inspect_all",
    "lost_structures",
    "read_mapping",
    "take_stock",
    "write_description",
    "write_problems",
    "write_subjects",
]
