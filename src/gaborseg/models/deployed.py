"""The network as it leaves the framework: plain layers, its decision, its metadata."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from gaborseg.scans import window_of

_FORMAT, _CLIPPED = 1, 2
FORMATS = (_FORMAT, _CLIPPED)
"""Versions of the metadata that are read; another one is needed when older readers would
misunderstand. The second is that of models whose scans are clipped, which readers of the first
would not do."""
OUTPUTS = ("logits", "scores", "labels")
Outputs = Callable[[Tensor, Sequence[str]], Sequence[Tensor]]
"""What a file computes: the outputs that are named, of an image (1, I, D, H, W)."""


class _Decision(Protocol):
    """What turns logits into scores, and into labels."""

    def scores(self, logits: Tensor) -> Tensor:
        """Scores (B, C, *S), the largest of which is decided for."""
        ...

    def __call__(self, logits: Tensor) -> Tensor:
        """Labels (B, *S)."""
        ...


class Deployed(nn.Module):
    """A prepared image (1, I, D, H, W) to logits, scores (1, C, D, H, W) and labels (1, D, H, W).

    Args:
        network: It is left as it is.
        decision: Turns logits into scores and labels.
        fold: Make plain convolutions of computed kernels, which are many more numbers than their
            parameters; otherwise the graph computes them, and a runtime does so when it is opened.
        half: Keep weights in float16; what is computed with them stays in float32.
    """

    def __init__(
        self, network: nn.Module, decision: _Decision, *, fold: bool = True, half: bool = False
    ) -> None:
        super().__init__()
        self.network = simplified(copy.deepcopy(network), fold).eval().requires_grad_(False)
        self.decision = decision
        if half:
            _keep_in_half(self.network)

    @property
    def num_weights(self) -> int:
        """How many numbers the network consists of."""
        return sum(values.numel() for values in self.network.state_dict().values())

    @property
    def num_bytes(self) -> int:
        """How much they take."""
        return sum(values.nbytes for values in self.network.state_dict().values())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, scores and labels."""
        logits = self.network(image)
        return logits, self.decision.scores(logits), self.decision(logits)


class GroupNorm(nn.Module):
    """Group or instance normalisation, (B, C, D, H, W) to the same shape.

    Means are taken axis by axis: a runtime of its own may sum millions of squares in float32 one
    after the other. onnxruntime's normalisation was measured to lose three digits.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, norm: nn.GroupNorm | nn.InstanceNorm3d) -> None:
        super().__init__()
        self.groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else norm.num_features
        self.eps = norm.eps
        self.register_buffer("weight", norm.weight.detach().view(-1, 1, 1, 1))
        self.register_buffer("bias", norm.bias.detach().view(-1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return each group of channels with mean 0 and variance 1, scaled and shifted."""
        groups = x.unflatten(1, (self.groups, -1))
        centred = groups - _axis_means(groups)
        variance = _axis_means(centred * centred)
        return (centred / torch.sqrt(variance + self.eps)).flatten(1, 2) * self.weight + self.bias


def _axis_means(groups: Tensor) -> Tensor:
    """Means over the last four axes, the last first: (B, G, C, D, H, W) to (B, G, 1, 1, 1, 1)."""
    for axis in (5, 4, 3, 2):
        groups = groups.mean(dim=axis, keepdim=True)
    return groups


def simplified(module: nn.Module, fold: bool = True) -> nn.Module:
    """The module without dropout and, if it is to fold, with plain convolutions, in place."""
    for name, child in module.named_children():
        setattr(module, name, simplified(child, fold))
    running = getattr(module, "track_running_stats", False)
    if isinstance(module, nn.GroupNorm | nn.InstanceNorm3d) and module.affine and not running:
        return GroupNorm(module)
    if fold and computes_kernels(module):
        convolution: nn.Module = cast(Any, module).to_conv3d()
        return convolution
    return nn.Identity() if isinstance(module, nn.Dropout | nn.Dropout3d) else module


def computes_kernels(module: nn.Module) -> bool:
    """Whether a layer makes its kernels from parameters, and can tell the plain convolution."""
    return hasattr(module, "to_conv3d")


class _InFloat32(nn.Module):
    """A weight in float32, however it is kept."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight to compute with."""
        return weight.float()


def _keep_in_half(network: nn.Module) -> None:
    """Keep all weights but offsets and the scales of normalisations in float16."""
    for module in [*network.modules()]:
        for name, weight in [*module.named_parameters(recurse=False)]:
            if weight.ndim > 1:
                weight.data = weight.data.half()
                register_parametrization(module, name, _InFloat32(), unsafe=True)


def metadata_of(
    data: Mapping[str, Any],
    decision: nn.Module,
    size: tuple[int, ...],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """What an exported file says about itself, plain values.

    Args:
        data: The description of the training data.
        decision: Its buffers, if it has any, are what it does to the softmax of the logits.
        size: Voxels along each axis of the volumes that it takes.
        versions: Of the software that exports.
    """
    clipped = window_of(data) is not None
    calibration = {name: values.tolist() for name, values in decision.state_dict().items()}
    return {
        "format": _CLIPPED if clipped else _FORMAT,
        "input": {"name": "image", "shape": [1, len(data["channels"]), *size], "type": "float32"},
        "outputs": dict(
            zip(
                OUTPUTS,
                [
                    "of the network; of several patches, average these",
                    "softmax of the logits; times calibration.scale plus calibration.offset",
                    "the largest score's: 0 background, k structures[k-1]",
                ],
                strict=True,
            )
        ),
        "preprocessing": [
            *(["clip intensities to data.preparation.window"] if clipped else []),
            "turn the axes towards right, anterior, superior (RAS+)",
            "resample once to a cube of as many voxels a side as the longest of data.size: the "
            "scan's longest side, brought into data.appearance.field_of_view (mm) by padding or "
            "cropping; linear, anti-aliased; outside the scan 0, or the channel's minimum where it "
            "is below 0",
            "crop the cube to data.size about its centre",
            "subtract the mean of all voxels and divide by their standard deviation, channel by "
            "channel",
        ],
        "decision": type(decision).__name__,
        "calibration": calibration or None,
        "data": dict(data),
        "versions": dict(versions),
    }
