"""Scans that are broken, bombs, no files at all, or badly named."""

import functools
import gzip
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from hostile import Attack, Sound, rename

from tiny_cohort import write_nifti

_SHAPE = (12, 12, 12)
_ZEROS = bytes(2**24)
_NAMES = {
    "newline": b"a\nb",
    "escape sequence": b"a\x1b]0;title\x07\x1b[31mb",
    "right to left": "a\u202eb".encode(),
    "not UTF-8": b"a\xff",
    "markup that closes": b"a[/red]",
    "markup that opens": b"a[bold red on white]",
    "formula": b"=HYPERLINK(1)",
    "formula after a sign": b"+1+2",
    "TeX": rb"a$\foo{$",
    "HTML": b"<img src=x onerror=alert(1)>",
    "240 letters": b"a" * 240,
    "option": b"--help",
    "blank": b" ",
    "dot": b".",
    "comma and quotes": b"a,\"b'",
}


def attacks() -> Iterator[Attack]:
    """Yield them all: each for predict, and with a label map for prepare."""
    for make in (
        huge_sides, negative_side, no_side, seven_axes, sixteen_thousand_axes, offset_huge,
        offset_nan, slope_infinite, not_a_number, beyond_float32, extension_huge, cut, empty,
        gzip_bomb, mgz_bomb, gzip_in_gzip, nrrd_of_another_file, nrrd_behind_comments,
        nrrd_in_capitals, nrrd_list, nrrd_huge, pipe, device, link_to_processes, flat,
        metaimage_of_another_file, metaimage_of_two_files, metaimage_list, metaimage_huge,
        metaimage_bomb, pair_of_a_device, pair_huge,
    ):  # fmt: skip
        yield from _both(make.__name__, make, refused=True)
    yield from _both("bytes after the end", bytes_after_the_end, refused=False)
    for name, text in _NAMES.items():
        yield from _both(f"name: {name}", functools.partial(named, text), refused=False)


def _both(name: str, make: Callable[[Path], object], *, refused: bool) -> Iterator[Attack]:
    predict = ("predict", "checkpoint={run}", "input=in", "output=out", "overlay=true")
    prepare = ("prepare", "input=in", "output=out", "size=16", "processes=1")
    yield Attack(name, (*predict, "device=cpu", "threads=1"), _inside(make), refused)
    yield Attack(name, prepare, _inside(make, labels=True), refused)


def _inside(make: Callable[[Path], object], *, labels: bool = False) -> Callable[..., None]:
    def write(folder: Path, sound: Sound) -> None:
        images = folder / "in" / "images"
        images.mkdir(parents=True)
        make(images)
        every = [path for path in images.rglob("*") if not path.is_dir()] if labels else []
        for path in (path for path in every if path.suffix not in (".img", ".raw")):
            name = os.fsencode(path.relative_to(images)).split(b".n")[0]
            for ending in (b".mgz", b".mha", b".mhd", b".hdr"):
                name = name.removesuffix(ending)
            write_nifti(folder / "in" / "labels" / "label.nii.gz", _labels())
            rename(folder / "in" / "labels", "label.nii.gz", name + b".nii.gz")

    return write


def _voxels() -> np.ndarray:
    return np.random.default_rng(0).normal(size=_SHAPE).astype(np.float32)


def _labels() -> np.ndarray:
    labels = np.zeros(_SHAPE, np.uint8)
    labels[3:8, 3:8, 3:8] = 1
    return labels


def _nifti(folder: Path, content: bytes) -> None:
    (folder / "a.nii").write_bytes(content)


def _header(*sides: int, axes: int | None = None, kind: type = np.float32, **more: float) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(kind)
    header["dim"][0] = len(sides) if axes is None else axes
    header["dim"][1 : len(sides) + 1] = sides
    header["pixdim"][1:4] = 2
    header["sform_code"] = 1
    header["srow_x"][0] = header["srow_y"][1] = header["srow_z"][2] = 2
    header["vox_offset"], header["magic"] = 352, b"n+1"
    for name, value in more.items():
        header[name] = value
    return header.binaryblock + bytes(4)


def _bomb(start: bytes, megabytes: int = 1024) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [packer.compress(start)]
    pieces += [packer.compress(_ZEROS) for _ in range(megabytes // 16)]
    return b"".join([*pieces, packer.flush()])


def _nrrd(folder: Path, *, before: str = "", after: str = "", sides: str = "8 8 8") -> None:
    lines = (
        f"NRRD0004\n{before}type: unsigned char\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {sides}\nspace directions: (8,0,0) (0,8,0) (0,0,8)\nspace origin: (0,0,0)\n"
        f"encoding: raw\n{after}\n"
    )
    (folder / "a.nrrd").write_bytes(lines.encode() + bytes(range(256)) * 2)


def huge_sides(folder: Path) -> None:
    _nifti(folder, _header(32767, 32767, 32767))


def negative_side(folder: Path) -> None:
    _nifti(folder, _header(-12, 12, 12) + bytes(32000))


def no_side(folder: Path) -> None:
    _nifti(folder, _header(0, 12, 12) + bytes(32000))


def seven_axes(folder: Path) -> None:
    _nifti(folder, _header(4, 4, 4, 2, 2, 2, 2, kind=np.uint8) + bytes(range(256)) * 4)


def sixteen_thousand_axes(folder: Path) -> None:
    _nifti(folder, _header(12, 12, 12, axes=16000) + bytes(32000))


def offset_huge(folder: Path) -> None:
    _nifti(folder, _header(*_SHAPE, vox_offset=1e30) + _voxels().tobytes())


def offset_nan(folder: Path) -> None:
    _nifti(folder, _header(*_SHAPE, vox_offset=np.nan) + _voxels().tobytes())


def slope_infinite(folder: Path) -> None:
    _nifti(folder, _header(*_SHAPE, scl_slope=1e38) + (_voxels() * 100).tobytes())


def not_a_number(folder: Path) -> None:
    voxels = _voxels()
    voxels[3, 3, 3] = np.nan
    write_nifti(folder / "a.nii.gz", voxels)


def beyond_float32(folder: Path) -> None:
    write_nifti(folder / "a.nii.gz", _voxels().astype(np.float64) * 1e300)


def extension_huge(folder: Path) -> None:
    content = bytearray(_header(*_SHAPE))
    content[348] = 1
    _nifti(folder, bytes(content) + struct.pack("<ii", 2**31 - 16, 4) + _voxels().tobytes())


def cut(folder: Path) -> None:
    write_nifti(folder / "a.nii.gz", _voxels())
    content = (folder / "a.nii.gz").read_bytes()
    (folder / "a.nii.gz").write_bytes(content[: len(content) // 2])


def empty(folder: Path) -> None:
    (folder / "a.nii.gz").touch()


def flat(folder: Path) -> None:
    write_nifti(folder / "a.nii.gz", np.full(_SHAPE, 7, np.int16))


def gzip_bomb(folder: Path) -> None:
    (folder / "a.nii.gz").write_bytes(_bomb(_header(1024, 1024, 1000, kind=np.float64)))


def bytes_after_the_end(folder: Path) -> None:
    (folder / "a.nii.gz").write_bytes(_bomb(_header(*_SHAPE) + _voxels().tobytes(), 512))


def mgz_bomb(folder: Path) -> None:
    start = struct.pack(">iiiiiii", 1, 1024, 1024, 1024, 1, 3, 0) + bytes(256)
    (folder / "a.mgz").write_bytes(_bomb(start))


def gzip_in_gzip(folder: Path) -> None:
    inner = gzip.compress(_header(*_SHAPE) + _voxels().tobytes())
    (folder / "a.nii.gz").write_bytes(gzip.compress(inner))


def nrrd_of_another_file(folder: Path) -> None:
    _nrrd(folder, after="data file: /etc/passwd\n")


def nrrd_behind_comments(folder: Path) -> None:
    _nrrd(folder, before=f"# {'x' * 77}\n" * 900, after="data file: /etc/passwd\n")


def nrrd_in_capitals(folder: Path) -> None:
    _nrrd(folder, after="DATA FILE: ../../secret\n")


def nrrd_list(folder: Path) -> None:
    _nrrd(folder, after="data file: LIST\n/etc/passwd\n/etc/group\n")


def nrrd_huge(folder: Path) -> None:
    _nrrd(folder, sides="100000 100000 100000")


def _metaimage(folder: Path, data: str, *, name: str = "a.mha", sides: str = "8 8 8") -> None:
    lines = (
        f"ObjectType = Image\nNDims = 3\nDimSize = {sides}\nElementType = MET_UCHAR\n"
        f"ElementSpacing = 8 8 8\n{data}\n"
    )
    (folder / name).write_bytes(lines.encode() + bytes(range(256)) * 2)


def metaimage_of_another_file(folder: Path) -> None:
    _metaimage(folder, "ElementDataFile = /etc/passwd", name="a.mhd")


def metaimage_of_two_files(folder: Path) -> None:
    _metaimage(folder, "x\nElementDataFile = LOCAL\nElementDataFile = /etc/passwd")


def metaimage_list(folder: Path) -> None:
    _metaimage(folder, "ElementDataFile = LIST\n/etc/passwd\n/etc/group", name="a.mhd")


def metaimage_huge(folder: Path) -> None:
    _metaimage(folder, "ElementDataFile = LOCAL", sides="100000 100000 100000")


def metaimage_bomb(folder: Path) -> None:
    packed = zlib.compress(_ZEROS * 8, 9)
    start = f"CompressedData = True\nCompressedDataSize = {len(packed)}\n"
    _metaimage(folder, f"{start}ElementDataFile = LOCAL", sides="8 8 8")
    content = (folder / "a.mha").read_bytes().removesuffix(bytes(range(256)) * 2)
    (folder / "a.mha").write_bytes(content + packed)


def pair_of_a_device(folder: Path) -> None:
    (folder / "a.hdr").write_bytes(_header(*_SHAPE)[:348].replace(b"n+1", b"ni1"))
    (folder / "a.img").symlink_to("/dev/zero")


def pair_huge(folder: Path) -> None:
    (folder / "a.hdr").write_bytes(_header(32767, 32767, 32767)[:348].replace(b"n+1", b"ni1"))
    (folder / "a.img").write_bytes(bytes(1000))


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "a.nii.gz")


def device(folder: Path) -> None:
    (folder / "a.nii").symlink_to("/dev/zero")


def link_to_processes(folder: Path) -> None:
    (folder / "a.nii").symlink_to("/proc/self/mem")


def named(name: bytes, folder: Path) -> None:
    write_nifti(folder / "sound.nii.gz", _voxels())
    rename(folder, "sound.nii.gz", name + b".nii.gz")
