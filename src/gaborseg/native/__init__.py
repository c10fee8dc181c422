"""C++ compiled at first use, and called through ctypes."""

from gaborseg.native.call import call
from gaborseg.native.library import native_library

__all__ = ["call", "native_library"]
