import torch
from torch import nn

from gaborseg.training import SegmentationModule


def test_labels_that_came_as_bytes_are_int64_for_the_losses() -> None:
    module = SegmentationModule(nn.Identity(), nn.Identity(), structures=("a",))
    labels = torch.arange(256, dtype=torch.uint8)
    batch = module.on_after_batch_transfer({"image": labels / 2, "label": labels}, 0)
    torch.testing.assert_close(batch["label"], torch.arange(256))
    torch.testing.assert_close(batch["image"], labels / 2)
