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

The factors and their gradient are in `separable.py`. The equation is computed in four more places
for speed, and in one for exported graphs; tests hold all of them to each other: `csrc/synthesis.h`
(kernels, C++), `csrc/transfer.h` (their spectra, C++; both from the separable taps of
`csrc/pair.h`), `portable.py` (spectra, torch), `gpu/synthesis.py` (kernels, on a GPU), and
`written_out.py` (kernels, voxel by voxel).

References:
    Wong and Moradi, 3D Segmentation with Fully Trainable Gabor Kernels and Pearson's Correlation
    Coefficient, MLMI 2022, eq. (2).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from gaborseg.layers.draws import Draw, InitialScheme, draw_gabor, equal_energy
from gaborseg.layers.grid import check_convolution, one_side, without_autocast
from gaborseg.layers.parametric import EQUAL_RATES, ParametricConv3d
from gaborseg.layers.separable import SeparableKernel
from gaborseg.layers.spectral import (
    check_parameters,
    spectral_conv3d,
    synthesise_op,
    synthesises_fused,
    working_dtype,
)
from gaborseg.layers.spectral_gpu import goes_by_spectra, spectral_gpu_conv3d
from gaborseg.layers.storage import SigmaScale
from gaborseg.layers.written_out import written_out_kernel

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


class GaborConv3d(ParametricConv3d):
    """'Same' convolution with the paper's Gabor kernels, eq. (2): eight parameters for each pair.

    y_o = sum_i G_oi * x_i (+ bias_o), G as at the top of this file. On a CPU the layer multiplies
    spectra, exactly, whatever the kernel's size; elsewhere it computes the kernels and convolves,
    or multiplies spectra where `gaborseg benchmark tune` has found that to be faster.

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
        stride: Keep every so manieth voxel of the output along each axis, from the first on; all
            are computed. One number, or one for each axis.
        dilation: 1; widths and frequencies are trained, so that taps need no holes between them.
        groups: 1.

    Shape:
        (B, I, D, H, W) -> (B, O, D, H, W), for any volume; a stride divides D, H, W, rounded up.

    Raises:
        TypeError: `kernel_size` is not an integer.
        ValueError: A channel count is below 1, `kernel_size` is even, below 1 or three different
            numbers, `dilation` or `groups` is not 1, a rate is of no such kind or out of range, or
            there is no such scheme or scale.

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
        kernel_size: int | Sequence[int] = 7,
        *,
        bias: bool = False,
        trainable: bool = True,
        initial: InitialScheme = "white",
        rates: Mapping[str, float] = EQUAL_RATES,
        sigma_scale: SigmaScale = "raw",
        stride: int | Sequence[int] = 1,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> None:
        side = one_side("kernel_size", kernel_size)
        _refuse_others_than_one(dilation=dilation, groups=groups)
        super().__init__(
            initial_gabor(in_channels, out_channels, side, initial),
            side,
            bias=bias,
            trainable=trainable,
            rates=rates,
            sigma_scale=sigma_scale,
            stride=stride,
        )

    def synthesise(self, parameters: Tensor) -> Tensor:
        """Kernels of eq. (2), (8, I, O) -> (O, I, K, K, K), by the fastest code for the device."""
        return synthesise(parameters, self.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Filter a volume: (B, I, D, H, W) -> (B, O, D, H, W)."""
        if torch.compiler.is_exporting():
            return super().forward(x)
        if x.device.type == "cpu":
            convolve = spectral_conv3d
        elif goes_by_spectra(x, self.gabor, self.kernel_size):
            convolve = spectral_gpu_conv3d
        else:
            return super().forward(x)
        y = convolve(x, self.parameters_of_kernels(), self.kernel_size)
        return self.strided(y if self.bias is None else y + self.bias.view(-1, 1, 1, 1).to(y.dtype))


def _refuse_others_than_one(**options: int | Sequence[int]) -> None:
    """Refuse options of a convolution that Gabor kernels do not have.

    Raises:
        ValueError: One is not 1.
    """
    for name, value in options.items():
        if one_side(name, value) != 1:
            raise ValueError(f"{name} must be 1 for Gabor kernels, got {value}")


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
    if torch.compiler.is_exporting():
        return written_out_kernel(values, kernel_size).to(parameters.dtype)
    if synthesises_fused(values, kernel_size):
        return synthesise_op(values, kernel_size).to(parameters.dtype)
    if parameters.device.type == "cpu":
        values = values.double()
    with without_autocast(parameters):
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
    kernel: Tensor = SeparableKernel.apply(parameters, kernel_size)
    return kernel
