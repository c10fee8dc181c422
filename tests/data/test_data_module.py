"""The data module with Lightning's own Trainer, and without any callback of ours."""

import io
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DistributedSampler

from config import PROJECT
from gaborseg import PCCLoss, SegmentationModule
from gaborseg.data import RandomAffine, SegmentationData
from tiny_cohort import SHAPE

Build = Callable[..., SegmentationData]


class Recorded(SegmentationModule):
    """Keeps a sum of every training image, epoch by epoch."""

    def __init__(self) -> None:
        super().__init__(nn.Conv3d(1, 3, 3, padding=1), PCCLoss(), structures=("inner", "outer"))
        self.seen: list[dict[int, float]] = []

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        if batch_idx == 0:
            self.seen.append({})
        self.seen[-1][int(batch["index"])] = float(batch["image"].square().sum())
        return super().training_step(batch, batch_idx)


def trainer(epochs: int, folder: Path) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


@pytest.fixture
def data(cohort: Path, tmp_path: Path) -> SegmentationData:
    """Data that nothing has been prepared of."""
    return SegmentationData.from_folder(
        cohort, tmp_path / "cache", augmentation=RandomAffine(), num_workers=0
    )


@pytest.mark.filterwarnings("error:You have overridden")
def test_a_plain_trainer_prepares_the_data_and_sees_each_epoch(
    data: SegmentationData, tmp_path: Path
) -> None:
    module = Recorded()
    trainer(2, tmp_path).fit(module, datamodule=data)
    for epoch, seen in enumerate(module.seen):
        for index, total in seen.items():
            sample = data.sample(data.subjects[index], epoch)
            assert float(sample["image"].square().sum()) == total
    first, second = module.seen
    assert first.keys() == second.keys() == {data.subjects.index(s) for s in data.split.train}
    assert first != second


def test_a_plain_trainer_moves_the_samples_that_are_left_to_it(
    tiny_data: Build, tmp_path: Path
) -> None:
    seen = []
    for on in ("cpu", "gpu"):
        data = tiny_data(augmentation=RandomAffine(), augment_on=on, num_workers=0)
        module = Recorded()
        trainer(2, tmp_path).fit(module, datamodule=data)
        seen.append(module.seen)
    for at_once, later in zip(*seen, strict=True):
        assert later == pytest.approx(at_once, rel=1e-5)


def test_a_plain_trainer_tests_and_predicts_every_test_subject_once(
    data: SegmentationData, tmp_path: Path
) -> None:
    module, alone = Recorded(), trainer(1, tmp_path)
    (logged,) = alone.test(module, datamodule=data, verbose=False)
    assert [data.subjects[index] for index in module.test_scores.subjects] == [*data.split.test]
    assert logged["test/dice"] == pytest.approx(module.test_scores.dice.mean().item(), abs=1e-6)
    labels = alone.predict(module, datamodule=data)
    assert [tuple(volume.shape) for volume in labels] == [(1, *SHAPE)] * len(data.split.test)


def test_lightning_does_not_share_out_what_is_shared_out_already(tiny_data: Build) -> None:
    loaders = (tiny_data().train_dataloader(), tiny_data().val_dataloader())
    assert all(isinstance(loader.sampler, DistributedSampler) for loader in loaders)


def test_labels_that_came_as_bytes_are_int64_for_the_losses(data: SegmentationData) -> None:
    labels = torch.arange(256, dtype=torch.uint8)
    batch = data.on_after_batch_transfer({"image": labels / 2, "label": labels}, 0)
    torch.testing.assert_close(batch["label"], torch.arange(256))
    torch.testing.assert_close(batch["image"], labels / 2)


def test_setup_prepares_once(data: SegmentationData) -> None:
    data.prepare_data()
    data.setup("fit")
    prepared = data.prepared
    data.setup("test")
    assert data.prepared is prepared


def test_the_data_say_what_is_in_them(data: SegmentationData) -> None:
    assert repr(data) == "SegmentationData(Folder, split 0): not prepared"
    data.prepare()
    assert str(data).splitlines() == [
        "SegmentationData(tiny, split 0)",
        "  subjects: 6 (4 train, 1 validation, 1 test)",
        "  images: T1w, 8 x 8 x 8 voxels of 2 x 2 x 2 mm",
        "  structures: 2 (inner, outer)",
        "  augmentation: RandomAffine(probability=0.8, degrees=30.0, scale=(0.8, 1.2), shift=0.2)",
        "  patches: None, batch size 1, seed 0",
    ]


def test_a_sample_without_an_epoch_is_the_subject_itself(data: SegmentationData) -> None:
    data.prepare()
    sample = data.sample("sub-02")
    assert torch.equal(sample["image"][0], torch.tensor(data.prepared.cases[1].read("image"))[0])
    assert int(sample["index"]) == 1


def test_an_augmentation_that_cannot_be_is_refused_before_training(tiny_data: Build) -> None:
    with pytest.raises(ValueError, match="augmentation cannot be applied to a sample: "):
        tiny_data(augmentation=lambda subject: subject["t2"])


@pytest.mark.slow
def test_the_page_on_the_library_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (PROJECT / "docs" / "library.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(code.splitlines()) <= 15
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    with redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    told = printed.getvalue()
    (block,) = re.findall(r"```\n(SegmentationData.*?)```", page, re.DOTALL)
    for line in block.splitlines():
        assert line.removesuffix("(...)") in told
    assert names["module"].test_scores.dice.shape == (1, 19)
    assert list(tmp_path.iterdir()) == []
