"""Agreement and speed of the augmentation's affine on a card: a program, no test.

    PYTHONPATH=src python tests/gpu/try_augmentation.py

It needs a GPU. Where TorchIO is installed, it also times what a loading process does without
`data.augment_on=gpu`, with one thread, and compares with that.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gaborseg.gpu import Resampling, resampled, resampling, trust

DEVICE = torch.device("cuda")
SHAPE = (128, 128, 128)
TURNED = (
    (0.8923, 0.3217, 0.0, -3.41),
    (-0.3217, 0.8923, 0.0, 25.73),
    (0.0, 0.0, 0.9486, 11.29),
)
"""20 degrees, a scale of 1.054, and a shift."""
CASES = {
    "whole": Resampling(TURNED, ((0, 0, 0),), SHAPE),
    "whole, not moved": Resampling(None, ((0, 0, 0),), SHAPE),
    "2 patches of 64": Resampling(TURNED, ((3, 60, 20), (40, 0, 64)), (64, 64, 64)),
}


def sample() -> tuple[Tensor, Tensor]:
    """A smooth image and a label map of blocks, on the CPU."""
    torch.manual_seed(0)
    coarse = torch.randn(1, 1, 16, 16, 16)
    image = torch.nn.functional.interpolate(coarse, SHAPE, mode="trilinear")[0]
    label = torch.randint(0, 20, (16, 16, 16), dtype=torch.uint8)
    for axis in range(3):
        label = label.repeat_interleave(8, dim=axis)
    return image, label


def batch(image: Tensor, label: Tensor, how: Resampling) -> dict[str, Any]:
    return {"image": image[None], "label": label[None], "resampling": [how]}


def milliseconds(work: Callable[[], object], repeats: int = 30) -> tuple[float, float]:
    """Medians of the card's time and of the host's time until everything is launched."""
    device, host = [], []
    for _ in range(repeats + 5):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        started = time.perf_counter()
        begin.record()
        work()
        end.record()
        host.append(1e3 * (time.perf_counter() - started))
        torch.cuda.synchronize()
        device.append(begin.elapsed_time(end))
    return statistics.median(device[5:]), statistics.median(host[5:])


def compare(name: str, got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    extent = want["image"].max() - want["image"].min()
    error = (got["image"].cpu() - want["image"]).abs().max() / extent
    other = (got["label"].cpu() != want["label"]).sum()
    print(f"  {name}: image within {error:.1e} of its range, {other} labels differ")


def on_the_card(name: str, how: Resampling) -> None:
    image, label = sample()
    moved = image.cuda(), label.cuda()
    expected = resampled(batch(image, label, how))
    for trusted in (True, False) if how.matrix else (True,):
        resampling.trusted = lambda *_, trusted=trusted: trusted
        result = resampled(batch(*moved, how))
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        again = resampled(batch(*moved, how))
        extra = (torch.cuda.max_memory_allocated() - before) / 2**20
        device, host = milliseconds(lambda: resampled(batch(*moved, how)))
        same = all(torch.equal(result[key], again[key]) for key in ("image", "label"))
        way = "Triton" if trusted and how.matrix else "torch"
        print(
            f"{name}, {way}: {device:.3f} ms, host {host:.3f} ms, {extra:.0f} MiB more, "
            f"repeats: {same}"
        )
        compare("against the CPU", result, expected)


def copies() -> None:
    """What a sample takes on its way to the card, in either way of augmenting."""
    image, label = (part.pin_memory() for part in sample())
    device, _ = milliseconds(lambda: (image.cuda(non_blocking=True), label.cuda(non_blocking=True)))
    print(f"copy of a sample to the card: {device:.3f} ms")


def against_torchio() -> None:
    try:
        import numpy as np
        from SimpleITK import ProcessObject

        from gaborseg.data import augmentation, transforms
    except ImportError as error:
        print(f"TorchIO is not installed ({error}): no comparison with it")
        return
    ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    image, label = sample()
    draw = transforms.AffineDraw(20.0, 1.1, (5.3, -7.1, 2.2))
    subject = augmentation._subject(image, label, np.eye(4), ())
    times = []
    for _ in range(5):
        started = time.perf_counter()
        moved = transforms.apply_affine(subject, draw)
        times.append(1e3 * (time.perf_counter() - started))
    print(f"TorchIO on one thread: {statistics.median(times):.0f} ms")
    matrix = transforms.voxel_map(draw, np.eye(4), SHAPE)
    got = resampled(batch(image.cuda(), label.cuda(), Resampling(matrix, ((0, 0, 0),), SHAPE)))
    want = {"image": moved["image"].data[None], "label": moved["label"].data.to(torch.uint8)}
    compare("against TorchIO", got, want)


if __name__ == "__main__":
    print(torch.cuda.get_device_name(), torch.__version__)
    difference = resampling._CHECK.difference(DEVICE)
    print(f"twin check: {difference:.1e}, trusted: {trust.trusted(resampling._CHECK, DEVICE)}")
    for name, how in CASES.items():
        on_the_card(name, how)
    copies()
    against_torchio()
