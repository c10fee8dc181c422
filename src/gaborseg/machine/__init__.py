"""This computer: memory, processors, versions, and files that are written whole or not at all."""

from gaborseg.machine.allocator import PAGES, keep_freed_memory, returning_freed_memory
from gaborseg.machine.files import (
    cache_folder,
    remove_partials,
    whole_file,
    whole_folder,
    write_atomically,
    write_whole,
)
from gaborseg.machine.processors import (
    available_processors,
    device_name,
    peak_memory,
    processor_name,
)
from gaborseg.machine.versions import PACKAGES, software_versions

__all__ = [
    "PACKAGES",
    "PAGES",
    "available_processors",
    "cache_folder",
    "device_name",
    "keep_freed_memory",
    "peak_memory",
    "processor_name",
    "remove_partials",
    "returning_freed_memory",
    "software_versions",
    "whole_file",
    "whole_folder",
    "write_atomically",
    "write_whole",
]
