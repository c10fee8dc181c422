"""Convolutions whose kernels are Gabor functions with trained parameters."""

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from src.kernels import (
    GENERAL_PARAMETERS,
    PARAMETERS,
    InitialScheme,
    Part,
    general_gabor_kernel,
    initial_gabor,
    initial_general_gabor,
)
from src.layers.algorithm import Algorithm, Way, check_algorithm, layer_name
from src.layers.convolution import same_conv3d
from src.layers.spectral import spectral_conv3d, synthesise
from src.layers.storage import GaborStorage, SigmaScale

EQUAL_RATES: Mapping[str, float] = {}


class ParametricConv3d(nn.Module):
    """'Same' convolution with one computed kernel for each pair of channels.

    Subclasses name the parameters and turn them into kernels (`synthesise`).

    Args:
        parameters: Initial parameters, (P, I, O), in the order of `names`.
        kernel_size: Side K in voxels, odd.
        bias: Add a trained offset to each output channel.
        trainable: Train the parameters; otherwise they are a buffer and stay as they were drawn.
        storage: How the parameters are stored.

    Attributes:
        gabor: What is stored of the parameters, (P, I, O).
    """

    names: ClassVar[Sequence[str]]

    def __init__(
        self,
        parameters: Tensor,
        kernel_size: int,
        *,
        bias: bool,
        trainable: bool,
        storage: GaborStorage,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.storage = storage
        self.gabor: Tensor
        gabor = storage.inverse(parameters)
        if trainable:
            self.gabor = nn.Parameter(gabor)
        else:
            self.register_buffer("gabor", gabor)
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


class GaborConv3d(ParametricConv3d):
    """'Same' convolution with the paper's Gabor kernels, eq. (2): eight parameters for each pair.

    The parameters are one tensor, `gabor`, of shape (8, I, O): `src.kernels.gabor` names its rows,
    `src.layers.storage` says in which units they are stored.

    Args:
        in_channels: I, at least 1.
        out_channels: O, at least 1.
        kernel_size: Side K in voxels, odd; it does not change the number of parameters.
        bias: Add a trained offset to each output channel.
        trainable: Train the parameters; otherwise they are a buffer and stay as they were drawn.
        initial: How the first parameters are drawn: a name in `src.kernels.INITIAL_SCHEMES`.
        rates: How many times the learning rate each kind of parameter (sigma, theta, amplitude,
            frequency, phase) is trained with; 1 for those left out.
        sigma_scale: What of the widths is stored: they (`"raw"`), their logarithm (`"log"`) or the
            inverse of softplus (`"softplus"`).
        algorithm: How to convolve: `"spectral"`, by Fourier transforms, on a CPU only, exact to the
            last digits of float32; `"direct"`, with synthesised kernels, to the precision of
            `F.conv3d`; or `"auto"`, spectral on a CPU, except for `faster_directly`.

    Attributes:
        faster_directly: Names of layers that were measured to be faster directly; none at first.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: A channel count is below 1, `kernel_size` is even or below 1, a rate is of no
            such kind or not positive, or there is no such scheme, scale or algorithm.
    """

    names = PARAMETERS

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 7,
        *,
        bias: bool = False,
        trainable: bool = True,
        initial: InitialScheme = "uniform",
        rates: Mapping[str, float] = EQUAL_RATES,
        sigma_scale: SigmaScale = "raw",
        algorithm: Algorithm = "auto",
    ) -> None:
        parameters = initial_gabor(in_channels, out_channels, kernel_size, initial)
        check_algorithm(algorithm)
        storage = GaborStorage(self.names, rates, sigma_scale)
        super().__init__(parameters, kernel_size, bias=bias, trainable=trainable, storage=storage)
        self.algorithm = algorithm
        self.faster_directly: Collection[str] = ()

    def synthesise(self, parameters: Tensor) -> Tensor:
        """Kernels of eq. (2)."""
        return synthesise(parameters, self.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Filter a volume: (B, I, D, H, W) -> (B, O, D, H, W).

        Raises:
            ValueError: The algorithm must be spectral, and x is not on a CPU.
        """
        if self.way(x) == "direct":
            return super().forward(x)
        y = spectral_conv3d(x, self.parameters_of_kernels(), self.kernel_size)
        return y if self.bias is None else y + self.bias.view(-1, 1, 1, 1)

    def way(self, x: Tensor) -> Way:
        """How a volume is filtered.

        Raises:
            ValueError: The algorithm must be spectral, and x is not on a CPU.
        """
        self.check_device(x.device)
        if self.algorithm != "auto":
            return self.algorithm
        if x.device.type != "cpu":
            return "direct"
        if self.faster_directly:
            name = layer_name(x, self.out_channels, self.kernel_size)
            return "direct" if name in self.faster_directly else "spectral"
        return "spectral"

    def check_device(self, device: torch.device) -> None:
        """Check that the layer can work on a device.

        Raises:
            ValueError: The algorithm must be spectral, and this is no CPU.
        """
        if self.algorithm == "spectral" and device.type != "cpu":
            raise ValueError(f"algorithm=spectral needs a CPU, got {device}")

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"{super().extra_repr()}, algorithm={self.algorithm!r}"


def settle_algorithms(
    network: nn.Module, device: torch.device, faster_directly: Collection[str]
) -> None:
    """Tell the Gabor layers of a network what was measured, after a check that they can work.

    Args:
        network: Its layers of the kind `GaborConv3d` are told.
        device: Where it will be.
        faster_directly: Names of layers that were measured to be faster directly.

    Raises:
        ValueError: A layer must be spectral, and the device is no CPU.
    """
    for layer in network.modules():
        if isinstance(layer, GaborConv3d):
            layer.faster_directly = faster_directly
            layer.check_device(device)


class GeneralGaborConv3d(ParametricConv3d):
    """'Same' convolution with general Gabor kernels, eq. (1): nine parameters for each pair.

    The parameters are one tensor, `gabor`, of shape (9, I, O): `src.kernels.general` names its
    rows, `src.layers.storage` says in which units they are stored.

    Args:
        in_channels: I, at least 1.
        out_channels: O, at least 1.
        kernel_size: Side K in voxels, odd; it does not change the number of parameters.
        part: The real part, the imaginary part, or the sum of both.
        bias: Add a trained offset to each output channel.
        trainable: Train the parameters; otherwise they are a buffer and stay as they were drawn.
        initial: How the first parameters are drawn: a name in `src.kernels.INITIAL_SCHEMES`.
        rates: How many times the learning rate each kind of parameter (sigma, theta, amplitude,
            frequency, phase) is trained with; 1 for those left out.
        sigma_scale: What of the widths is stored: they (`"raw"`), their logarithm (`"log"`) or the
            inverse of softplus (`"softplus"`).

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: A channel count is below 1, `kernel_size` is even or below 1, a rate is of no
            such kind or not positive, or there is no such scheme, scale or part.
    """

    names = GENERAL_PARAMETERS

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 7,
        *,
        part: Part = "both",
        bias: bool = False,
        trainable: bool = True,
        initial: InitialScheme = "uniform",
        rates: Mapping[str, float] = EQUAL_RATES,
        sigma_scale: SigmaScale = "raw",
    ) -> None:
        parameters = initial_general_gabor(in_channels, out_channels, kernel_size, part, initial)
        storage = GaborStorage(self.names, rates, sigma_scale)
        super().__init__(parameters, kernel_size, bias=bias, trainable=trainable, storage=storage)
        self.part = part

    def synthesise(self, parameters: Tensor) -> Tensor:
        """Kernels of eq. (1)."""
        return general_gabor_kernel(parameters, self.kernel_size, self.part)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"{super().extra_repr()}, part={self.part!r}"
