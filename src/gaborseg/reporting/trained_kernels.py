"""The computed kernels of a finished run, before and after its training."""

from collections.abc import Sequence
from pathlib import Path

import torch

from gaborseg.models import ModelError, build_network, load_trained
from gaborseg.pictures import KernelLayer, kernel_layers


def trained_kernels(checkpoint: Path, trust: Sequence[str] = ()) -> list[KernelLayer]:
    """The layers of a trained network that compute their kernels, none if it has no such layer.

    The kernels that the training started from are not stored. They follow from the run's seed, with
    the version of torch that it was trained with.

    Args:
        checkpoint: A checkpoint in its run folder, or the run folder, whose best epoch is taken.
        trust: Modules and packages of the user's whose layers may be built.

    Raises:
        ModelError: The checkpoint cannot be read, no configuration with a seed is beside it, or the
            training started from trained kernels, not from those of its seed.
    """
    trained = load_trained(checkpoint, trust=trust)
    seed = trained.config.get("seed")
    if not isinstance(seed, int):
        raise ModelError(f"{trained.checkpoint} must be in its run folder, which holds the seed")
    if weights := trained.config.get("weights"):
        raise ModelError(f"the training started from the kernels of {weights['path']}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = build_network(trained.config["network"], trust)
    return kernel_layers(start, trained.network)
