"""Cases ready for training: checked, prepared, split, augmented and batched."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from gaborseg.data.augmentation import Transform, try_augmentation
from gaborseg.data.cache import PreparedCase
from gaborseg.data.cases import EMPTY, Dataset, Source, rescanned
from gaborseg.data.checks import (
    check_common_shape,
    check_ignored_label,
    check_parts,
    check_unlabelled,
    check_whole,
    fill_cache,
    note_uneven_voxels,
)
from gaborseg.data.folder import Roots, in_folders
from gaborseg.data.patches import RandomPatches, check_patches
from gaborseg.data.sampling import (
    DEVICES,
    EpochLoader,
    EpochSampler,
    PostponedVolumes,
    VolumeDataset,
    begin_worker,
    one_batch,
    postponed,
    read_sample,
)
from gaborseg.data.splits import PARTS, Split, read_split, shuffled_split
from gaborseg.gpu import resampled
from gaborseg.machine import check_open_files
from gaborseg.scans import DataError, voxel_sides


@dataclass(frozen=True)
class _Prepared:
    """A data set that passed every check, its split, and its arrays in the cache."""

    dataset: Dataset
    split: Split
    cases: tuple[PreparedCase, ...]


class SegmentationData(pl.LightningDataModule):
    """A data set, one of its splits, and loaders of batches, as a Lightning data module.

    ``Trainer.fit(module, datamodule=data)`` checks and prepares the data by itself;
    ``data.prepare()`` does so beforehand, to learn what is in them. A sample depends on the seed,
    the epoch and the subject alone, whatever the number of workers or processes.

    Args:
        source: Where the cases come from.
        augmentation: Transform of the training samples, called with a ``torchio.Subject`` of
            ``image``, ``label`` and ``structures``: any of TorchIO's, or ``Augmentation``; None:
            samples stay as they are.
        split: Which of the five shuffled splits, 0..4.
        split_file: JSON with the subjects of train, validation and test, instead of ``split``.
        batch_size: Training cases per step and process; validation and test take one at a time.
        patch_size: Voxels a side of the patches to train on, and in which validation and test cases
            are segmented; None: whole volumes.
        patches_per_volume: Patches that each training case gives at a time.
        patch_sampler: ``uniform`` or ``label``: where they are drawn.
        ignore: Label of voxels that nobody has labelled, such as 255: they are in no loss, score or
            fit. None: every voxel has one of the labels 0..n.
        num_workers: Loading processes beside the training one; changes speed alone.
        seed: Seed of the order, the augmentation and the patches of training cases.
        augment_on: ``cpu``: the loading processes do all of the augmentation. ``gpu``: they only
            draw its affine transform, which must be the last one; it is done on the device that
            trains, with the same result to rounding.

    Raises:
        ValueError: ``batch_size`` is below 1 or ``num_workers`` negative, patches cannot be so, or
            the augmentation cannot be done on a GPU.

    Example:
        >>> SegmentationData.from_folder("prepared", split=1)
        SegmentationData(Folder, split 1): not prepared
    """

    def __init__(
        self,
        source: Source,
        augmentation: Transform | None = None,
        split: int = 0,
        split_file: str | Path | None = None,
        batch_size: int = 1,
        num_workers: int = 2,
        seed: int = 0,
        patch_size: int | None = None,
        patches_per_volume: int = 1,
        patch_sampler: str = "uniform",
        ignore: int | None = None,
        augment_on: str = "cpu",
    ) -> None:
        super().__init__()
        check_whole("batch_size", batch_size, least=1)
        check_whole("num_workers", num_workers)
        check_whole("seed", seed)
        if augment_on not in DEVICES:
            raise ValueError(f"augment_on must be {' or '.join(DEVICES)}, got {augment_on!r}")
        self._postponed = postponed(augmentation) if augment_on == "gpu" else None
        self.augment_on = augment_on
        self.source = source
        self.augmentation = augmentation
        self.split_index = split
        self.split_file = split_file
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.ignore = ignore
        self.patches = (
            None
            if patch_size is None
            else RandomPatches(patch_size, patches_per_volume, patch_sampler, ignore)
        )
        self._prepared: _Prepared | None = None

    @classmethod
    def from_folder(
        cls, root: Roots, cache: str | Path | None = None, **options: Any
    ) -> "SegmentationData":
        """The data in a folder, or in several; further arguments as for the class."""
        return cls(in_folders(root, cache), **options)

    def prepare(self) -> None:
        """Build or find the data set, check every case, fill the cache, choose the split.

        What was checked and prepared before is not opened again. Several processes may call this
        at once.

        Raises:
            DataError: The data set, one of its cases, or the split cannot be used.
            ValueError: The patches are too small for its volumes, the augmentation fails on a
                training case, or ``ignore`` is the label of a structure.
            OSError: This process may open too few files to have loading processes.
        """
        if self.num_workers:
            check_open_files()
        dataset = self.source.dataset()
        check_ignored_label(self.ignore, len(dataset.structures))
        split = self._choose_split(dataset)
        cases = fill_cache(self.source.cache, dataset, self.ignore)
        check_common_shape(dataset, cases)
        check_patches(self.patch_size, cases[0].read("label").shape)
        check_parts(dataset, split, cases)
        check_unlabelled(dataset, split, cases)
        note_uneven_voxels(dataset, cases)
        if self.augmentation is not None:
            first = cases[dataset.subjects.index(split.train[0])]
            try_augmentation(self.augmentation, *read_sample(first), dataset.structures)
        self._prepared = _Prepared(dataset, split, cases)

    def prepare_data(self) -> None:
        """Build or find the data set and fill the cache; Lightning calls it once on a machine."""
        if self._prepared is None:
            fill_cache(self.source.cache, self.source.dataset(), self.ignore)

    def setup(self, stage: str | None = None) -> None:
        """Prepare in this process, unless that is done; Lightning calls it before every stage."""
        if self._prepared is None:
            self.prepare()

    def _choose_split(self, dataset: Dataset) -> Split:
        if self.split_file is not None:
            return read_split(self.split_file, dataset.subjects, dataset.participants)
        people = dataset.participants
        try:
            return shuffled_split(
                dataset.subjects,
                self.split_index,
                participants=people,
                empty=dataset.info.get(EMPTY, ()),
            )
        except DataError as error:
            raise DataError(f"{dataset.root}: {error}") from error

    @property
    def prepared(self) -> _Prepared:
        """What ``prepare()`` has found.

        Raises:
            RuntimeError: It has not been called.
        """
        if self._prepared is None:
            raise RuntimeError("prepare() must be called before the data can be used")
        return self._prepared

    @property
    def dataset(self) -> Dataset:
        """The data set: its name, files, structures and channels."""
        return self.prepared.dataset

    @property
    def split(self) -> Split:
        """The subjects of each part."""
        return self.prepared.split

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subject ids in the data set's order; ``batch["index"]`` counts in it."""
        return self.dataset.subjects

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the labels 1..n."""
        return self.dataset.structures

    @property
    def num_classes(self) -> int:
        """Number of structures, and the background."""
        return len(self.structures) + 1

    @property
    def in_channels(self) -> int:
        """Number of images per case."""
        return len(self.dataset.channels)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Voxels along each axis, the same in all cases."""
        return self.prepared.cases[0].read("label").shape

    @property
    def training_shape(self) -> tuple[int, ...]:
        """Voxels along each axis of what is trained on: of the patches, else of whole volumes."""
        return self.spatial_shape if self.patches is None else (self.patches.patch_size,) * 3

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres from voxel to voxel along each axis, in the first case."""
        return tuple(voxel_sides(self.prepared.cases[0].read("affine")).tolist())

    @property
    def patch_size(self) -> int | None:
        """Voxels a side of the patches that a network sees at a time; None: whole volumes."""
        return None if self.patches is None else self.patches.patch_size

    def loader(self, part: str) -> EpochLoader:
        """Batches of ``train``, ``validation`` or ``test``.

        Each is a dict: image (B, C, *S) float32, label (B, *S) uint8, index (B,) int64. Of patches,
        B is the batch size times the patches of a volume, and *S their size. If nobody has looked
        for some structures in some scans: also unlabelled (B, n + 1) bool, their labels. With
        ``augment_on="gpu"``, ``on_after_batch_transfer`` makes that of a training batch.

        Raises:
            ValueError: There is no such part.
        """
        training = part == "train"
        positions = [self.subjects.index(subject) for subject in self.split.part(part)]
        return EpochLoader(
            self._training_samples() if training else self._samples(),
            batch_size=self.batch_size if training else 1,
            sampler=EpochSampler(positions, training=training, seed=self.seed),
            collate_fn=one_batch if training and (self.patches or self._postponed) else None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=begin_worker,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # so that loading leaves torch's global one alone
        )

    def train_dataloader(self) -> EpochLoader:
        """Batches of the training subjects, as ``loader("train")``."""
        return self.loader("train")

    def val_dataloader(self) -> EpochLoader:
        """Batches of the validation subjects, as ``loader("validation")``."""
        return self.loader("validation")

    def test_dataloader(self) -> EpochLoader:
        """Batches of the test subjects, as ``loader("test")``."""
        return self.loader("test")

    def predict_dataloader(self) -> EpochLoader:
        """Batches of the test subjects, as ``loader("test")``."""
        return self.loader("test")

    def on_after_batch_transfer(
        self, batch: dict[str, Tensor], dataloader_idx: int
    ) -> dict[str, Tensor]:
        """The batch with int64 labels, made on the device: they come as bytes.

        If the affine transform is done there, it is done first.
        """
        if "resampling" in batch:
            batch = resampled(batch)
        return {**batch, "label": batch["label"].long()}

    def sample(self, subject: str, epoch: int | None = None) -> dict[str, Any]:
        """A subject as it is trained on in an epoch, before patches are cut; None: as it is.

        A dict: image (C, *S) float32, label (*S) uint8, index () int64.

        Raises:
            ValueError: There is no such subject.
        """
        samples = self._samples(None if epoch is None else self.augmentation)
        return samples[epoch or 0, self.subjects.index(subject)]

    def _training_samples(self) -> VolumeDataset:
        if self._postponed is None:
            return self._samples(self.augmentation, self.patches)
        return self._samples(self._postponed, self.patches, PostponedVolumes)

    def _samples(
        self,
        augmentation: Transform | None = None,
        patches: RandomPatches | None = None,
        kind: type[VolumeDataset] = VolumeDataset,
    ) -> VolumeDataset:
        known = (self.subjects, self.prepared.cases, self.structures)
        return kind(*known, augmentation, self.seed, patches, self.dataset.unlabelled)

    def __repr__(self) -> str:
        """What is in the data, as far as they are prepared."""
        name = type(self).__name__
        if self._prepared is None:
            source = type(self.source).__name__
            return f"{name}({source}, split {self.split_index}): not prepared"
        parts = ", ".join(f"{len(self.split.part(part))} {part}" for part in PARTS)
        size = " x ".join(map(str, self.spatial_shape))
        sides = " x ".join(f"{side:.3g}" for side in self.spacing)
        return "\n".join(
            [
                f"{name}({self.dataset.name}, split {self.split_index})",
                f"  subjects: {len(self.subjects)} ({parts})",
                f"  images: {', '.join(self.dataset.channels)}, {size} voxels of {sides} mm",
                f"  structures: {len(self.structures)} ({', '.join(self.structures)})",
                f"  augmentation: {self.augmentation}",
                f"  patches: {self.patch_size}, batch size {self.batch_size}, seed {self.seed}",
            ]
        )

    __str__ = __repr__

    def describe(self) -> dict[str, Any]:
        """What a run's folder should say about its data, ready for JSON."""
        told = ("credit", "licence", "versions", "seed", "preparation")
        return {
            "name": self.dataset.name,
            "root": str(self.dataset.root),
            **({"roots": prefixes} if (prefixes := self.dataset.prefixes) else {}),
            "num_subjects": len(self.subjects),
            "structures": list(self.structures),
            "channels": list(self.dataset.channels),
            "size": list(self.spatial_shape),
            "spacing": list(self.spacing),
            "patch_size": self.patch_size,
            **{key: self.dataset.info.get(key) for key in told},
            "split": {part: list(self.split.part(part)) for part in PARTS},
            **({"participants": people} if (people := rescanned(self.dataset)) else {}),
        }
