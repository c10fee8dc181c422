"""C++ compiled at first use, and called through ctypes."""

from src.native.call import call
from src.native.library import cache_folder, native_library

__all__ = ["cache_folder", "call", "native_library"]
