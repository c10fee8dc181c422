import math
from typing import get_args

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from gaborseg.layers import gabor_kernel
from gaborseg.layers.general_gabor import GENERAL_PARAMETERS, Part, general_gabor_kernel


def general_parameters(in_channels: int = 2, out_channels: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    parameters = torch.rand(9, in_channels, out_channels, dtype=torch.float64, generator=draw)
    parameters[:3] += 0.7
    parameters[3:6] *= 2 * math.pi
    return parameters


@pytest.mark.parametrize("part", get_args(Part))
def test_one_voxel_at_a_time_gives_the_same(part: Part) -> None:
    parameters = general_parameters(1, 1)
    kernel = general_gabor_kernel(parameters, 5, part)[0, 0]
    *values, amplitude, frequency, phase = parameters.flatten().tolist()
    rotation = Rotation.from_euler("XYZ", values[3:]).as_matrix()  # Rx Ry Rz
    for voxel in ((0, 0, 0), (4, 1, 2), (3, 3, 0), (2, 2, 2)):
        x, y, z = rotation @ [v - 2 for v in voxel]
        envelope = sum((a / s) ** 2 for a, s in zip((x, y, z), values[:3], strict=True))
        angle = 2 * math.pi * frequency * x + phase
        waves = {"real": math.cos(angle), "imaginary": math.sin(angle)}
        wave = waves.get(part, sum(waves.values()))
        want = amplitude * math.exp(-envelope / 2) * wave
        assert kernel[voxel].item() == pytest.approx(want, abs=1e-14)


def test_both_is_the_sum_of_the_parts() -> None:
    real, imaginary, both = (
        general_gabor_kernel(general_parameters(), 5, part)
        for part in ("real", "imaginary", "both")
    )
    torch.testing.assert_close(both, real + imaginary)


def test_equal_sigmas_give_equation_two_whatever_theta_x() -> None:
    general = general_parameters()
    general[1:3] = general[0]
    sigma, _, _, _, theta_y, theta_z, amplitude, frequency, phase = general
    special = (sigma, theta_y, theta_z, amplitude, amplitude, frequency, frequency, phase)
    want = gabor_kernel(torch.stack(special), 7)
    torch.testing.assert_close(general_gabor_kernel(general, 7), want)


@pytest.mark.parametrize("part", get_args(Part))
def test_gradient_is_that_of_finite_differences(part: Part) -> None:
    parameters = general_parameters().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: general_gabor_kernel(p, 3, part), parameters)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-30, -1e-3, 1e4, -1e20])
@pytest.mark.parametrize("name", GENERAL_PARAMETERS)
def test_extreme_parameters_stay_finite(name: str, size: float, dtype: torch.dtype) -> None:
    parameters = general_parameters(1, 1).to(dtype)
    parameters[GENERAL_PARAMETERS.index(name)] = size
    kernel = general_gabor_kernel(parameters.requires_grad_(), 5)
    (gradient,) = torch.autograd.grad(kernel.sum(), parameters)
    assert kernel.isfinite().all()
    assert gradient.isfinite().all()


def test_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="part must be one of real, imaginary, both, got 'phase'"):
        general_gabor_kernel(general_parameters(), 3, "phase")  # type: ignore[arg-type]


def test_eight_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"parameters must be \(9, I, O\), got \(8, 2, 2\)"):
        general_gabor_kernel(torch.zeros(8, 2, 2), 3)
