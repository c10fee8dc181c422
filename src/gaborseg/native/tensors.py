"""Tensors as the native code takes them."""

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual


def without_extras(tensor: Tensor) -> Tensor:
    """Return a tensor without what a subclass adds, such as MONAI's affine; the same data.

    What stands for a tensor while a graph is traced stays as it is.
    """
    kind = type(tensor)
    if kind is Tensor or kind.__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return tensor
    return tensor.as_subclass(Tensor)


def refuse_forward_mode(*tensors: Tensor) -> None:
    """Refuse tensors that carry a tangent, which torch would drop: operators of ours have none.

    Raises:
        NotImplementedError: One carries a tangent.
    """
    if torch.compiler.is_compiling():
        return
    if any(unpack_dual(tensor).tangent is not None for tensor in tensors):
        raise NotImplementedError(
            "forward-mode derivatives are not supported: use reverse mode (backward, autograd.grad)"
        )
