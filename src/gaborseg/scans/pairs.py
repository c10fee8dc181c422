"""Scans in two files, a header and the voxels beside it: ``.hdr`` with ``.img``, ``.mhd``.

NIfTI and Analyze pairs are read by nibabel, also where the voxels are compressed, ``.img.gz``, as
some data sets hand them out. Analyze says nothing about left and right; what SPM
writes into a ``.mat`` file beside it is not read.
"""

import io
import mmap
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.fileholders import FileHolder
from numpy.typing import NDArray

from gaborseg.scans.header import Header
from gaborseg.scans.nrrd import header_by_itk
from gaborseg.scans.problems import ScanError

_ENDS = {".hdr": ".img", ".img": ".hdr"}
_PACKED = ".gz"
_LONGEST_HEADER = 2**20
_REMEDY = "convert it to .nii.gz"
_NIFTI_PAIR = b"ni1\0"
_MAGIC = slice(344, 348)
_DATA_FILE = re.compile(rb"\n[ \t]*ElementDataFile[ \t]*=[ \t]*([^\r\n]*)")
_WORD = re.compile(rb"ElementDataFile", re.IGNORECASE)
_COMPRESSED_SIZE = re.compile(rb"CompressedDataSize\D{0,9}(\d{1,30})", re.IGNORECASE)
_LOCAL = "LOCAL"


def files_of_scan(path: Path) -> tuple[Path, ...]:
    """All files that hold a scan: that of its name, and the other one of a pair.

    The voxels of a header may be compressed, if they do not lie beside it as they are.

    >>> [part.name for part in files_of_scan(Path("a.img"))]
    ['a.hdr', 'a.img']
    """
    end = path.suffix
    if end.lower() == ".mhd":
        return (path, *_named_by(path))
    if end.lower() not in _ENDS:
        return (path,)
    other = _ENDS[end.lower()]
    partner = path.with_suffix(other.upper() if end.isupper() else other)
    if end.lower() == ".img":
        return partner, path
    packed = partner.with_name(partner.name + (_PACKED.upper() if end.isupper() else _PACKED))
    return path, packed if packed.exists() and not partner.exists() else partner


def _named_by(path: Path) -> tuple[Path, ...]:
    """The file beside an ``.mhd`` that holds its voxels; nothing if it names none that may."""
    try:
        name = _data_file(path) if path.is_file() else _LOCAL
    except (OSError, ScanError):
        return ()
    return () if name == _LOCAL else (path.parent / name,)


def open_pair(path: Path, placement_of: Callable[[Path, Any], Any]) -> Header:
    """The header of a NIfTI or Analyze pair.

    Args:
        path: Either of its files, both checked.
        placement_of: Where a NIfTI or Analyze image of nibabel's lies.

    Raises:
        ScanError: It is not to be read.
    """
    header, voxels = files_of_scan(path)
    _check_voxel_file(path, voxels)
    if header.stat().st_size > _LONGEST_HEADER:
        raise ScanError(path, f"must have a header of at most {_LONGEST_HEADER} bytes", _REMEDY)
    if header.with_suffix(".mat").exists():
        problem = f"has its place in {header.with_suffix('.mat').name}, which is not read"
        raise ScanError(path, problem, _REMEDY)
    with header.open("rb") as file:
        nifti = file.read(_MAGIC.stop)[_MAGIC] == _NIFTI_PAIR
    kind = nib.Nifti1Pair if nifti else nib.Spm2AnalyzeImage
    files = dict(kind.make_file_map())
    files["header"], files["image"] = FileHolder(str(header)), FileHolder(str(voxels))
    if "mat" in files:
        files["mat"] = FileHolder(fileobj=io.BytesIO())
    with nib.imageglobals.LoggingOutputSuppressor():  # what it would log is checked by the caller
        volume: Any = kind.from_file_map(files)
    shape = tuple(int(length) for length in volume.shape)
    stated = (*shape[:3], *(length or 1 for length in shape[3:]))
    stored = volume.get_data_dtype()
    return Header(
        path=path,
        shape=stated,
        stored=str(stored),
        real=stored.kind in "iuf",
        placement=placement_of(header, volume),
        load=partial(_all_voxels, volume.dataobj, stated),
        voxel_file=voxels,
    )


def _all_voxels(proxy: Any, shape: tuple[int, ...]) -> NDArray:
    """The voxels of an image of nibabel's, in the shape that its header means."""
    about = (shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter)
    return np.asanyarray(nib.arrayproxy.ArrayProxy(proxy.file_like, about))


def _check_voxel_file(path: Path, voxels: Path) -> None:
    """Check that the file of the voxels is one itself: a header could make any file an image.

    Raises:
        ScanError: It is a link.
    """
    if voxels.is_symlink():
        problem = f"must have its voxels beside it, got a link, {voxels.name}"
        raise ScanError(path, problem, "copy the file there, or convert it to .nii.gz")


def open_metaimage(path: Path) -> Header:
    """The header of an ``.mha`` or ``.mhd`` file, whose voxels are in it or in one file beside it.

    Raises:
        ScanError: They are elsewhere, or more than there are.
    """
    name = _data_file(path)
    voxels = path if name == _LOCAL else path.parent / name
    if voxels != path:
        _check_voxel_file(path, voxels)
    header = header_by_itk(path, "MetaImageIO")
    return header if voxels == path else replace(header, voxel_file=voxels)


def _data_file(path: Path) -> str:
    """The file that a MetaImage header names, or ``LOCAL``.

    The name must be on a line of its own and come once in the whole file, so that no reader can
    find another one.

    Raises:
        ScanError: It names none, several, or one in another folder; or promises too many bytes.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = list(islice(_WORD.finditer(content), 2))
        line = _DATA_FILE.search(content[: found[0].end() + 1000]) if found else None
        start = content[: line.end()] if line and line.end() <= _LONGEST_HEADER else b""
    if len(found) != 1 or line is None or not start:
        problem = "must name its voxels once, by a line ElementDataFile = LOCAL"
        raise ScanError(path, f"is not a readable image: {problem}", _REMEDY)
    name = line[1].strip().decode("utf-8", "replace")
    local = name.upper() == _LOCAL
    if not local and not _is_plain(name):
        problem = f"must hold its voxels itself or in one file beside it, got {name[:80]!r}"
        raise ScanError(path, problem, "save it as one .mha file")
    size = _COMPRESSED_SIZE.search(start)
    voxels = path if local else path.parent / name
    if size and voxels.is_file() and int(size[1]) > voxels.stat().st_size:
        problem = "is truncated or not a readable image: it promises more bytes than it has"
        raise ScanError(path, problem, "copy or export the file again")
    return _LOCAL if local else name


def _is_plain(name: str) -> bool:
    """Whether a text is the name of one file in the same folder, and neither pattern nor list."""
    return (
        Path(name).name == name
        and name not in (".", "..")
        and name.isprintable()
        and not set("%\\*?") & set(name)
        and not name.upper().startswith("LIST")
    )
