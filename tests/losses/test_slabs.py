import pytest
import torch

from gaborseg.losses import slabs
from gaborseg.losses.slabs import SlabLogLikelihood, SlabSums, sum_by_label


@pytest.mark.parametrize("slab_voxels", [1, 50, 10**6])
@pytest.mark.parametrize("function", [SlabSums, SlabLogLikelihood])
def test_the_size_of_a_slab_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, slab_voxels: int, function: type[torch.autograd.Function]
) -> None:
    logits = torch.randn(2, 4, 6, 5, 4, dtype=torch.float64)
    target = torch.randint(4, (2, 6, 5, 4))
    results = []
    for voxels in (slabs.SLAB_VOXELS, slab_voxels):
        monkeypatch.setattr(slabs, "SLAB_VOXELS", voxels)
        leaf = logits.clone().requires_grad_()
        value = function.apply(leaf, target).square().sum()
        results.append((value, *torch.autograd.grad(value, leaf)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)


def test_masked_sums_for_the_gpu_equal_scattered_ones() -> None:
    values, index = torch.rand(2, 50, dtype=torch.float64), torch.randint(4, (2, 50))
    torch.testing.assert_close(
        slabs._masked_sum_by_label(values, index, 5), sum_by_label(values, index, 5)
    )
