"""Scores of every structure of a case, from two label maps: Dice, and surface distances."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.segmentation import DiceScore

from gaborseg.benchmarks.options import Benchmark
from gaborseg.benchmarks.report import Cell, Table
from gaborseg.benchmarks.timing import interleave
from gaborseg.metrics import confusion_counts, dice_from_counts, surface_scores

_NUM_CLASSES = 20
BLOCK = 8
"""Side of the cubes of one label, in voxels: neighbours mostly agree, as in a brain."""

_SPACING = (0.7, 1.1, 2.3)
_TOLERANCE = 1.3
_COARSE = 9
"""Side of the noise that makes blobs of labels, in voxels."""
_RADIUS, _WARP = 0.8, 0.05
"""Of the ball, and standard deviation of the displacements: halves of the volume's side."""

Score = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class MetricsBenchmark(Benchmark):
    """Dice of a case; HD95 and NSD of its structures.

    Attributes:
        size: Side of the label maps, in voxels, a multiple of 8.

    Raises:
        ValueError: An option is out of range.
    """

    size: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < BLOCK or self.size % BLOCK:
            raise ValueError(f"size must be a multiple of {BLOCK}, got {self.size}")

    def tables(self) -> list[Table]:
        """Time every way to the scores."""
        return [
            self.dice(),
            *(
                _surface_table(name, *maps, self.repeats)
                for name, maps in _surface_cases(self.size)
            ),
        ]

    def dice(self) -> Table:
        """Time every way to Dice on one pair of label maps."""
        maps = label_maps(self.size)
        timings = interleave(
            {name: partial(score, *maps) for name, score in scores().items()}, self.repeats
        )
        rows: list[dict[str, Cell]] = [
            {
                "Dice": name,
                "time [ms]": timing.spread.scaled(1e3),
                "time / this": timing.ratio(timings["this"]),
            }
            for name, timing in timings.items()
        ]
        return Table(f"Dice of {_NUM_CLASSES} labels in a case of {self.size}³", rows)


def label_maps(size: int) -> tuple[Tensor, Tensor]:
    """A prediction and a truth, (1, *S): random cubes, moved by a voxel in the prediction."""
    target = torch.randint(_NUM_CLASSES, (1, *(size // BLOCK,) * 3))
    for axis in (1, 2, 3):
        target = target.repeat_interleave(BLOCK, dim=axis)
    return target.roll(1, dims=1), target


def scores() -> dict[str, Score]:
    """Ways to the Dice of each label, (1, C), by name; MONAI's if it is installed."""
    return {
        "this": _dice_of_counts,
        "torchmetrics' DiceScore": _torchmetrics_dice,
        **({"MONAI's DiceMetric": _monai_dice} if find_spec("monai") else {}),
        "this, again": _dice_of_counts,
    }


def _dice_of_counts(prediction: Tensor, target: Tensor) -> Tensor:
    """Dice from one count of voxels."""
    return dice_from_counts(confusion_counts(prediction, target, _NUM_CLASSES))


def _torchmetrics_dice(prediction: Tensor, target: Tensor) -> Tensor:
    """Dice by torchmetrics."""
    metric = DiceScore(_NUM_CLASSES, average="none", input_format="index")
    return metric(prediction, target).view(1, -1)


def _monai_dice(prediction: Tensor, target: Tensor) -> Tensor:
    """Dice by MONAI."""
    from monai.metrics import DiceMetric

    metric = DiceMetric(reduction="none", num_classes=_NUM_CLASSES)
    return torch.as_tensor(metric(prediction.unsqueeze(1), target.unsqueeze(1)))


def _surface_cases(size: int) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """Pairs of label maps (*S): a ball of blobs against itself, moved by a voxel, and warped."""
    identity = F.affine_grid(torch.eye(3, 4)[None], [1, 1, *(size,) * 3], align_corners=False)
    parts = smooth_noise(_NUM_CLASSES, size).argmax(1, keepdim=True)
    truth = torch.where(identity.norm(dim=-1) < _RADIUS, parts, 0)
    yield "moved by a voxel", (truth[0, 0].roll(1, dims=0), truth[0, 0])
    grid = identity + _WARP * smooth_noise(3, size).movedim(1, -1)
    warped = F.grid_sample(truth.double(), grid.double(), mode="nearest", align_corners=False)
    yield "warped as another person's", (warped[0, 0].long(), truth[0, 0])


def smooth_noise(channels: int, size: int) -> Tensor:
    """Noise of blobs, (1, channels, *S)."""
    coarse = torch.randn(1, channels, *(_COARSE,) * 3)
    return F.interpolate(coarse, (size,) * 3, mode="trilinear")


def _surface_table(name: str, prediction: Tensor, truth: Tensor, repeats: int) -> Table:
    """HD95 and NSD of all structures, and how far they are from MONAI's, if it is installed."""
    maps = (prediction, truth)
    ways = {"this": _this_surface, **({"MONAI": _monai_surface} if find_spec("monai") else {})}
    scores = {way: function(*maps) for way, function in ways.items()}
    candidates = {way: partial(function, *maps) for way, function in ways.items()}
    timings = interleave({**candidates, "this, again": candidates["this"]}, repeats)
    rows: list[dict[str, Cell]] = [
        {
            "HD95 and NSD": way,
            "time [s]": timing.spread,
            "time / this": timing.ratio(timings["this"]),
            "largest difference": float((scores[way] - scores["this"]).abs().max())
            if way in scores
            else None,
        }
        for way, timing in timings.items()
    ]
    count, side = _NUM_CLASSES - 1, truth.shape[-1]
    return Table(f"HD95 and NSD of {count} structures at {side}³, prediction {name}", rows)


def _this_surface(prediction: Tensor, truth: Tensor) -> Tensor:
    """HD95 and NSD of each structure, (2, C - 1)."""
    found = surface_scores(
        prediction, truth, _NUM_CLASSES - 1, spacing=_SPACING, tolerance=_TOLERANCE
    )
    return torch.stack([found.hd95, found.nsd]).double()


def _monai_surface(prediction: Tensor, truth: Tensor) -> Tensor:
    """HD95 and NSD of each structure by MONAI, (2, C - 1)."""
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    ours, theirs = (F.one_hot(m, _NUM_CLASSES).movedim(-1, 0)[None] for m in (prediction, truth))
    hd95 = compute_hausdorff_distance(ours, theirs, percentile=95, spacing=_SPACING)[0]
    tolerances = [_TOLERANCE] * (_NUM_CLASSES - 1)
    nsd = compute_surface_dice(ours, theirs, tolerances, spacing=_SPACING)[0]
    return torch.stack([hd95.double(), nsd.double()])
