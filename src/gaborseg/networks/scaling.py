"""A trained network on volumes that are sampled more finely than those it was trained on."""

from torch import nn

from gaborseg.layers import ParametricConv3d


def scale_kernels(network: nn.Module, scale: int) -> None:
    """Fit the Gabor kernels of a network to volumes sampled `scale` times as finely; 1: as trained.

    Each layer then computes of a smooth volume what it computed of the coarser samples. Pooling and
    upsampling stay as they are: they see half the distance at `scale=2`.

    Args:
        network: Its layers are changed, not its parameters.
        scale: A positive integer.

    Raises:
        ValueError: It is none, or is not 1 and the network has kernels that have no width to scale.
    """
    for module in network.modules():
        if isinstance(module, ParametricConv3d):
            module.rescale(scale)
        elif scale != 1 and _has_free_taps(module):
            raise ValueError(
                "network.scale must be 1 for a network with conventional kernels, whose taps have "
                f"no width to scale, got {scale}; kernel=gabor has Gabor kernels alone"
            )


def _has_free_taps(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv3d | nn.ConvTranspose3d) and max(module.kernel_size) > 1
