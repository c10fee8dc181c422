"""A network whose passes are recorded once as CUDA graphs and replayed: launches cost nothing."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn


class _Recorded(nn.Module):
    """A network in a shell: recording replaces the shell's `forward`, and leaves the network's."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image)
        return logits


class GraphedNetwork:
    """Calls a network in training by replaying graphs, one for each shape of its input.

    The same kernels run in the same order; the host has one launch a pass instead of hundreds. On a
    CPU, and for what a graph cannot hold, the network is called as it is.

    Args:
        network: On a GPU; its parameters stay where they are.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._graphs: dict[Any, Callable[[Tensor], Tensor]] = {}

    def __call__(self, image: Tensor) -> Tensor:
        """Logits of images (B, I, *S), with gradients for the parameters."""
        if not image.is_cuda or not self._network.training:
            logits: Tensor = self._network(image)
            return logits
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        key = (image.shape, image.dtype, dtype)
        if key not in self._graphs:
            self._graphs[key] = self._record(image, dtype)
        return self._graphs[key](image)

    def _record(self, image: Tensor, dtype: torch.dtype | None) -> Callable[[Tensor], Tensor]:
        """Record both passes, after a few to warm up."""
        with torch.autocast("cuda", dtype, enabled=dtype is not None, cache_enabled=False):
            sample = image.detach().clone()
            recorded = torch.cuda.make_graphed_callables(_Recorded(self._network), (sample,))
        return cast(Callable[[Tensor], Tensor], recorded)
