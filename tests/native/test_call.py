import ctypes

import pytest
import torch

from gaborseg.native import call


class Library:
    """Functions of C that Python can write."""

    @staticmethod
    def double_float(data: ctypes.c_void_p, sizes: ctypes.Array) -> int:
        values = ctypes.cast(data, ctypes.POINTER(ctypes.c_float))
        for n in range(sizes[0]):
            values[n] *= 2
        return 0

    @staticmethod
    def double_double(data: ctypes.c_void_p, sizes: ctypes.Array) -> int:
        return 1


def test_functions_get_pointers_to_data_and_integers() -> None:
    values = torch.tensor([1.0, 2.0, 3.0])
    call(Library, "double", torch.float32, values, (2,))
    assert values.tolist() == [2, 4, 3]


def test_what_a_function_could_not_allocate_is_an_error() -> None:
    with pytest.raises(MemoryError, match="double ran out of memory"):
        call(Library, "double", torch.float64, torch.ones(1), (1,))
