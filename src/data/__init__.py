"""Data sets of images and label maps: cohort, folder, checks, cache, splits, augmentation."""

from src.data.appearance import Appearance, appearance_of
from src.data.atlas import AtlasCohort
from src.data.augmentation import AffineDraw, RandomAffine, apply_affine
from src.data.cases import Case, DataError, Dataset, Source
from src.data.folder import Folder
from src.data.sampling import EpochSampler
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
    "RandomAffine",
    "SegmentationData",
    "Source",
    "Split",
    "VolumeDataset",
    "appearance_of",
    "apply_affine",
    "read_split",
    "shuffled_split",
]
