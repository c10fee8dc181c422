"""Reading one scan from a file of any origin: the header first, the voxels once it is plausible.

NIfTI, Analyze and FreeSurfer's MGH are read by nibabel, NRRD and MetaImage by SimpleITK. A file may
be damaged, or not be what it says; so nothing is allocated that the file is too small to hold.
"""

import gzip
import io
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from gaborseg.scans.geometry import voxel_sides
from gaborseg.scans.header import Header, Placement
from gaborseg.scans.nrrd import open_nrrd
from gaborseg.scans.pairs import files_of_scan, open_metaimage, open_pair
from gaborseg.scans.problems import ScanError

_FORMATS = (".nii", ".nii.gz", ".mgz", ".mgh", ".nrrd", ".hdr", ".img", ".mha", ".mhd")
_PACKED_VOXELS = ".img.gz"
_MAX_VOXELS = 1024**3
"""More than this in one volume is taken for a damaged header: nothing is allocated."""
_MAX_COMPRESSION = 1100
"""Bytes that a byte of a gzip file can stand for, at the most."""
_CHUNK = 2**20
_SLACK = 2**22
"""Bytes that a compressed file may hold beyond its voxels: a header, extensions, a footer."""
_GZIP = b"\x1f\x8b"
_SPACINGS = (0.01, 100)
"""Shortest and longest distance of two voxels, mm: beyond them the unit is another one."""
_OTHER_UNITS = {1: "metres", 3: "micrometres"}
"""NIfTI's codes of lengths that are no millimetres; 0 says nothing, and means millimetres."""
_LEAST_VOLUME = 0.01
"""Of a voxel, as a share of a box of the same edges: less is taken for flat."""


@dataclass(frozen=True)
class Scan:
    """A volume of numbers (D, H, W), the type that its file stores, and where it lies."""

    voxels: NDArray
    stored: str
    placement: Placement

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4), voxel index to world millimetres (RAS+)."""
        return self.placement.affine


def is_scan(path: Path) -> bool:
    """Whether a file's name ends like one of a scan."""
    return path.name.lower().endswith(_FORMATS)


def scan_stem(path: Path) -> str:
    """The name of a scan's file without its ending.

    >>> scan_stem(Path("sub-01_T1w.nii.gz")), scan_stem(Path("SUB-01.NII.GZ"))
    ('sub-01_T1w', 'SUB-01')
    """
    name = path.name.lower()
    endings = [ending for ending in _FORMATS if name.endswith(ending)] or [path.suffix]
    return path.name[: len(path.name) - max(map(len, endings))]


def read_scan(path: Path) -> Scan:
    """The voxels (D, H, W) of a file and where they lie; of four dimensions the last may be 1.

    Raises:
        ScanError: The file cannot be read, is damaged, or is not a volume of numbers.
    """
    (scan,) = read_volumes(path, 1)
    return scan


def read_volumes(path: Path, count: int) -> list[Scan]:
    """The volumes (D, H, W) of a file of four dimensions, in their order.

    Args:
        path: The file.
        count: How many volumes it must have.

    Raises:
        ScanError: The file cannot be read, is damaged, or has not so many volumes of numbers.
    """
    header = open_scan(path, count)
    try:
        voxels = header.load()
        voxel_file = header.voxel_file or path
        if header.voxel_file is None or voxel_file.suffix.lower() == ".gz":
            for _ in _decompressed(voxel_file, voxels.nbytes):  # nibabel stops at the last voxel
                pass
    except Exception as error:  # a damaged file can make its parser raise anything
        raise unreadable(path, error) from error
    volumes = np.moveaxis(voxels.reshape(*voxels.shape[:3], count), -1, 0)
    return [Scan(volume, header.stored, header.placement) for volume in volumes]


def open_scan(path: Path, volumes: int = 1) -> Header:
    """The checked header of a file, whose voxels have not been read yet.

    Args:
        path: The file.
        volumes: How many volumes it must have, along its fourth dimension.

    Raises:
        ScanError: The file cannot be opened, or its header is not that of volumes of numbers.
    """
    for part in files_of_scan(path):
        _check_file(part)
    if path.name.lower().endswith(_PACKED_VOXELS):
        stem = path.name[: -len(_PACKED_VOXELS)]
        raise ScanError(path, "holds the voxels of a pair alone", f"name its header, {stem}.hdr")
    try:
        header = _opener(path)(path)
    except ScanError:
        raise
    except Exception as error:  # a damaged header can make its parser raise anything
        raise unreadable(path, error) from error
    _check_header(header, volumes)
    _check_placement(header)
    return header


def _opener(path: Path) -> Callable[[Path], Header]:
    """What opens a file, by the end of its name."""
    match path.suffix.lower():
        case ".nrrd":
            return open_nrrd
        case ".mha" | ".mhd":
            return open_metaimage
        case ".hdr" | ".img":
            return partial(open_pair, placement_of=_placement_of)
    return _open_with_nibabel


def _decompressed(path: Path, promised: int) -> Iterator[bytes]:
    """The content of a compressed file piece by piece, to its end, where its checksum is.

    What follows after that, and is not compressed, is passed over, as by gunzip.

    Args:
        path: The file; of one that is not compressed there are no pieces.
        promised: Bytes that it holds by its header.

    Raises:
        EOFError, ValueError, zlib.error: It is damaged, or holds much more.
    """
    most = promised + _SLACK
    with path.open("rb") as file:
        chunk = file.read(_CHUNK)
        while chunk.startswith(_GZIP):
            member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            while not member.eof:
                if not chunk:
                    raise EOFError("the compressed content ends too early")
                piece = member.decompress(chunk, most + 1)
                if len(piece) > most:
                    raise ValueError("it holds more than its header promises")
                most -= len(piece)
                yield piece
                chunk = member.unconsumed_tail or file.read(_CHUNK)
            chunk = member.unused_data
            if len(chunk) < len(_GZIP):
                chunk += file.read(_CHUNK)


def unreadable(path: Path, error: Exception) -> ScanError:
    """The problem of a file whose parser failed."""
    text = " ".join(str(error).rpartition("ERROR: ")[2].split())
    reason = text.replace(f"{path.parent}/", "") or type(error).__name__
    problem = f"is truncated or not a readable image: {reason[:200]}"
    return ScanError(path, problem, "copy or export the file again")


def _check_file(path: Path) -> None:
    """Check that there is a file, that it may be read, and that it is not empty.

    Raises:
        ScanError: There is none, or not.
    """
    try:
        if path.is_symlink() and not path.exists():
            raise ScanError(path, "is a symbolic link that leads to no file", "mend the link")
        if not path.exists():
            raise ScanError(path, "is missing", "check the name, or add the file")
        if path.is_dir():
            raise ScanError(path, "is a folder, not a file", "name the file inside it")
        if not stat.S_ISREG(path.stat().st_mode):  # of a pipe or a device there may be no end
            raise ScanError(path, "is not a regular file", "name a file")
        with path.open("rb") as file:
            empty = not file.read(1)
    except (OSError, RuntimeError) as error:  # RuntimeError: pathlib on a loop of links
        reason = getattr(error, "strerror", None) or "a loop of symbolic links"
        raise ScanError(
            path, f"cannot be opened: {reason}", "check permissions and links"
        ) from error
    if empty:
        raise ScanError(path, "is truncated or not a readable image: it is empty", "copy it again")


def load_nibabel(path: Path) -> Any:
    """Open an image with nibabel; a compressed NIfTI file may be called ``.nii``."""
    with path.open("rb") as file:
        zipped = path.name.lower().endswith(".nii") and file.read(2) == _GZIP
    if not zipped:
        return nib.load(path)
    files = nib.Nifti1Image.make_file_map()
    files["image"].fileobj = gzip.open(path)  # noqa: SIM115  (read when the voxels are)
    return nib.Nifti1Image.from_file_map(files)


def _open_with_nibabel(path: Path) -> Header:
    """The header of a NIfTI or MGH file."""
    with nib.imageglobals.LoggingOutputSuppressor():  # what it would log is checked here
        volume: Any = load_nibabel(path)
    if not isinstance(volume, nib.spatialimages.SpatialImage) or volume.affine is None:
        kind = type(volume).__name__
        raise ScanError(path, f"must be an image with an affine, got {kind}", "convert it to NIfTI")
    shape = tuple(int(length) for length in volume.shape)
    stated = (*shape[:3], *(length or 1 for length in shape[3:]))  # as FSL and ITK read a 0 there
    return Header(
        path=path,
        shape=stated,
        stored=str(volume.get_data_dtype()),
        real=volume.get_data_dtype().kind in "iuf",
        placement=_placement_of(path, volume),
        load=partial(_voxels, path, volume.dataobj, stated),
    )


def _voxels(path: Path, proxy: Any, shape: tuple[int, ...]) -> NDArray:
    """The voxels of an image of nibabel's, in the shape that its header means."""
    about = (shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter)
    try:
        return np.asanyarray(nib.arrayproxy.ArrayProxy(proxy.file_like, about))
    except gzip.BadGzipFile:  # there are other bytes after the compressed content
        promised = int(np.prod(shape)) * proxy.dtype.itemsize
        content = io.BytesIO(b"".join(_decompressed(path, promised)))
        return np.asanyarray(nib.arrayproxy.ArrayProxy(content, about))


def _placement_of(path: Path, volume: Any) -> Placement:
    """Where a header of nibabel's puts its scan.

    Raises:
        ScanError: It is not in millimetres.
    """
    affine = np.asarray(volume.affine, dtype=np.float64)
    header = volume.header
    if not isinstance(header, nib.Nifti1Header):
        spacing = tuple(map(float, header.get_zooms()[:3]))
        return Placement(affine, spacing, oriented=not isinstance(header, nib.AnalyzeHeader))
    if unit := _OTHER_UNITS.get(int(header["xyzt_units"]) & 7):
        remedy = "convert it to millimetres, or correct the unit in its header"
        raise ScanError(path, f"must be in millimetres, got {unit}", remedy)
    with path.open("rb") as plain:  # nibabel repairs what it does not like
        zipped = plain.read(2) == _GZIP
        plain.seek(0)
        raw = type(header).from_fileobj(
            gzip.GzipFile(fileobj=plain) if zipped else plain, check=False
        )
    qform, sform = header.get_qform(coded=True)[0], header.get_sform(coded=True)[0]
    spacing = tuple(map(float, raw["pixdim"][1:4]))
    return Placement(affine, spacing, qform, sform, not (qform is None and sform is None))


def _check_header(header: Header, volumes: int) -> None:
    """Check that a header describes so many volumes of numbers, and no more than its file can hold.

    Raises:
        ScanError: It does not.
    """
    path, shape = header.path, header.shape
    volume = shape[:3]
    if len(shape) < 3:
        raise ScanError(path, f"must have 3 dimensions, got {len(shape)}", "bring a whole volume")
    if not header.real:
        remedy = "save it as one channel of numbers"
        raise ScanError(path, f"must hold real numbers, got {header.stored}", remedy)
    if volumes == 1 and any(length != 1 for length in shape[3:]):
        problem = f"must have 3 dimensions, got {len(shape)} with shape {shape}"
        raise ScanError(path, problem, "choose one of its volumes, or name them: volumes=[...]")
    if np.prod(shape[3:], dtype=float) != volumes:
        problem = f"must have {volumes} volumes, got shape {shape}"
        raise ScanError(path, problem, "name as many: volumes=[...]")
    if not 0 < np.prod(shape, dtype=float) <= _MAX_VOXELS or min(volume) < 1:
        problem = f"must have 1 to {_MAX_VOXELS} voxels, got shape {volume}"
        raise ScanError(path, problem, "copy or export the file again")
    if np.prod(shape, dtype=float) > header.stored_bytes * _MAX_COMPRESSION:
        problem = f"is truncated or not a readable image: too short for shape {volume}"
        raise ScanError(path, problem, "copy or export the file again")


def _check_placement(header: Header) -> None:
    """Check that a header places its voxels in space.

    Raises:
        ScanError: It does not.
    """
    path, placement = header.path, header.placement
    stated = f"({', '.join(f'{length:g}' for length in placement.spacing)})"
    if not all(0 < length < np.inf for length in placement.spacing):
        problem = f"must have a positive spacing, got {stated}"
        raise ScanError(path, problem, "correct the voxel size in its header")
    columns = placement.affine[:3, :3]
    lengths = voxel_sides(placement.affine)
    if not (np.isfinite(placement.affine).all() and lengths.all()) or (
        abs(np.linalg.det(columns / lengths)) < _LEAST_VOLUME
    ):
        problem = "must have an invertible affine, got a singular one"
        raise ScanError(path, problem, "correct the affine in its header")
    low, high = _SPACINGS
    if not ((low <= lengths) & (lengths <= high)).all():
        problem = f"must have voxels of {low} to {high} mm, got {lengths.round(5).tolist()}"
        raise ScanError(path, problem, "state the spacing in millimetres")
