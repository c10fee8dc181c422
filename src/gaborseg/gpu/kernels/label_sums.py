"""Triton kernels of `label_sums.py`: sums of scores and labels, log-likelihoods, and gradients."""

from __future__ import annotations

from gaborseg.gpu.kernels.jit import jit, triton

if triton is not None:
    import triton.language as tl


@jit()
def sums_kernel(
    logits: tl.tensor,
    target: tl.tensor,
    parts: tl.tensor,
    voxels: int,
    labels: tl.constexpr,
    side: tl.constexpr,
    tile: tl.constexpr,
    tiles: tl.constexpr,
) -> None:
    """Write the sums of a chunk of voxels."""
    chunk, sample, label, logits, target = _start(logits, target, voxels, labels, side)
    by_p = tl.zeros([side, tile // 4], tl.float64)
    by_pp, by_py, by_log = by_p, by_p, by_p
    by_y = tl.zeros([side, tile // 4], tl.int32)
    for step in range(tiles):
        voxel = (chunk * tiles + step) * tile + tl.arange(0, tile)[None, :]
        inside, own = _labels(target, voxel, voxels, label, labels)
        above, powers, total = _softmax(logits, voxel, inside, voxels, label, labels)
        p = (powers * tl.where(inside, 1 / total, 0)).to(tl.float64)
        by_p += _fours(p)
        by_pp += _fours(p * p)
        by_py += _fours(tl.where(own, p, 0))
        by_y += _fours(own.to(tl.int32))
        by_log += _fours(tl.where(own, above - tl.log(total), 0)).to(tl.float64)
    kind = tl.num_programs(1).to(tl.int64) * tl.num_programs(0) * labels
    at = parts + (sample * tl.num_programs(0) + chunk) * labels + tl.arange(0, side)
    there = tl.arange(0, side) < labels
    tl.store(at, tl.sum(by_p, 1), mask=there)
    tl.store(at + kind, tl.sum(by_pp, 1), mask=there)
    tl.store(at + 2 * kind, tl.sum(by_py, 1), mask=there)
    tl.store(at + 3 * kind, tl.sum(by_y, 1).to(tl.float64), mask=there)
    tl.store(at + 4 * kind, tl.sum(by_log, 1), mask=there)


@jit()
def sums_gradient_kernel(
    logits: tl.tensor,
    target: tl.tensor,
    grad: tl.tensor,
    result: tl.tensor,
    voxels: int,
    labels: tl.constexpr,
    side: tl.constexpr,
    tile: tl.constexpr,
    tiles: tl.constexpr,
) -> None:
    """Write the gradient of a chunk of voxels.

    p has the gradient w(p) = dP + 2 dPP p, plus dPY where y is 1; softmax makes that
    p (w - sum p w). The gradients come by q = k p, with k in the place of dY.
    """
    chunk, sample, label, logits, target = _start(logits, target, voxels, labels, side)
    result += sample * labels * voxels
    kind = tl.num_programs(1).to(tl.int64) * labels
    at, there = grad + sample * labels + label, label < labels
    by_p = tl.load(at, mask=there, other=0).to(tl.float32)
    by_pp = 2 * tl.load(at + kind, mask=there, other=0).to(tl.float32)
    by_py = tl.load(at + 2 * kind, mask=there, other=0).to(tl.float32)
    scale = tl.load(at + 3 * kind, mask=there, other=0).to(tl.float32)
    by_log = tl.load(at + 4 * kind, mask=there, other=0).to(tl.float32)
    for step in range(tiles):
        voxel = (chunk * tiles + step) * tile + tl.arange(0, tile)[None, :]
        inside, own = _labels(target, voxel, voxels, label, labels)
        _, powers, total = _softmax(logits, voxel, inside, voxels, label, labels)
        p = powers * (1 / total)
        q = p * scale
        weighted = q * (by_p + by_pp * q) + tl.where(own, q * by_py + by_log, 0)
        shared = tl.sum(weighted, 0)[None, :]
        _write(result, weighted - p * shared, voxel, inside, voxels, label, labels)


@jit()
def likelihood_kernel(
    logits: tl.tensor,
    target: tl.tensor,
    result: tl.tensor,
    voxels: int,
    labels: tl.constexpr,
    side: tl.constexpr,
    tile: tl.constexpr,
    tiles: tl.constexpr,
) -> None:
    """Write the log-softmax at the target of a chunk of voxels."""
    chunk, sample, label, logits, target = _start(logits, target, voxels, labels, side)
    result += sample * voxels
    for step in range(tiles):
        voxel = (chunk * tiles + step) * tile + tl.arange(0, tile)[None, :]
        inside, own = _labels(target, voxel, voxels, label, labels)
        above, _, total = _softmax(logits, voxel, inside, voxels, label, labels)
        value = tl.sum(tl.where(own, above, 0), 0)[None, :] - tl.log(total)
        tl.store(result + voxel, value, mask=inside)


@jit()
def likelihood_gradient_kernel(
    logits: tl.tensor,
    target: tl.tensor,
    grad: tl.tensor,
    result: tl.tensor,
    voxels: int,
    labels: tl.constexpr,
    side: tl.constexpr,
    tile: tl.constexpr,
    tiles: tl.constexpr,
) -> None:
    """Write the gradient of the log-softmax at the target of a chunk of voxels."""
    chunk, sample, label, logits, target = _start(logits, target, voxels, labels, side)
    result += sample * labels * voxels
    grad += sample * voxels
    for step in range(tiles):
        voxel = (chunk * tiles + step) * tile + tl.arange(0, tile)[None, :]
        inside, own = _labels(target, voxel, voxels, label, labels)
        _, powers, total = _softmax(logits, voxel, inside, voxels, label, labels)
        by_log = tl.load(grad + voxel, mask=inside, other=0).to(tl.float32)
        value = tl.where(own, by_log, 0) - powers * (by_log / total)
        _write(result, value, voxel, inside, voxels, label, labels)


@jit()
def _start(
    logits: tl.tensor,
    target: tl.tensor,
    voxels: tl.tensor,
    labels: tl.constexpr,
    side: tl.constexpr,
) -> tl.tuple:
    """Return a program's chunk and sample, all labels, (C, 1), and where the sample begins."""
    chunk, sample = tl.program_id(0), tl.program_id(1).to(tl.int64)
    label = tl.arange(0, side)[:, None]
    return chunk, sample, label, logits + sample * labels * voxels, target + sample * voxels


@jit()
def _labels(
    target: tl.tensor,
    voxel: tl.tensor,
    voxels: tl.tensor,
    label: tl.tensor,
    labels: tl.constexpr,
) -> tl.tuple:
    """Tell which voxels exist, (1, V), and which label is a voxel's own, (C, V)."""
    inside = voxel < voxels
    found = tl.load(target + voxel, mask=inside, other=0)
    there = (found >= 0) & (found < labels)
    tl.device_assert(there, "label out of bounds")
    return inside, label == tl.where(inside & there, found.to(tl.int32), -1)


@jit()
def _softmax(
    logits: tl.tensor,
    voxel: tl.tensor,
    inside: tl.tensor,
    voxels: tl.tensor,
    label: tl.tensor,
    labels: tl.constexpr,
) -> tl.tuple:
    """Return logits less a voxel's largest, (C, V), their exponentials, and the sum of these."""
    absent = tl.where(label < labels, 0, float("-inf"))
    there = inside & (label < labels)
    values = tl.load(logits + label.to(tl.int64) * voxels + voxel, mask=there, other=absent)
    values = values.to(tl.float32)
    above = values - tl.max(values, 0)[None, :]
    powers = tl.exp(above)
    return above, powers, tl.sum(powers, 0)[None, :]


@jit()
def _fours(values: tl.tensor) -> tl.tensor:
    """Return the sums of four neighbours, which are in one thread: (C, V) -> (C, V / 4)."""
    return tl.sum(values.reshape([values.shape[0], values.shape[1] // 4, 4]), 2)


@jit()
def _write(
    result: tl.tensor,
    values: tl.tensor,
    voxel: tl.tensor,
    inside: tl.tensor,
    voxels: tl.tensor,
    label: tl.tensor,
    labels: tl.constexpr,
) -> None:
    """Store a tile, (C, V), in the dtype of the result."""
    at = result + label.to(tl.int64) * voxels + voxel
    tl.store(at, values.to(result.dtype.element_ty), mask=inside & (label < labels))
