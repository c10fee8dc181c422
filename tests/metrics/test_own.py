"""Metrics of the user's own, on label maps."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex
from torchmetrics.segmentation import DiceScore, MeanIoU

from gaborseg.metrics import OwnMetrics
from own_metrics import Found, Pair

IGNORE = 255


def maps(count: int = 3) -> tuple[Tensor, Tensor]:
    """Predictions and truths of 0, 1 and 2."""
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.randint(3, (2, count, 4, 5, 6), generator=generator)
    return prediction, target


def accuracy() -> Metric:
    return MulticlassAccuracy(3, average="micro")


def test_a_metric_gets_the_voxels_of_all_subjects_until_it_is_asked() -> None:
    own = OwnMetrics({"hits": accuracy()})
    prediction, target = maps()
    own.update(prediction[:1], target[:1])
    own.update(prediction[1:], target[1:])
    hits = (prediction == target).float().mean()
    torch.testing.assert_close(own.compute(), {"hits": hits})
    own.update(target, target)
    assert own.compute()["hits"] == 1


def test_ignored_voxels_are_in_no_metric() -> None:
    prediction, target = maps()
    target[:, :2] = IGNORE
    target[2] = IGNORE  # a subject without any other
    own = OwnMetrics({"iou": MulticlassJaccardIndex(3), "hits": accuracy()}, IGNORE)
    own.update(prediction, target)
    found, truth = prediction[:2, 2:], target[:2, 2:]
    each = [
        ((found == k) & (truth == k)).sum() / ((found == k) | (truth == k)).sum() for k in range(3)
    ]
    values = own.compute()
    torch.testing.assert_close(values["iou"], torch.stack(each).mean())
    torch.testing.assert_close(values["hits"], (found == truth).float().mean())


def test_a_structure_that_nobody_looked_for_is_in_neither_map() -> None:
    prediction, target = maps(1)
    target[target == 2] = 0
    own = OwnMetrics({"hits": accuracy()})
    own.update(prediction, target, torch.tensor([[False, False, True]]))
    seen = prediction.masked_fill(prediction == 2, 0)
    torch.testing.assert_close(own.compute()["hits"], (seen == target).float().mean())


def test_a_metric_gets_whole_label_maps_of_integers() -> None:
    seen: list[Tensor] = []

    class Looking(Found):
        def update(self, prediction: Tensor, target: Tensor) -> None:
            seen.extend((prediction, target))

    prediction, target = maps(2)
    OwnMetrics({"looks": Looking()}).update(prediction.byte(), target.byte())
    assert [(value.shape, value.dtype) for value in seen] == [((1, 4, 5, 6), torch.int64)] * 4


@pytest.mark.parametrize("kind", [MeanIoU, DiceScore])
def test_a_metric_that_would_take_slices_for_labels_is_refused(kind: type[Metric]) -> None:
    own = OwnMetrics({"iou": kind(3)})
    with pytest.raises(ValueError, match=r"^metrics.iou.input_format must be index, .* one-hot$"):
        own.try_out((3, 4, 5), num_classes=3)
    OwnMetrics({"iou": kind(3, input_format="index")}).try_out((3, 4, 5), num_classes=3)


@pytest.mark.parametrize("name", ["dice", "loss", "a/b", "", "two words"])
def test_names_that_are_taken_or_no_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"metrics must have names .*, got {name}$"):
        OwnMetrics({name: Found()})


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (Pair(), "shape"),
        (MulticlassAccuracy(2, average="micro", validate_args=True), "more unique values"),
    ],
)
def test_what_gives_no_number_of_label_maps_is_refused(metric: Metric, reason: str) -> None:
    wanted = rf"metrics\.mine must give one number of label maps \(1, 4, 4, 4\) .*{reason}"
    with pytest.raises(ValueError, match=wanted):
        OwnMetrics({"mine": metric}).try_out((4, 4, 4), 4)


def test_a_trial_leaves_nothing_behind() -> None:
    own = OwnMetrics({"hits": accuracy()})
    own.try_out((4, 4, 4), 3)
    prediction, target = maps()
    own.update(prediction, target)
    torch.testing.assert_close(own.compute()["hits"], (prediction == target).float().mean())


def share(rank: int, folder: str) -> None:
    """Two subjects for the first process, one for the second."""
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    own = OwnMetrics({"hits": accuracy(), "found": Found()})
    prediction, target = maps()
    part = slice(2) if rank == 0 else slice(2, 3)
    own.update(prediction[part], target[part])
    torch.save(own.compute(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_all_processes_have_the_value_of_all_subjects(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(share, (str(tmp_path),), nprocs=2, start_method="fork")
    alone = OwnMetrics({"hits": accuracy(), "found": Found()})
    alone.update(*maps())
    expected = alone.compute()
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), expected)
