"""How far float32 and float64 are from eq. (2), evaluated voxel by voxel in float64."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gaborseg.benchmarks.options import Benchmark
from gaborseg.benchmarks.plain import gabor_kernel_on_grid
from gaborseg.benchmarks.report import Cell, Table
from gaborseg.layers import native_available, portable_conv3d, spectral_conv3d, synthesise
from gaborseg.machine import progress

_KERNEL_SIZES = (3, 5, 7, 9, 11)
_SIGMAS = (0.15, 0.4, 1.0, 2.5, 30.0, -0.7, -3.0)
"""From far below a voxel to far beyond a kernel, both signs."""
_SCALES = (1.0, math.pi, math.pi, 1.0, 1.0, 2.0, 2.0, math.pi)
"""Largest values of the other parameters: any angle and phase, two cycles per voxel."""

Convolution = Callable[[Tensor, Tensor, int], Tensor]


class Case(NamedTuple):
    """A volume (B, I, D, H, W) and parameters (8, I, O), in float64 but exact in float32."""

    x: Tensor
    parameters: Tensor
    kernel_size: int

    def to(self, dtype: torch.dtype) -> "Case":
        """The same numbers in another type."""
        return Case(self.x.to(dtype), self.parameters.to(dtype), self.kernel_size)


@dataclass(frozen=True)
class ExactnessBenchmark(Benchmark):
    """Largest errors of the Gabor layer over random shapes and parameters, nothing timed.

    Attributes:
        repeats: Draws of shapes and parameters.
    """

    repeats: int = 300

    def tables(self) -> list[Table]:
        """Compare all ways to convolve with the definition, draw by draw."""
        worst = {name: [0.0, 0.0, 0.0] for name in ways()}
        for seed in progress(range(self.repeats), "Drawing"):
            case = draw(seed)
            want = results(by_definition, case)
            for name, (convolution, dtype) in ways().items():
                errors = map(error, results(convolution, case.to(dtype)), want)
                worst[name] = [*map(max, worst[name], _by_kind(*errors))]
        kinds = ("output", "input gradient", "gradient of one of the eight parameters")
        rows: list[dict[str, Cell]] = [
            {"convolution": name, **dict(zip(kinds, errors, strict=True))}
            for name, errors in worst.items()
        ]
        return [Table(f"Largest error / largest value, of {self.repeats} draws", rows)]


def ways() -> dict[str, tuple[Convolution, torch.dtype]]:
    """Ways to convolve, by name, with the type of their input."""
    single, double = torch.float32, torch.float64
    native = {
        "spectral, native, float64": (spectral_conv3d, double),
        "spectral, native, float32": (spectral_conv3d, single),
    }
    return {
        **(native if native_available() else {}),
        "spectral, in torch, float64": (portable_conv3d, double),
        "spectral, in torch, float32": (portable_conv3d, single),
        "synthesis and F.conv3d, float32": (_directly, single),
        "naive and F.conv3d, float32": (by_definition, single),
    }


def _directly(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    """Convolve with synthesised kernels."""
    return F.conv3d(x, synthesise(parameters, kernel_size), padding=kernel_size // 2)


def by_definition(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    """Convolve with kernels that are evaluated voxel by voxel."""
    return F.conv3d(x, gabor_kernel_on_grid(parameters, kernel_size), padding=kernel_size // 2)


def draw(seed: int) -> Case:
    """A case that this number decides."""
    generator = torch.Generator().manual_seed(seed)

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    batch, inputs, outputs = whole(1, 3), whole(1, 12), whole(1, 18)
    x = torch.randn(batch, inputs, *(whole(1, 9) for _ in range(3)), generator=generator)
    uniform = 2 * torch.rand(8, inputs, outputs, generator=generator) - 1
    parameters = uniform * torch.tensor(_SCALES)[:, None, None]
    chosen = torch.randint(len(_SIGMAS), (inputs, outputs), generator=generator)
    parameters[0] = torch.tensor(_SIGMAS)[chosen]
    kernel_size = _KERNEL_SIZES[whole(0, len(_KERNEL_SIZES) - 1)]
    return Case(x.double(), parameters.double(), kernel_size)


def results(convolution: Convolution, case: Case) -> list[Tensor]:
    """The output, and for a fixed gradient of it those of the input and of each parameter."""
    x, parameters = case.x.clone().requires_grad_(), case.parameters.clone().requires_grad_()
    y = convolution(x, parameters, case.kernel_size)
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(y.shape, generator=generator)
    x_grad, grads = torch.autograd.grad(y, (x, parameters), gradient.to(y.dtype))
    return [y.detach(), x_grad, *grads]


def error(got: Tensor, want: Tensor) -> float:
    """Largest difference relative to the largest value."""
    return float((got - want).abs().max() / want.abs().max())


def _by_kind(output: float, x: float, *parameters: float) -> tuple[float, float, float]:
    """Errors of output and input gradient, and the largest of the parameters'."""
    return output, x, max(parameters)
