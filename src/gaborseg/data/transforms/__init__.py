"""Random changes of a sample that TorchIO does not have, or has otherwise."""

from gaborseg.data.transforms.affine import AffineDraw, RandomAffine, apply_affine, voxel_map
from gaborseg.data.transforms.contrast import RandomContrast
from gaborseg.data.transforms.mirror import RandomMirror, has_side

__all__ = [
    "AffineDraw",
    "RandomAffine",
    "RandomContrast",
    "RandomMirror",
    "apply_affine",
    "has_side",
    "voxel_map",
]
