"""C++ compiled at first use, and called through ctypes."""

from gaborseg.native.call import call
from gaborseg.native.library import native_library
from gaborseg.native.tensors import refuse_forward_mode, without_extras

__all__ = ["call", "native_library", "refuse_forward_mode", "without_extras"]
