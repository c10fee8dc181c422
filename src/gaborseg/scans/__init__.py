"""Image files: reading and checking them, where their voxels lie, what their names say."""

from gaborseg.scans.files import Scan, is_scan, load_nibabel, open_scan, read_scan, scan_stem
from gaborseg.scans.geometry import (
    PreparedGrid,
    labels_to_native,
    labels_to_prepared,
    to_native,
    to_prepared,
    voxel_sides,
)
from gaborseg.scans.header import Placement
from gaborseg.scans.intensities import Window, clip, is_window, window_of
from gaborseg.scans.naming import (
    LABEL_ROLES,
    SETTINGS,
    Named,
    image_and_label_folders,
    named_file,
    scan_files,
    stem,
)
from gaborseg.scans.pairs import files_of_scan
from gaborseg.scans.placement import (
    FORMS,
    SAME_PLACE,
    check_same_grid,
    distance,
    read_placed,
    read_placed_volumes,
)
from gaborseg.scans.problems import DataError, Problem, ScanError

__all__ = [
    "FORMS",
    "LABEL_ROLES",
    "SAME_PLACE",
    "SETTINGS",
    "DataError",
    "Named",
    "Placement",
    "PreparedGrid",
    "Problem",
    "Scan",
    "ScanError",
    "Window",
    "check_same_grid",
    "clip",
    "distance",
    "files_of_scan",
    "image_and_label_folders",
    "is_scan",
    "is_window",
    "labels_to_native",
    "labels_to_prepared",
    "load_nibabel",
    "named_file",
    "open_scan",
    "read_placed",
    "read_placed_volumes",
    "read_scan",
    "scan_files",
    "scan_stem",
    "stem",
    "to_native",
    "to_prepared",
    "voxel_sides",
    "window_of",
]
