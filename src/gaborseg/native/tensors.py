"""Tensors as the native code takes them."""

from torch import Tensor


def without_extras(tensor: Tensor) -> Tensor:
    """Return a tensor without what a subclass adds, such as MONAI's affine; the same data.

    What stands for a tensor while a graph is traced stays as it is.
    """
    kind = type(tensor)
    if kind is Tensor or kind.__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return tensor
    return tensor.as_subclass(Tensor)
