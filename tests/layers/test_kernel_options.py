import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig

from config import CONF, compose_config
from gaborseg.layers import ConventionalConv3d, GaborConv3d, GeneralGaborConv3d

KERNELS = CONF / "kernel"
C, G, E = ConventionalConv3d, GaborConv3d, GeneralGaborConv3d
PLACEMENT = {
    "conventional": [C, C, C, C, C],
    "gabor": [G, G, G, G, G],
    "mixed": [C, C, G, G, G],
    "gabor_general": [E, E, E, E, E],
    "gabor_fixed": [G, G, G, G, G],
    "conventional_5": [C, C, C, C, C],
    "gabor_3": [G, G, G, G, G],
    "gabor_5": [G, G, G, G, G],
    "gabor_9": [G, G, G, G, G],
}


def option(name: str, *overrides: str) -> DictConfig:
    return compose_config([f"kernel={name}", *overrides])


@pytest.mark.parametrize("name", sorted(path.stem for path in KERNELS.glob("*.yaml")))
def test_option_places_its_kernels_on_five_levels(name: str) -> None:
    levels = instantiate(option(name).kernel.levels)
    kinds = [type(convolution(2, 4)) for convolution in levels]
    assert kinds == PLACEMENT.get(name, kinds)
    assert len(kinds) == 5
    assert option(name).kernel.name == name


def test_kernel_size_is_set_for_all_levels_at_once() -> None:
    config = option("mixed", "kernel.conventional.kernel_size=5", "kernel.gabor.kernel_size=9")
    layers = [convolution(1, 1) for convolution in instantiate(config.kernel.levels)]
    assert [layer.weight.shape[-1] for layer in layers[:2]] == [5, 5]
    assert [layer.kernel_size for layer in layers[2:]] == [9, 9, 9]


def test_fixed_kernels_have_nothing_to_train() -> None:
    levels = instantiate(option("gabor_fixed").kernel.levels)
    assert not list(levels[0](2, 3).parameters())
