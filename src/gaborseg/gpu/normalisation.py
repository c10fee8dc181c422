"""Group normalisation and activation of a convolution's result, or the sum of two such, as one.

On a GPU that is two Triton kernels each way (`kernels/normalisation_forward.py` and its backward
pass) or, where these cannot be used, `group_norm` and the activation itself. Elsewhere the modules
run one after the other.

A result has the dtype of its input: under bfloat16 autocast, where torch's normalisation makes
float32 of a bfloat16 volume, it stays bfloat16. Statistics and gradients of weights are float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gaborseg.gpu.group_norm import group_norm
from gaborseg.gpu.trust import TwinCheck, largest_difference, trusted

_PROGRAMS = 1024
"""Chunks that a volume is cut into, at most or one a channel: they fill a large GPU."""
_BLOCK = 2048
"""Voxels that a program holds at once; chunks are multiples of it."""
_WARPS = 4
_MOST_VOXELS = 2**30
"""Of one channel: offsets within it are 32-bit integers."""

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Normalised(NamedTuple):
    """What a volume is to be normalised and activated with."""

    volume: Tensor
    """(B, C, *S)."""
    norm: nn.Module
    activation: nn.Module


class Rule(NamedTuple):
    """An activation that the kernels know: y if y > 0, else slope * (e^y - 1), or slope * y."""

    slope: float
    exponential: bool


def fuses(features: Tensor) -> bool:
    """Whether `sum_of_normalised` is for these features: on a GPU, and not under a compiler.

    Elsewhere the modules run one after the other, as they always did; `torch.compile` and
    `torch.export` see them, too.
    """
    return features.is_cuda and not torch.compiler.is_compiling()


def sum_of_normalised(*units: Normalised) -> Tensor:
    """Return the sum of the activations of one or two normalised volumes, (B, C, *S).

    Args:
        units: Volumes of one shape, each with its normalisation and its activation.

    Example:
        >>> unit = Normalised(torch.randn(1, 4, 5, 5, 5), nn.GroupNorm(2, 4), nn.ELU())
        >>> sum_of_normalised(unit).shape
        torch.Size([1, 4, 5, 5, 5])
    """
    rule = _rule_for(units)
    if rule and all(trusted(_check(unit.volume.dtype, rule), unit.volume.device) for unit in units):
        return fused_sum(units, rule)
    volumes = [unit.activation(_normalised(unit)) for unit in units]
    return volumes[0] if len(volumes) == 1 else volumes[0] + volumes[1]


def _normalised(unit: Normalised) -> Tensor:
    norm: Any = unit.norm
    if _is_plain(norm):
        return group_norm(unit.volume, norm.weight, norm.bias, norm.num_groups, norm.eps)
    return norm(unit.volume)


def _is_plain(norm: nn.Module) -> bool:
    return type(norm) is nn.GroupNorm and norm.affine


def _rule_for(units: Sequence[Normalised]) -> Rule | None:
    """The rule of the units' activations, if the kernels can apply it to these volumes."""
    rules = {rule_of(unit.activation) for unit in units}
    shapes = {(unit.volume.shape, getattr(unit.norm, "num_groups", None)) for unit in units}
    fits = all(_fits(unit.volume) and _is_plain(unit.norm) for unit in units)
    return rules.pop() if fits and len(rules) == len(shapes) == 1 else None


def _fits(volume: Tensor) -> bool:
    return volume.dtype in _DTYPES and 0 < volume.shape[2:].numel() <= _MOST_VOXELS


def rule_of(activation: nn.Module) -> Rule | None:
    """The kernels' rule for an activation, if they know it."""
    match activation:
        case nn.ELU():
            return Rule(activation.alpha, exponential=True)
        case nn.LeakyReLU():
            return Rule(activation.negative_slope, exponential=False)
        case nn.ReLU():
            return Rule(0.0, exponential=False)
    return None


def fused_sum(units: Sequence[Normalised], rule: Rule) -> Tensor:
    """Return the sum of the activations of one or two normalised volumes, in Triton."""
    norms: list[Any] = [unit.norm for unit in units]
    tensors = [
        tensor
        for unit, norm in zip(units, norms, strict=True)
        for tensor in (unit.volume, norm.weight, norm.bias)
    ]
    eps = [norm.eps for norm in norms]
    result: Tensor = _FusedSum.apply(rule, norms[0].num_groups, eps, *tensors)
    return result


class _Layout(NamedTuple):
    """How contiguous volumes (B, C, *S) are cut into groups of channels and chunks of voxels."""

    samples: int
    channels: int
    width: int
    """Channels of a group."""
    voxels: int
    """Of one channel of one sample."""
    chunk: int
    chunks: int

    @classmethod
    def of(cls, volume: Tensor, groups: int) -> _Layout:
        """Return the layout of a volume: it depends on its shape alone, not on the card."""
        samples, channels = volume.shape[:2]
        voxels = volume.shape[2:].numel()
        parts = max(1, _PROGRAMS // (samples * channels))
        chunk = -(-voxels // (parts * _BLOCK)) * _BLOCK
        chunks = -(-voxels // chunk)
        return cls(samples, channels, channels // groups, voxels, chunk, chunks)

    @property
    def programs(self) -> int:
        """One a chunk."""
        return self.samples * self.channels * self.chunks


class _FusedSum(torch.autograd.Function):
    """Saves the volumes, the weights and biases, and the statistics."""

    @staticmethod
    def forward(
        ctx: Any, rule: Rule, groups: int, eps: Sequence[float], *tensors: Tensor
    ) -> Tensor:
        volumes = [volume.contiguous() for volume in tensors[::3]]
        weights, biases = tensors[1::3], tensors[2::3]
        ctx.rule, ctx.layout = rule, _Layout.of(volumes[0], groups)
        result, statistics = _forward(rule, ctx.layout, eps, volumes, weights, biases)
        ctx.save_for_backward(statistics, *volumes, *weights, *biases)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        statistics, *saved = ctx.saved_tensors
        operands = [saved[start :: len(saved) // 3] for start in range(len(saved) // 3)]
        volumes, weights, biases = zip(*operands, strict=True)
        grads = _backward(
            ctx.rule, ctx.layout, grad.contiguous(), statistics, volumes, weights, biases
        )
        return None, None, None, *grads


def _forward(
    rule: Rule,
    layout: _Layout,
    eps: Sequence[float],
    volumes: Sequence[Tensor],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Return the result, and the statistics of each volume's groups, (V, B G, 3)."""
    from gaborseg.gpu.kernels import normalisation_forward as kernels  # slow to import

    first, second = volumes[0], volumes[-1]
    samples, channels, width, voxels, chunk, chunks = layout
    pair = len(volumes) == 2
    constants = {"pair": pair, "block": _BLOCK, "num_warps": _WARPS}
    moments = first.new_empty(len(volumes), layout.programs, 2, dtype=torch.float64)
    statistics = first.new_empty(len(volumes), samples * channels // width, 3, dtype=torch.float32)
    result = torch.empty_like(first, dtype=torch.promote_types(first.dtype, second.dtype))
    affine = weights[0], biases[0], weights[-1], biases[-1]
    grid = (layout.programs,)
    with torch.cuda.device_of(first):
        kernels.moments_kernel[grid](first, second, moments, voxels, chunk, chunks, **constants)
        kernels.forward_kernel[grid](
            first,
            second,
            result,
            moments,
            statistics,
            *affine,
            eps[0],
            eps[-1],
            rule.slope,
            voxels,
            chunk,
            chunks,
            channels,
            width,
            exponential=rule.exponential,
            **constants,
        )
    return result, statistics


def _backward(
    rule: Rule,
    layout: _Layout,
    grad: Tensor,
    statistics: Tensor,
    volumes: Sequence[Tensor],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
) -> list[Tensor]:
    """Return the gradients by each volume, its weight and its bias."""
    from gaborseg.gpu.kernels import normalisation_backward as kernels

    samples, channels, width, voxels, chunk, chunks = layout
    pair = len(volumes) == 2
    constants = {
        "exponential": rule.exponential,
        "pair": pair,
        "block": _BLOCK // 2 if pair else _BLOCK,
        "num_warps": _WARPS,
    }
    sums = statistics.new_empty(len(volumes), layout.programs, 2)
    parameter_grads = statistics.new_empty(len(volumes), 2, channels)
    volume_grads = [torch.empty_like(volume) for volume in volumes]
    affine = weights[0], biases[0], weights[-1], biases[-1]
    both = volumes[0], volumes[-1]
    sizes = voxels, chunk, chunks, channels, width
    grid = (layout.programs,)
    with torch.cuda.device_of(grad):
        kernels.sums_kernel[grid](
            grad, *both, sums, statistics, *affine, rule.slope, *sizes, **constants
        )
        kernels.backward_kernel[grid](
            grad,
            *both,
            volume_grads[0],
            volume_grads[-1],
            sums,
            statistics,
            *affine,
            parameter_grads,
            rule.slope,
            *sizes,
            samples,
            **constants,
        )
    return [
        tensor
        for by_volume, (by_bias, by_weight) in zip(volume_grads, parameter_grads, strict=True)
        for tensor in (by_volume, by_weight, by_bias)
    ]


@cache
def _check(dtype: torch.dtype, rule: Rule) -> TwinCheck:
    bound = 1e-5 if dtype == torch.float32 else 1e-2
    return TwinCheck("normalisation", partial(_difference, dtype, rule), bound)


def _difference(dtype: torch.dtype, rule: Rule, device: torch.device) -> float:
    """Return the largest relative difference between kernels and twin, gradients included."""
    draw = torch.Generator().manual_seed(0)
    shapes = [(2, 4, 9, 16, 16), (4,), (4,)] * 2  # two chunks a channel
    leaves = [torch.randn(shape, generator=draw).to(device) for shape in shapes]
    leaves[::3] = [volume.to(dtype) for volume in leaves[::3]]
    grad = torch.randn(shapes[0], generator=draw).to(device, dtype)
    ours: list[Tensor] = []
    twins: list[Tensor] = []
    for count in (3, 6):
        fused, twin = partial(_FusedSum.apply, rule, 2, (1e-5, 1e-5)), partial(_twin, rule)
        ours += _with_gradients(fused, leaves[:count], grad)
        twins += _with_gradients(twin, [leaf.float() for leaf in leaves[:count]], grad.float())
    return largest_difference(ours, twins)


def _with_gradients(
    function: Callable[..., Tensor], values: Sequence[Tensor], grad: Tensor
) -> list[Tensor]:
    """Return a function's result and its gradients."""
    leaves = [value.clone().requires_grad_() for value in values]
    result = function(*leaves)
    return [result.detach(), *torch.autograd.grad(result, leaves, grad)]


def _twin(rule: Rule, *tensors: Tensor) -> Tensor:
    """The sum in torch's operators, two groups."""
    volumes = zip(tensors[::3], tensors[1::3], tensors[2::3], strict=True)
    activation = F.elu if rule.exponential else F.leaky_relu
    first, *second = (activation(group_norm(*v, groups=2, eps=1e-5), rule.slope) for v in volumes)
    return first + second[0] if second else first
