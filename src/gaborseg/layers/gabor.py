"""The paper's Gabor kernel, eq. (2), synthesised through separable factors.

    G(x) = exp(-|x|^2 / (2 sigma^2))
           * (amplitude_re cos(2 pi frequency_re x' + phase)
              + amplitude_im sin(2 pi frequency_im x' + phase))
    x'   = x cos(theta_y) cos(theta_z) - y cos(theta_y) sin(theta_z) + z sin(theta_y)

Eight trained parameters for each pair of channels, one tensor (8, I, O):

| index | name         | symbol  | unit             |
| ----- | ------------ | ------- | ---------------- |
| 0     | sigma        | sigma   | voxels           |
| 1     | theta_y      | theta_y | radians          |
| 2     | theta_z      | theta_z | radians          |
| 3     | amplitude_re | A_re    |                  |
| 4     | amplitude_im | A_im    |                  |
| 5     | frequency_re | f_re    | cycles per voxel |
| 6     | frequency_im | f_im    | cycles per voxel |
| 7     | phase        | psi     | radians          |

The paper's x, y, z are the axes D, H, W of the kernel; x' is the first coordinate of R x. Each of
the two terms is the real part of a product of three complex factors, one an axis,

    exp(-x_a^2 / (2 sigma^2)) exp(2 pi i f r_a x_a),    r = the first row of R,

so a pair costs O(K) exponentials, cosines and sines instead of O(K^3), and its gradient is a set of
moments of the same product.

The equation is computed in four more places, for speed; tests hold all of them to this file:
`csrc/synthesis.h` (kernels, C++), `csrc/transfer.h` (their spectra, C++; both from the separable
taps of `csrc/pair.h`), `portable.py` (spectra, torch), `triton_synthesis.py` (kernels, on a GPU).

References:
    Wong and Moradi, 3D Segmentation with Fully Trainable Gabor Kernels and Pearson's Correlation
    Coefficient, MLMI 2022, eq. (2).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.autograd.function import once_differentiable

from gaborseg.layers.draws import Draw, InitialScheme, draw_gabor, equal_energy
from gaborseg.layers.grid import SMALLEST_SIGMA, check_convolution, voxel_offsets
from gaborseg.layers.parametric import EQUAL_RATES, ParametricConv3d
from gaborseg.layers.spectral import (
    check_parameters,
    spectral_conv3d,
    synthesise_op,
    synthesises_fused,
    working_dtype,
)
from gaborseg.layers.storage import SigmaScale

PARAMETERS = (
    "sigma",
    "theta_y",
    "theta_z",
    "amplitude_re",
    "amplitude_im",
    "frequency_re",
    "frequency_im",
    "phase",
)

PAIRS_AT_ONCE = 2**13
"""Pairs of channels in a block of the backward pass: few enough for the cache, and for memory."""


class GaborConv3d(ParametricConv3d):
    """'Same' convolution with the paper's Gabor kernels, eq. (2): eight parameters for each pair.

    y_o = sum_i G_oi * x_i (+ bias_o), G as at the top of this file. On a CPU the layer multiplies
    spectra, exactly, whatever the kernel's size; elsewhere it computes the kernels and convolves.

    To train it, use an optimiser of Adam's kind (NAdam; the paper's learning rate is 1e-3), keep
    the default `initial="white"`, and let widths and angles learn faster than amplitudes:
    `rates={"sigma": 10, "theta": 10, "phase": 10, "frequency": 2}` is what `gaborseg train` uses
    (`conf/rates/tenfold.yaml`). The default of this class is one rate for all, as in the paper.

    Args:
        in_channels: I, at least 1.
        out_channels: O, at least 1.
        kernel_size: Side K in voxels, odd; it does not change the number of parameters.
        bias: Add a trained offset to each output channel.
        trainable: Train the parameters; otherwise they are a buffer and keep their initial values.
        initial: How they are drawn: `"white"`, `"uniform"`, `"log_spaced"`, `"quadrature"` or
            `"kaiming"`, described in `draws.py`.
        rates: Factor on the learning rate for each kind of parameter (`sigma`, `theta`,
            `amplitude`, `frequency`, `phase`), up to 1000; 1 for those left out.
        sigma_scale: How widths are stored: `"raw"`, `"log"` or `"softplus"` (its inverse).

    Shape:
        (B, I, D, H, W) -> (B, O, D, H, W), for any volume.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: A channel count is below 1, `kernel_size` is even or below 1, a rate is of no
            such kind or out of range, or there is no such scheme or scale.

    Example:
        >>> layer = GaborConv3d(4, 8)
        >>> layer(torch.randn(1, 4, 16, 16, 16)).shape
        torch.Size([1, 8, 16, 16, 16])
        >>> sum(p.numel() for p in layer.parameters())  # 8 x 4 x 8; a free 7x7x7 kernel: 10,976
        256

    References:
        Wong and Moradi, MLMI 2022, eq. (2).
    """

    names = PARAMETERS
    kind = "gabor"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 7,
        *,
        bias: bool = False,
        trainable: bool = True,
        initial: InitialScheme = "white",
        rates: Mapping[str, float] = EQUAL_RATES,
        sigma_scale: SigmaScale = "raw",
    ) -> None:
        super().__init__(
            initial_gabor(in_channels, out_channels, kernel_size, initial),
            kernel_size,
            bias=bias,
            trainable=trainable,
            rates=rates,
            sigma_scale=sigma_scale,
        )

    def synthesise(self, parameters: Tensor) -> Tensor:
        """Kernels of eq. (2), (8, I, O) -> (O, I, K, K, K), by the fastest code for the device."""
        return synthesise(parameters, self.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Filter a volume: (B, I, D, H, W) -> (B, O, D, H, W)."""
        if x.device.type != "cpu":
            return super().forward(x)
        y = spectral_conv3d(x, self.parameters_of_kernels(), self.kernel_size)
        return y if self.bias is None else y + self.bias.view(-1, 1, 1, 1)


def initial_gabor(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    scheme: InitialScheme = "white",
    generator: Generator | None = None,
) -> Tensor:
    """Random parameters of `gabor_kernel`, (8, I, O); the energy of each kernel is 2 / I.

    Args:
        in_channels: I, at least 1.
        out_channels: O, at least 1.
        kernel_size: Side K in voxels, odd.
        scheme: How they are drawn, as `GaborConv3d`'s `initial`.
        generator: Source of randomness; torch's global one by default.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: A channel count is below 1, `kernel_size` is even or below 1, or there is no
            such scheme.
    """
    check_convolution(in_channels, out_channels, kernel_size)
    draw = Draw((in_channels, out_channels), generator)
    parameters = draw_gabor(scheme, draw, kernel_size)
    parameters[3:5] *= equal_energy(gabor_kernel(parameters, kernel_size))
    return parameters


def synthesise(parameters: Tensor, kernel_size: int) -> Tensor:
    """Evaluate Gabor kernels from their eight parameters, eq. (2): (8, I, O) -> (O, I, K, K, K).

    Args:
        parameters: The eight Gabor parameters of each pair, (8, I, O).
        kernel_size: Odd side of the kernel, in voxels.

    Raises:
        ValueError: The parameters are not (8, I, O), or the kernel size is not odd and positive.
    """
    check_parameters(parameters, kernel_size)
    values = parameters.to(working_dtype(parameters))
    if synthesises_fused(values, kernel_size):
        return synthesise_op(values, kernel_size).to(parameters.dtype)
    if parameters.device.type == "cpu":
        values = values.double()
    with torch.autocast(parameters.device.type, enabled=False):
        return gabor_kernel(values, kernel_size).to(parameters.dtype)


def gabor_kernel(parameters: Tensor, kernel_size: int) -> Tensor:
    """Gabor kernels of eq. (2), (O, I, K, K, K), one for each pair of channels.

    Even in sigma; sigma = 0 is a delta at the centre, where the gradient by sigma is zero. Values
    and gradients are finite for all finite parameters (short of overflow: frequencies of 1e34 in
    float32). Autograd keeps nothing but the parameters and recomputes the factors in the backward
    pass, which is not differentiable again.

    Args:
        parameters: (8, I, O), rows named by `PARAMETERS`; below float32 the kernels are float32.
        kernel_size: Side K in voxels, odd.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: `kernel_size` is even or below 1, or `parameters` is not (8, I, O).

    Example:
        >>> parameters = torch.tensor([2.0, 0, 0, 1, 0, 1 / 6, 0, 0]).view(8, 1, 1)
        >>> gabor_kernel(parameters, 3)[0, 0, :, 1, 1]  # exp(-x^2 / 8) cos(pi x / 3)
        tensor([0.4412, 1.0000, 0.4412])
    """
    check_parameters(parameters, kernel_size)
    kernel: Tensor = _GaborKernel.apply(parameters, kernel_size)
    return kernel


class _GaborKernel(torch.autograd.Function):
    """Synthesis with an analytic gradient that saves only the parameters."""

    @staticmethod
    def forward(parameters: Tensor, kernel_size: int) -> Tensor:
        with torch.autocast(parameters.device.type, enabled=False):
            return _synthesise(parameters, kernel_size)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (parameters,) = ctx.saved_tensors
        outputs = max(1, PAIRS_AT_ONCE // parameters.shape[1])
        blocks = zip(parameters.split(outputs, dim=2), grad.split(outputs), strict=True)
        with torch.autocast(parameters.device.type, enabled=False):
            return torch.cat([_gradient(*block) for block in blocks], dim=2), None


class _Pairs(NamedTuple):
    """Parameters of all pairs; the last axis, where it is not 1, tells the two terms of eq. (2)."""

    sigma: Tensor  # (O, I, 1)
    row: Tensor  # (3, O, I, 1), first row of the rotation
    row_by_theta_y: Tensor  # (3, O, I, 1), its derivatives
    row_by_theta_z: Tensor  # (3, O, I, 1)
    amplitude: Tensor  # (O, I, 2)
    frequency: Tensor  # (O, I, 2)
    phase: Tensor  # (O, I, 2): the sine is a cosine a quarter turn late


def _unpack(parameters: Tensor) -> _Pairs:
    """Wide parameters: the angle of several turns would lose too many digits in float32."""
    wide = torch.float32 if parameters.is_mps else torch.float64  # MPS has no float64
    pairs = parameters.to(wide).permute(2, 1, 0)
    theta_y, theta_z, phase = pairs[..., 1:2], pairs[..., 2:3], pairs[..., 7:]
    (cos_y, sin_y), (cos_z, sin_z) = ((theta.cos(), theta.sin()) for theta in (theta_y, theta_z))
    return _Pairs(
        sigma=pairs[..., :1],
        row=torch.stack((cos_y * cos_z, -cos_y * sin_z, sin_y)),
        row_by_theta_y=torch.stack((-sin_y * cos_z, sin_y * sin_z, cos_y)),
        row_by_theta_z=torch.stack((-cos_y * sin_z, -cos_y * cos_z, torch.zeros_like(sin_y))),
        amplitude=pairs[..., 3:5],
        frequency=pairs[..., 5:7],
        phase=torch.cat((phase, phase - math.pi / 2), dim=-1),
    )


def _width(sigma: Tensor) -> Tensor:
    return sigma.abs().clamp(min=SMALLEST_SIGMA)


def _factors(pairs: _Pairs, offsets: Tensor, dtype: torch.dtype) -> Tensor:
    """Complex factors of the axes, (3, O, I, 2, K); the first carries the phase.

    Offsets are whole voxels, so whole cycles per voxel change nothing, nor do whole turns: without
    them the angles are finite for any frequency, and `dtype` is precise enough from here on.
    """
    cycles = pairs.frequency * pairs.row
    turns = (cycles - cycles.round())[..., None] * offsets
    turns[0] += pairs.phase[..., None] / (2 * math.pi)
    angle = 2 * math.pi * (turns - turns.round()).to(dtype)
    envelope = torch.exp(-(offsets / _width(pairs.sigma)[..., None]).square() / 2).to(dtype)
    return torch.complex(envelope * angle.cos(), envelope * angle.sin())


def _outer(y: Tensor, z: Tensor) -> Tensor:
    """Product of two factors over the plane of their axes, (..., K) -> (..., K K)."""
    return (y[..., :, None] * z[..., None, :]).flatten(-2)


def _rows(factor: Tensor) -> Tensor:
    """Both terms' real parts, then their imaginary parts: complex (..., 2, N) -> (..., 4, N)."""
    return torch.cat((factor.real, factor.imag), dim=-2)


def _pair_up(rows: Tensor) -> Tensor:
    """Inverse of `_rows`."""
    return torch.complex(*rows.chunk(2, dim=-2))


def _synthesise(parameters: Tensor, kernel_size: int) -> Tensor:
    """Kernels as the sum over the two terms of Re(amplitude * x y z), x, y, z their factors."""
    pairs = _unpack(parameters)
    offsets = voxel_offsets(kernel_size, like=pairs.sigma)
    dtype = torch.promote_types(parameters.dtype, torch.float32)
    x, y, z = _factors(pairs, offsets, dtype)
    x *= pairs.amplitude[..., None].to(dtype)
    kernel = _rows(x.conj()).mT @ _rows(_outer(y, z))
    return kernel.unflatten(-1, (kernel_size, kernel_size))


def _gradient(parameters: Tensor, grad: Tensor) -> Tensor:
    """Gradient by the parameters, (8, I, O), from the gradient by the kernels."""
    pairs = _unpack(parameters)
    offsets = voxel_offsets(grad.shape[-1], like=pairs.sigma)
    one, first, square = _moments(_factors(pairs, offsets, grad.dtype), grad)
    amplitude, width = pairs.amplitude, _width(pairs.sigma)
    by_cycles = -2 * math.pi * amplitude * first.imag
    by_row = (by_cycles * pairs.frequency).sum(dim=-1, keepdim=True)
    by_sigma = (amplitude * square.real).sum(dim=-1, keepdim=True) / width**3 * pairs.sigma.sign()
    gradients = (
        by_sigma,
        (by_row * pairs.row_by_theta_y).sum(dim=0),
        (by_row * pairs.row_by_theta_z).sum(dim=0),
        one.real,
        (by_cycles * pairs.row).sum(dim=0),
        -(amplitude * one.imag).sum(dim=-1, keepdim=True),
    )
    return torch.cat(gradients, dim=-1).permute(2, 1, 0).to(parameters.dtype)


def _moments(factors: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over a kernel of grad * x y z times 1, the three offsets, and their squared length.

    Args:
        factors: x, y, z, (3, O, I, 2, K).
        grad: (O, I, K, K, K).

    Returns:
        Complex (O, I, 2), (3, O, I, 2) and (O, I, 2).
    """
    x, y, z = factors
    plane, grad = _outer(y, z), grad.flatten(-2)
    over_plane = _pair_up(_rows(x) @ grad) * plane
    over_x = _pair_up((grad @ _rows(plane).mT).mT) * x
    offsets = voxel_offsets(x.shape[-1], like=grad)
    first, second = torch.meshgrid(offsets, offsets, indexing="ij")
    weights = torch.stack((torch.ones_like(first), first, second, first**2 + second**2), dim=-1)
    one, by_y, by_z, by_yz = (over_plane @ weights.flatten(0, 1).to(x.dtype)).unbind(-1)
    weights = torch.stack((offsets, offsets**2), dim=-1)
    by_x, by_xx = (over_x @ weights.to(x.dtype)).unbind(-1)
    return one, torch.stack((by_x, by_y, by_z)), by_xx + by_yz
