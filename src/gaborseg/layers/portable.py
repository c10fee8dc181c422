"""Gabor convolution by spectra in torch alone: without the native code, and a twin of the GPU's.

The mathematics is that of `csrc/transfer.h`, all of it in float64: along an axis of period N, the
symmetric taps of a wave make a real spectrum E(k) + O(k), even and odd in k. With the waves at f_re
and f_im told by an index w, and p_w = E_0 E_1 + O_0 O_1, m_w = E_0 O_1 + O_0 E_1 on the plane of
the first two axes, the spectrum of a kernel is

    sum_w p_w (a_w E_2) + m_w (a_w O_2)  +  i sum_w m_w (b_w E_2) + p_w (b_w O_2),
    a = (A_re cos psi, A_im sin psi),  b = (A_re sin psi, -A_im cos psi).

`factor_tables` makes the factors, differentiably; an operator of its own multiplies by their
products, one input channel at a time, so that no spectrum of all kernels is ever kept.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gaborseg.layers.grid import SMALLEST_SIGMA

_FREQUENCIES_AT_ONCE = 2**16
"""Of all output channels in a block: few enough for the cache."""


def portable_conv3d(x: Tensor, parameters: Tensor, kernel_size: int) -> Tensor:
    """'Same' zero-padded convolution with Gabor kernels: (B, I, D, H, W) -> (B, O, D, H, W).

    Args:
        x: Volumes.
        parameters: The eight Gabor parameters of each pair, (8, I, O).
        kernel_size: Odd side of the kernel, in voxels.
    """
    tables = factor_tables(parameters.double(), x.shape[2:], kernel_size)
    return multiply_spectra_op(x, *tables)


def factor_tables(
    parameters: Tensor, size: Sequence[int], kernel_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the factors of all kernels' spectra in float64.

    Returns:
        E_0 of both waves, then O_0, (I, O, 4, N_0); the same of axis 1, (I, O, 4, N_1); and what
        p and m are multiplied by in the real and in the imaginary part of the spectrum,
        (I, 2, O, 4, N_2 // 2 + 1): x is real, so half the frequencies tell all.
    """
    sigma, theta_y, theta_z, amplitude_re, amplitude_im, f_re, f_im, phase = parameters
    cosine_y = theta_y.cos()
    direction = (cosine_y * theta_z.cos(), -cosine_y * theta_z.sin(), theta_y.sin())
    frequency = torch.stack((f_re, f_im), dim=-1)
    (e0, o0), (e1, o1), (e2, o2) = (
        _axis_factors(sigma, frequency * along[..., None], length, kernel_size)
        for along, length in zip(direction, size, strict=True)
    )
    half = e2.shape[-1] // 2 + 1
    even, odd = e2[..., :half], o2[..., :half]
    a = torch.stack((amplitude_re * phase.cos(), amplitude_im * phase.sin()), dim=-1)[..., None]
    b = torch.stack((amplitude_re * phase.sin(), -amplitude_im * phase.cos()), dim=-1)[..., None]
    real, imaginary = torch.cat((a * even, a * odd), 2), torch.cat((b * odd, b * even), 2)
    return torch.cat((e0, o0), 2), torch.cat((e1, o1), 2), torch.stack((real, imaginary), 1)


def _axis_factors(
    sigma: Tensor, cycles: Tensor, size: int, kernel_size: int
) -> tuple[Tensor, Tensor]:
    """Return E and O of both waves on one axis, (I, O, 2, N) each.

    Args:
        sigma: (I, O).
        cycles: Frequency along the axis, (I, O, 2). Whole cycles per voxel change nothing.
        size: Voxels along the axis. Taps as far from the centre only ever meet padding.
        kernel_size: Side of the kernel, in voxels.
    """
    radius = min(kernel_size // 2, size - 1)
    period = (
        size + radius
    ) | 1  # what wraps around lands in the padding; odd: no Nyquist frequency
    offsets = torch.arange(1, radius + 1, dtype=sigma.dtype, device=sigma.device)
    width = sigma.abs().clamp(min=SMALLEST_SIGMA)[..., None, None]
    envelope = torch.exp(-(offsets / width).square() / 2)
    angle = 2 * math.pi * (cycles - cycles.round())[..., None] * offsets
    waves = 2 * math.pi / period * offsets[:, None] * torch.arange(period, device=sigma.device)
    even = 1 + 2 * (envelope * angle.cos()) @ waves.cos()
    odd = -2 * (envelope * angle.sin()) @ waves.sin()
    return even, odd


@torch.library.custom_op("gaborseg::multiply_spectra", mutates_args=())
def multiply_spectra_op(x: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    """Convolve: (B, I, D, H, W) and the tables of `factor_tables` -> (B, O, D, H, W)."""
    period = _periods(first, second, third)
    x_re, x_im = transform(x, period)
    y_re, y_im = (x_re.new_zeros(len(x), first.shape[1], *x_re.shape[2:]) for _ in range(2))
    for rows in blocks(y_re):
        re, im = (torch.zeros_like(y[:, :, rows]).flatten(2) for y in (y_re, y_im))
        for i in range(first.shape[0]):
            _, t_re, t_im = spectrum(first[i, ..., rows], second[i], third[i])
            u, v = (part[:, i, None, rows].flatten(2) for part in (x_re, x_im))
            re.addcmul_(t_re, u).addcmul_(t_im, v, value=-1)
            im.addcmul_(t_re, v).addcmul_(t_im, u)
        for part, value in ((y_re, re), (y_im, im)):
            part[:, :, rows] = value.view_as(part[:, :, rows])
    return _transform_back(y_re, y_im, period, x)


@torch.library.custom_op("gaborseg::multiply_spectra_backward", mutates_args=())
def _multiply_spectra_backward_op(
    grad: Tensor,
    x: Tensor,
    first: Tensor,
    second: Tensor,
    third: Tensor,
    x_wanted: bool,
    tables_wanted: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x and of the tables; those that are not wanted are empty."""
    period = _periods(first, second, third)
    tables = first, second, third
    g_re, g_im = transform(grad, period)
    x_grad, table_grads = x.new_empty(0), [table.new_empty(0) for table in tables]
    if x_wanted:
        x_grad = _transform_back(*_input_gradient(g_re, g_im, tables), period, x)
    if tables_wanted:
        weight = x.new_full((third.shape[-1],), 2 / math.prod(period), dtype=third.dtype)
        weight[0] /= 2  # the other frequencies stand for two
        x_re, x_im = (part * weight for part in transform(x, period))
        table_grads = _table_gradients(g_re, g_im, x_re, x_im, tables)
    first_grad, second_grad, third_grad = table_grads
    return x_grad, first_grad, second_grad, third_grad


def _input_gradient(
    g_re: Tensor, g_im: Tensor, tables: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Spectrum of the gradient of x: dX_i = sum_o conj(T_io) dY_o, real and imaginary part."""
    first, second, third = tables
    result = [g_re.new_empty(len(g_re), len(first), *g_re.shape[2:]) for _ in range(2)]
    for rows in blocks(g_re):
        u, v = (part[:, :, rows].flatten(2) for part in (g_re, g_im))
        for i in range(len(first)):
            _, t_re, t_im = spectrum(first[i, ..., rows], second[i], third[i])
            re = (t_re * u).addcmul_(t_im, v).sum(1)
            im = (t_re * v).addcmul_(t_im, u, value=-1).sum(1)
            for part, value in zip(result, (re, im), strict=True):
                part[:, i, rows] = value.view_as(part[:, i, rows])
    return result[0], result[1]


def _table_gradients(
    g_re: Tensor, g_im: Tensor, x_re: Tensor, x_im: Tensor, tables: tuple[Tensor, Tensor, Tensor]
) -> list[Tensor]:
    """Gradients of the tables from dT_io = dY_o conj(X_i), x weighted by frequency."""
    gradients = [torch.zeros_like(table) for table in tables]
    for rows in blocks(g_re):
        u, v = (part[:, :, rows] for part in (g_re, g_im))
        for i in range(len(tables[0])):
            re, im = (part[:, i, None, rows] for part in (x_re, x_im))
            t_re = (u * re).addcmul_(v, im).sum(0).flatten(1, 2)
            t_im = (v * re).addcmul_(u, im, value=-1).sum(0).flatten(1, 2)
            _add_gradients(t_re, t_im, [t[i] for t in tables], [g[i] for g in gradients], rows)
    return gradients


def _add_gradients(
    t_re: Tensor, t_im: Tensor, tables: list[Tensor], gradients: list[Tensor], rows: slice
) -> None:
    """Add what the gradient of one input channel's spectra, on some rows, means for its tables."""
    first, second, third = tables[0][..., rows], tables[1], tables[2]
    waves = _plane(first, second)
    gradients[2][0].baddbmm_(waves, t_re)
    gradients[2][1].baddbmm_(waves, t_im)
    by_waves = torch.bmm(third[0], t_re.mT).baddbmm_(third[1], t_im.mT)
    p, m = by_waves.unflatten(2, (first.shape[-1], second.shape[-1])).split(2, dim=1)
    e0, o0 = first[..., None].split(2, dim=1)
    e1, o1 = second[:, :, None].split(2, dim=1)
    gradients[0][..., rows] += torch.cat((p * e1 + m * o1, p * o1 + m * e1), 1).sum(3)
    gradients[1] += torch.cat((p * e0 + m * o0, p * o0 + m * e0), 1).sum(2)


def spectrum(first: Tensor, second: Tensor, third: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return p and m, and real and imaginary part of one input channel's spectra, (O, rows)."""
    waves = _plane(first, second)
    t_re, t_im = ((waves.mT @ factor).flatten(1) for factor in third)
    return waves, t_re, t_im


def _plane(first: Tensor, second: Tensor) -> Tensor:
    """Return p, then m, of both waves: (O, 4, n) and (O, 4, N_1) -> (O, 4, n N_1)."""
    e0, o0 = first[..., None].split(2, dim=1)
    e1, o1 = second[:, :, None].split(2, dim=1)
    return torch.cat((e0 * e1 + o0 * o1, e0 * o1 + o0 * e1), dim=1).flatten(2)


def _periods(first: Tensor, second: Tensor, third: Tensor) -> tuple[int, int, int]:
    """Return the periods of the axes."""
    return first.shape[-1], second.shape[-1], 2 * third.shape[-1] - 1


def transform(x: Tensor, period: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Return real and imaginary part of the spectra of volumes, (B, C, N_0, N_1, N_2 // 2 + 1)."""
    spectra = torch.fft.rfftn(x.double(), s=period, dim=(2, 3, 4))
    return spectra.real.contiguous(), spectra.imag.contiguous()


def _transform_back(re: Tensor, im: Tensor, period: tuple[int, int, int], like: Tensor) -> Tensor:
    """Return volumes of the size and dtype of others."""
    depth, height, width = like.shape[2:]
    volumes = torch.fft.irfftn(torch.complex(re, im), s=period, dim=(2, 3, 4))
    return volumes[:, :, :depth, :height, :width].to(like.dtype).contiguous()


def blocks(spectra: Tensor) -> Iterator[slice]:
    """Yield blocks of the first frequency that are small enough, for spectra (B, O, N_0, ...)."""
    _, outputs, count, *rest = spectra.shape
    step = max(1, _FREQUENCIES_AT_ONCE // (outputs * math.prod(rest)))
    for begin in range(0, count, step):
        yield slice(begin, min(begin + step, count))


@multiply_spectra_op.register_fake
def _(x: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], first.shape[1], *x.shape[2:])


@_multiply_spectra_backward_op.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    first: Tensor,
    second: Tensor,
    third: Tensor,
    x_wanted: bool,
    tables_wanted: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x_grad = x.new_empty(x.shape if x_wanted else 0)
    first, second, third = (
        table.new_empty(table.shape if tables_wanted else 0) for table in (first, second, third)
    )
    return x_grad, first, second, third


def _save_inputs(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    """Keep volumes and tables for the backward pass."""
    ctx.save_for_backward(*inputs)


def _multiply_spectra_gradient(ctx, grad):  # type: ignore[no-untyped-def]
    """Return the gradients of x and of the tables, as far as somebody needs them."""
    wanted = ctx.needs_input_grad[0], any(ctx.needs_input_grad[1:])
    gradients = _multiply_spectra_backward_op(grad, *ctx.saved_tensors, *wanted)
    return tuple(
        gradient if needed else None
        for gradient, needed in zip(gradients, ctx.needs_input_grad, strict=True)
    )


multiply_spectra_op.register_autograd(_multiply_spectra_gradient, setup_context=_save_inputs)
