"""Data sets of images and label maps: cohort, folder, checks, geometry, cache, splits, patches."""

from src.data.appearance import Appearance, appearance_of
from src.data.atlas import AtlasCohort
from src.data.augmentation import AffineDraw, RandomAffine, apply_affine
from src.data.cases import Case, DataError, Dataset, Source
from src.data.folder import Folder
from src.data.geometry import (
    PreparedGrid,
    labels_to_native,
    labels_to_prepared,
    to_native,
    to_prepared,
)
from src.data.patches import RandomPatches, in_patches
from src.data.sampling import EpochSampler
from src.data.scans import Scan, ScanError, read_scan
from src.data.segmentation import EpochLoader, SegmentationData, VolumeDataset
from src.data.splits import Split, read_split, shuffled_split

__all__ = [
    "AffineDraw",
    "Appearance",
    "AtlasCohort",
    "Case",
    "DataError",
    "Dataset",
    "EpochLoader",
    "EpochSampler",
    "Folder",
    "PreparedGrid",
    "RandomAffine",
    "RandomPatches",
    "Scan",
    "ScanError",
    "SegmentationData",
    "Source",
    "Split",
    "VolumeDataset",
    "appearance_of",
    "apply_affine",
    "in_patches",
    "labels_to_native",
    "labels_to_prepared",
    "read_scan",
    "read_split",
    "shuffled_split",
    "to_native",
    "to_prepared",
]
