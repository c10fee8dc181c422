"""Convolutions whose kernels are functions with trained parameters: what all of them share."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from gaborseg.layers.convolution import same_conv3d
from gaborseg.layers.grid import check_kernel_size, check_strides, without_autocast
from gaborseg.layers.storage import KINDS, ParameterStorage, SigmaScale

EQUAL_RATES: Mapping[str, float] = {}
_POWERS_OF_LENGTH = {"sigma": 1, "theta": 0, "amplitude": -3, "frequency": -1, "phase": 0}
"""How the kinds of parameters change with the unit of length, if sums over voxels are to stay."""


class ParametricConv3d(nn.Module):
    """'Same' convolution with kernels computed from a few trained parameters, one for each pair.

    A kernel of your own is a subclass: it names its parameters (`names`), passes their initial
    values on, and turns parameters into kernels (`synthesise`). Parameter counts, reports, pictures
    and exports know every subclass.

    Args:
        parameters: Initial parameters, (P, I, O), in the order of `names`.
        kernel_size: Side K in voxels, odd.
        bias: Add a trained offset to each output channel.
        trainable: Train the parameters; otherwise they are a buffer and keep their initial values.
        rates: Factor on the learning rate for each kind of parameter, 1 for those left out. The
            kind is the name up to its first underscore: `theta` of `theta_y`.
        sigma_scale: How widths (kind `sigma`) are stored: as they are (`"raw"`), as logarithms
            (`"log"`) or as the inverse of softplus (`"softplus"`).
        stride: Keep every so manieth voxel of the output along each axis, from the first on: one
            number, or one for each axis.

    Attributes:
        names: What the subclass calls its parameters.
        kind: What the subclass calls its kernels in parameter counts and reports.
        gabor: The stored parameters, (P, I, O), in the units of `storage`, under the name that
            checkpoints have for them.
        scale: How many times as finely as in training the volumes are sampled; `rescale` sets it.

    Shape:
        (B, I, D, H, W) -> (B, O, D, H, W), for any volume; a stride divides D, H, W, rounded up.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: `parameters` is not (P, I, O) with one row for each name, `kernel_size` is even
            or below 1, a rate is of no such kind or not positive, or there is no such scale.

    Example:
        >>> class ShiftConv3d(ParametricConv3d):
        ...     names, kind = ("amplitude",), "shift"
        ...     def synthesise(self, parameters):
        ...         kernel = parameters.new_zeros(*parameters[0].T.shape, 3, 3, 3)
        ...         kernel[..., 1, 1, 2] = parameters[0].T
        ...         return kernel
        >>> ShiftConv3d(torch.ones(1, 1, 1), 3)(torch.arange(4.0).view(1, 1, 1, 1, 4)).flatten()
        tensor([1., 2., 3., 0.], grad_fn=<ViewBackward0>)
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
        stride: int | Sequence[int] = 1,
    ) -> None:
        super().__init__()
        check_kernel_size(kernel_size)
        if parameters.ndim != 3 or len(parameters) != len(self.names):
            raise ValueError(
                f"parameters must be ({len(self.names)}, I, O), got {tuple(parameters.shape)}"
            )
        self.kernel_size = kernel_size
        self.scale = 1
        self.stride = check_strides(stride)
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
        """Kernels of parameters, (P, I, O) -> (O, I, K, K, K), for any I and O.

        The one method to write: each pair's kernel from the parameters of that pair alone, in their
        dtype and on their device, differentiable by autograd.
        """
        raise NotImplementedError

    def kernel(self) -> Tensor:
        """The kernel that a plain `conv3d` would use, (O, I, K, K, K), in float32 or wider."""
        with without_autocast(self.gabor):
            return self.synthesise(self.parameters_of_kernels())

    def parameters_of_kernels(self) -> Tensor:
        """Parameters (P, I, O) in the units of the equation, in float32 or wider."""
        wide = torch.promote_types(self.gabor.dtype, torch.float32)
        parameters = self.storage(self.gabor.to(wide))
        if self.scale == 1:
            return parameters
        factors = [float(self.scale) ** _POWERS_OF_LENGTH[kind] for kind in self.storage.kinds]
        return parameters * parameters.new_tensor(factors)[:, None, None]

    def rescale(self, scale: int) -> None:
        """Fit the kernels to volumes that are sampled `scale` times as finely as in training.

        G(x) becomes G(x / scale) / scale^3, on a grid as wide: widths times `scale`, frequencies
        divided by it, amplitudes by its cube, K = 7 at scale 2 becomes 13. What is stored and
        trained stays; `scale=1` gives the kernels back.

        Raises:
            ValueError: `scale` is not a positive integer, or a parameter is none of a Gabor kernel.
        """
        if not isinstance(scale, int) or scale < 1:
            raise ValueError(f"scale must be a positive integer, got {scale!r}")
        unknown = set(self.storage.kinds) - set(_POWERS_OF_LENGTH)
        if unknown and scale != 1:
            raise ValueError(
                f"scale must be 1 for kernels with parameters other than {', '.join(KINDS)}, "
                f"got {scale} for {min(unknown)}"
            )
        self.kernel_size = (self.kernel_size - 1) // self.scale * scale + 1
        self.scale = scale

    def parameters_by_name(self) -> dict[str, Tensor]:
        """Parameters by name, (I, O) each, in the units of the equation."""
        return dict(zip(self.names, self.parameters_of_kernels(), strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Filter a volume: (B, I, D, H, W) -> (B, O, D, H, W)."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return self.strided(same_conv3d(x, self.kernel().to(x.dtype), bias))

    def strided(self, y: Tensor) -> Tensor:
        """The voxels of an output of full size that the stride keeps."""
        if self.stride == (1, 1, 1):
            return y
        depth, height, width = self.stride
        return y[..., ::depth, ::height, ::width]

    @torch.no_grad()
    def to_conv3d(self) -> nn.Conv3d:
        """An ordinary convolution with the same output and a weight of its own."""
        conv = nn.Conv3d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            stride=self.stride,
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
            f"bias={self.bias is not None}, trainable={'gabor' not in self._buffers}"
            f"{'' if self.stride == (1, 1, 1) else f', stride={self.stride}'}"
            f"{'' if self.scale == 1 else f', scale={self.scale}'}"
        )
