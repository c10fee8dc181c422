"""Convolutions whose kernels are functions with trained parameters: what all of them share."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from gaborseg.layers.convolution import same_conv3d
from gaborseg.layers.storage import ParameterStorage, SigmaScale

EQUAL_RATES: Mapping[str, float] = {}


class ParametricConv3d(nn.Module):
    """'Same' convolution with one computed kernel for each pair of channels.

    A subclass names the parameters (`names`), draws the first ones, and turns them into kernels
    (`synthesise`); training, counting, reports and exports know it by this base class.

    Args:
        parameters: Initial parameters, (P, I, O), in the order of `names`.
        kernel_size: Side K in voxels, odd.
        bias: Add a trained offset to each output channel.
        trainable: Train the parameters; otherwise they are a buffer and stay as they were drawn.
        rates: How many times the learning rate each kind of parameter (`sigma`, `theta`,
            `amplitude`, `frequency`, `phase`) is trained with; 1 for those left out.
        sigma_scale: What of the widths is stored: they themselves (`"raw"`), their logarithm
            (`"log"`) or the inverse of softplus (`"softplus"`).

    Attributes:
        gabor: What is stored of the parameters, (P, I, O), in the units of `storage`.
        kind: What its parameters are counted as.

    Raises:
        ValueError: A rate is of no such kind or not positive, or there is no such scale.
    """

    names: ClassVar[Sequence[str]]
    kind: ClassVar[str] = "parametric"

    def __init__(
        self,
        parameters: Tensor,
        kernel_size: int,
        *,
        bias: bool = False,
        trainable: bool = True,
        rates: Mapping[str, float] = EQUAL_RATES,
        sigma_scale: SigmaScale = "raw",
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.storage = ParameterStorage(self.names, rates, sigma_scale)
        self.gabor: Tensor
        stored = self.storage.inverse(parameters)
        if trainable:
            self.gabor = nn.Parameter(stored)
        else:
            self.register_buffer("gabor", stored)
        self.bias = nn.Parameter(torch.zeros(self.out_channels)) if bias else None

    @property
    def in_channels(self) -> int:
        """Channels of the input, I."""
        return self.gabor.shape[1]

    @property
    def out_channels(self) -> int:
        """Channels of the output, O."""
        return self.gabor.shape[2]

    def synthesise(self, parameters: Tensor) -> Tensor:
        """Kernels (O, I, K, K, K) of parameters (P, I, O)."""
        raise NotImplementedError

    def kernel(self) -> Tensor:
        """The kernel that a plain `conv3d` would use, (O, I, K, K, K), in float32 or wider."""
        with torch.autocast(self.gabor.device.type, enabled=False):
            return self.synthesise(self.parameters_of_kernels())

    def parameters_of_kernels(self) -> Tensor:
        """Parameters (P, I, O) in the units of the equation, in float32 or wider."""
        wide = torch.promote_types(self.gabor.dtype, torch.float32)
        return self.storage(self.gabor.to(wide))

    def gabor_parameters(self) -> dict[str, Tensor]:
        """Parameters by name, (I, O) each, in the units of the equation."""
        return dict(zip(self.names, self.parameters_of_kernels(), strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Filter a volume: (B, I, D, H, W) -> (B, O, D, H, W)."""
        return same_conv3d(x, self.kernel().to(x.dtype), self.bias)

    @torch.no_grad()
    def to_conv3d(self) -> nn.Conv3d:
        """An ordinary convolution with the same output and a weight of its own."""
        conv = nn.Conv3d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            padding=self.kernel_size // 2,
            bias=self.bias is not None,
            device=self.gabor.device,
            dtype=self.gabor.dtype,
        )
        conv.weight.copy_(self.kernel())
        if self.bias is not None and conv.bias is not None:
            conv.bias.copy_(self.bias)
        return conv

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"bias={self.bias is not None}, trainable={isinstance(self.gabor, nn.Parameter)}"
        )
