"""Data sets of images and label maps: cohort, folder, checks, cache, splits, patches."""

from typing import TYPE_CHECKING, Any

from gaborseg.data.anatomy import parse_ids
from gaborseg.data.appearance import LEVELS, NO_HISTOGRAM, Appearance, Histograms, appearance_of
from gaborseg.data.atlas import AtlasCohort
from gaborseg.data.augmentation import Augmentation, use_one_thread
from gaborseg.data.cache import PreparedCase, locked, zscore
from gaborseg.data.cases import (
    BETWEEN_NAMES,
    EMPTY,
    SUBJECT_PREFIX,
    Case,
    Source,
    own_names,
    person_of,
    renamed,
    shared_files,
    told_person,
)
from gaborseg.data.checks import MOST_UNEVEN, check_intensities, fill_cache, whole_numbers
from gaborseg.data.folder import (
    DESCRIPTION,
    MAX_STRUCTURES,
    PARTICIPANTS,
    UNLABELLED,
    case_of,
    is_name,
    participant_table,
    write_volume,
)
from gaborseg.data.parallel import map_in_processes
from gaborseg.data.patches import check_patches, infer_volume
from gaborseg.data.sampling import EpochLoader
from gaborseg.data.splits import PARTS
from gaborseg.data.transforms import RandomAffine, RandomContrast, RandomMirror, has_side

if TYPE_CHECKING:
    from gaborseg.data.segmentation import SegmentationData

__all__ = [
    "BETWEEN_NAMES",
    "DESCRIPTION",
    "EMPTY",
    "LEVELS",
    "MAX_STRUCTURES",
    "MOST_UNEVEN",
    "NO_HISTOGRAM",
    "PARTICIPANTS",
    "PARTS",
    "SUBJECT_PREFIX",
    "UNLABELLED",
    "Appearance",
    "AtlasCohort",
    "Augmentation",
    "Case",
    "EpochLoader",
    "Histograms",
    "PreparedCase",
    "RandomAffine",
    "RandomContrast",
    "RandomMirror",
    "SegmentationData",
    "Source",
    "appearance_of",
    "case_of",
    "check_intensities",
    "check_patches",
    "fill_cache",
    "has_side",
    "infer_volume",
    "is_name",
    "locked",
    "map_in_processes",
    "own_names",
    "parse_ids",
    "participant_table",
    "person_of",
    "renamed",
    "shared_files",
    "told_person",
    "use_one_thread",
    "whole_numbers",
    "write_volume",
    "zscore",
]


def __getattr__(name: str) -> Any:
    if name == "SegmentationData":  # it needs Lightning, which takes seconds to import
        from gaborseg.data.segmentation import SegmentationData

        return SegmentationData
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
