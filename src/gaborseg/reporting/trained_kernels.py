"""The Gabor kernels of a finished run, before and after its training."""

from pathlib import Path

import torch

from gaborseg.models import ModelError, build_network, load_trained
from gaborseg.pictures import GaborLayer, gabor_layers


def trained_kernels(checkpoint: Path) -> list[GaborLayer]:
    """Return the layers of a trained network with kernels of eq. (2), none if it has no such layer.

    The kernels that the training started from are not stored. They follow from the run's seed, with
    the version of torch that it was trained with.

    Args:
        checkpoint: A checkpoint in its run folder, or the run folder, whose best epoch is taken.

    Raises:
        ModelError: The checkpoint cannot be read, or no configuration with a seed is beside it.
    """
    trained = load_trained(checkpoint)
    seed = trained.config.get("seed")
    if not isinstance(seed, int):
        raise ModelError(f"{trained.checkpoint} must be in its run folder, which holds the seed")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        start = build_network(trained.config["network"])
    return gabor_layers(start, trained.network)
