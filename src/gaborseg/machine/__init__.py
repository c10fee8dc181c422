"""This computer: memory, processors, versions, and files that are whole or not there."""

from gaborseg.machine.allocator import PAGES, keep_freed_memory, returning_freed_memory
from gaborseg.machine.energy import EnergyMeter
from gaborseg.machine.files import (
    PARTIAL,
    cache_folder,
    open_unlinked,
    refuse_link,
    refuse_links_to,
    remove_partials,
    whole_file,
    whole_folder,
    write_atomically,
    write_text,
)
from gaborseg.machine.fitted_table import FittedTable
from gaborseg.machine.imports import large_imports
from gaborseg.machine.names import as_cell, encodable, of_cell, printable
from gaborseg.machine.plain import (
    check_size,
    check_torch_index,
    load_json,
    load_yaml,
    read_text,
)
from gaborseg.machine.processors import (
    available_processors,
    check_open_files,
    device_name,
    die_with_parent,
    peak_memory,
    processor_name,
)
from gaborseg.machine.progress import duration, progress
from gaborseg.machine.tables import read_table
from gaborseg.machine.tracing import constant_when_traced
from gaborseg.machine.versions import PACKAGES, software_versions

__all__ = [
    "PACKAGES",
    "PAGES",
    "PARTIAL",
    "EnergyMeter",
    "FittedTable",
    "as_cell",
    "available_processors",
    "cache_folder",
    "check_open_files",
    "check_size",
    "check_torch_index",
    "constant_when_traced",
    "device_name",
    "die_with_parent",
    "duration",
    "encodable",
    "keep_freed_memory",
    "large_imports",
    "load_json",
    "load_yaml",
    "of_cell",
    "open_unlinked",
    "peak_memory",
    "printable",
    "processor_name",
    "progress",
    "read_table",
    "read_text",
    "refuse_link",
    "refuse_links_to",
    "remove_partials",
    "returning_freed_memory",
    "software_versions",
    "whole_file",
    "whole_folder",
    "write_atomically",
    "write_text",
]
