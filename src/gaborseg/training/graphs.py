"""A network whose passes are recorded once as CUDA graphs and replayed: launches cost nothing."""

import logging
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)


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
    CPU, in evaluation, and where it cannot be recorded, the network is called as it is.

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
        """Record both passes, after a few to warm up; or return the network, and say why."""
        sample = image.detach().clone()
        try:
            with torch.autocast("cuda", dtype, enabled=dtype is not None, cache_enabled=False):
                shell = torch.cuda.make_graphed_callables(_Recorded(self._network), (sample,))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            log.warning(f"steps are launched kernel by kernel, as no graph can be made: {reason}")
            return self._network
        return cast(Callable[[Tensor], Tensor], shell)
