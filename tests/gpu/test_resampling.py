"""Volumes moved by the Triton kernel against those that torch's operators move."""

import logging

import pytest
import torch
from torch import Tensor

from gaborseg.gpu import Resampling, resampled, resampling, trust
from gaborseg.gpu.resampling import fused_patches, plain_patches
from on_gpu import DEVICE, needs_triton

SHAPE = (11, 14, 9)
TURNED = ((0.9, 0.3, 0.0, -3.1), (-0.3, 0.8, 0.1, 2.7), (0.02, -0.1, 1.1, -0.9))
HALVES = ((1.0, 0.0, 0.0, 0.5), (0.0, 1.0, 0.0, -0.5), (0.0, 0.0, -1.0, 8.5))
"""Every place is as near to one voxel as to the next, and the outermost are on the edge."""


def volume(dtype: torch.dtype = torch.uint8) -> tuple[Tensor, Tensor, Tensor]:
    image = torch.rand(2, *SHAPE, device=DEVICE)
    return image, torch.randint(1, 100, SHAPE, device=DEVICE).to(dtype), image.amin(dim=(1, 2, 3))


@needs_triton
@pytest.mark.parametrize("matrix", [TURNED, HALVES], ids=["turned", "halves"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_the_kernel_moves_as_torch_does(matrix: tuple, dtype: torch.dtype) -> None:
    how = Resampling(matrix, ((0, 0, 0), (2, 5, 3)), (8, 9, 6))
    got_image, got_label = fused_patches(*volume(dtype), how)
    torch.manual_seed(0)
    want_image, want_label = plain_patches(*volume(dtype), how)
    torch.testing.assert_close(got_image, want_image, atol=5e-6, rtol=0)
    assert got_label.dtype == dtype
    assert torch.equal(got_label, want_label)


@needs_triton
def test_a_volume_that_is_not_turned_is_copied_exactly() -> None:
    image, label, fill = volume()
    still = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0))
    moved, labels = fused_patches(image, label, fill, Resampling(still, ((0, 0, 0),), SHAPE))
    assert torch.equal(moved[0], image)
    assert torch.equal(labels[0], label)


@needs_triton
def test_the_kernel_is_trusted_unless_it_disagrees(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trust.trusted.cache_clear()
    assert trust.trusted(resampling._CHECK, DEVICE)
    assert not caplog.records

    def swapped(*arguments: object) -> tuple[Tensor, Tensor]:
        image, label = plain_patches(*arguments)
        return image.flip(2), label

    monkeypatch.setattr(resampling, "fused_patches", swapped)
    trust.trusted.cache_clear()
    assert not trust.trusted(resampling._CHECK, DEVICE)
    trust.trusted.cache_clear()
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "augmentation on" in warning


def test_a_batch_of_several_volumes_has_the_patches_of_each_in_order() -> None:
    image, label = torch.rand(2, 1, *SHAPE), torch.randint(9, (2, *SHAPE), dtype=torch.uint8)
    hows = [
        Resampling(None, ((1, 2, 3), (0, 0, 0)), (4, 5, 6)),
        Resampling(TURNED, ((0, 0, 0),), (4, 5, 6)),
    ]
    batch = resampled(
        {"image": image, "label": label, "index": label[:, 0, 0, 0], "resampling": hows}
    )
    assert (batch["image"].shape, batch["label"].shape) == ((3, 1, 4, 5, 6), (3, 4, 5, 6))
    assert torch.equal(batch["image"][0], image[0, :, 1:5, 2:7, 3:9])
    assert torch.equal(batch["label"][1], label[0, :4, :5, :6])
    assert batch.keys() == {"image", "label", "index"}
