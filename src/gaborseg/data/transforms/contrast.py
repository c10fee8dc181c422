"""Random contrast between structures, so that a network does not rely on one scanner's."""

from collections.abc import Sequence

import torch
import torchio as tio
from torch import Tensor
from torchio.transforms.augmentation import RandomTransform
from torchio.transforms.intensity_transform import IntensityTransform


class RandomContrast(RandomTransform, IntensityTransform):
    """Gives each structure, with a probability, a brightness and a texture drawn at random.

    The intensities v of a structure in a channel, of mean m and standard deviation s, become
    M + S (v - m) / s. Anatomy inside the structure, noise and partial volumes stay, but weaker or
    stronger, and neighbours may be brighter, darker or alike. Voxels of no structure keep their
    intensities. After Billot et al. (SynthSeg, 2023), who draw whole images from label maps.

    Args:
        mean: Smallest and largest M, as fractions of the image's range.
        std: Smallest and largest S, in the same unit.
        probability: How often a sample is changed.

    Raises:
        ValueError: A value is outside its range.

    Example:
        >>> RandomContrast(probability=1).ranges
        ((0.1, 0.9), (0.01, 0.1))
    """

    def __init__(
        self,
        mean: tuple[float, float] = (0.1, 0.9),
        std: tuple[float, float] = (0.01, 0.1),
        probability: float = 0.5,
    ) -> None:
        self.ranges = _range("mean", mean), _range("std", std)
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be in 0..1, got {probability}")
        super().__init__(p=probability)
        self.args_names = ["ranges", "probability"]

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Change the image of a subject, channel by channel."""
        names: Sequence[str] = subject.get("structures", ())  # type: ignore[assignment]
        images = subject.get_images_dict(intensity_only=False)
        label = images["label"].data[0]
        image = images["image"].data
        image = image.to(torch.promote_types(image.dtype, torch.float32))
        changed = [self._changed(one, label, len(names)) for one in image]
        images["image"].set_data(torch.stack(changed))
        return subject

    def _changed(self, channel: Tensor, label: Tensor, structures: int) -> Tensor:
        """A channel (*S) with new means and deviations of the labels 1 to ``structures``."""
        means, deviations = _moments(channel, label, structures)
        low, high = torch.aminmax(channel.double())
        drawn = torch.rand(2, structures, dtype=torch.float64)
        ranges = torch.tensor(self.ranges, dtype=torch.float64)
        drawn = ranges[:, :1] + drawn * (ranges[:, 1:] - ranges[:, :1])
        new_means, new_deviations = low + drawn[0] * (high - low), drawn[1] * (high - low)
        flat = deviations <= torch.finfo(channel.dtype).eps * (high - low)
        gains = torch.where(flat, 0, new_deviations / torch.where(flat, 1, deviations))
        unchanged = torch.tensor([0.0, 1.0], dtype=torch.float64)
        offsets = torch.cat([unchanged[:1], new_means - gains * means, unchanged[:1]])
        gains = torch.cat([unchanged[1:], gains, unchanged[1:]])
        place = label.long().clamp(max=structures + 1)  # what is beyond has no structure's name
        return (offsets[place] + gains[place] * channel).to(channel.dtype)


def _range(name: str, value: object) -> tuple[float, float]:
    """The smallest and the largest of a range in 0..1."""
    values = tuple(value) if isinstance(value, list | tuple) else ()
    if len(values) != 2 or not all(isinstance(one, int | float) for one in values):
        raise ValueError(f"{name} must be two numbers, the smaller first, got {value}")
    if not 0 <= values[0] <= values[1] <= 1:
        raise ValueError(f"{name} must be increasing and in 0..1, got {values}")
    return values


def _moments(channel: Tensor, label: Tensor, structures: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a channel (*S) in each of the labels; 0 where there is none.

    Returns:
        Two float64 tensors of the labels 1 to ``structures``.
    """
    place = label.flatten().long().clamp(max=structures + 1)
    values = channel.flatten().double()
    counts = torch.bincount(place, minlength=structures + 2).clamp(min=1)
    means = torch.bincount(place, values, structures + 2) / counts
    squares = torch.bincount(place, (values - means[place]).square(), structures + 2) / counts
    return means[1:-1], squares.sqrt()[1:-1]
