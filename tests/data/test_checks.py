"""Every fault of a case is one clear line that names the file."""

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gaborseg.data import SegmentationData, check_intensities, whole_numbers
from gaborseg.scans import DataError, ScanError
from tiny_cohort import AFFINE, SHAPE, write_nifti

Prepare = Callable[[], None]
IMAGE = "sub-02/anat/sub-02_T1w.nii.gz"
LABEL = "sub-02/anat/sub-02_dseg.nii.gz"


@pytest.fixture
def prepare(cohort: Path, tmp_path: Path) -> Prepare:
    return SegmentationData.from_folder(cohort, tmp_path / "cache").prepare


def first_line(prepare: Prepare) -> str:
    with pytest.raises(DataError) as caught:
        prepare()
    return str(caught.value).splitlines()[0]


def ramp(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array[1, 2, 3] = value
    return array


@pytest.mark.parametrize("number", [2**53, 2**53 + 2, 2**60 + 1, 2**64 - 1])
@pytest.mark.parametrize("kind", [np.uint64, np.float64])
def test_labels_that_others_may_be_taken_for_are_refused(number: int, kind: type) -> None:
    labels = np.array([0, number], kind)
    if number == 2**53:
        assert whole_numbers(Path("a.nii"), labels).tolist() == [0, number]
    else:
        with pytest.raises(ScanError, match=r"must hold labels up to 2\^53, got [\d.e+]+$"):
            whole_numbers(Path("a.nii"), labels)


@pytest.mark.parametrize(
    ("file", "voxels", "message"),
    [
        (IMAGE, with_value(ramp(), np.nan), "must be finite, got 1 NaN or Inf"),
        (IMAGE, with_value(ramp(), np.inf), "must be finite, got 1 NaN or Inf"),
        (IMAGE, np.full(SHAPE, 7, np.int16), "must not be constant, got 7 in every voxel"),
        (IMAGE, ramp((8, 8, 7)), "must share a shape, got (8, 8, 7) and (8, 8, 8)"),
        (IMAGE, ramp((8, 8, 8, 2)), "must have 3 dimensions, got 4"),
        (IMAGE, ramp((8, 8)), "must have 3 dimensions, got 2"),
        (IMAGE, ramp().astype(np.complex64), "must hold real numbers, got complex64"),
        (LABEL, with_value(np.zeros(SHAPE, np.int16), 3), "must hold labels 0..2, got 3"),
        (LABEL, with_value(np.zeros(SHAPE, np.int16), -1), "must hold labels 0..2, got -1"),
        (LABEL, with_value(np.zeros(SHAPE, np.float32), 0.5), "must hold integers, got 0.5"),
        (LABEL, with_value(np.zeros(SHAPE, np.float32), np.nan), "must hold integers, got nan"),
    ],
)
def test_unfit_voxels_are_one_clear_line(
    cohort: Path, prepare: Prepare, file: str, voxels: np.ndarray, message: str
) -> None:
    write_nifti(cohort / file, voxels)
    line = first_line(prepare)
    assert line.startswith(str(cohort / file))
    assert message in line


def test_affines_that_differ_are_refused(cohort: Path, prepare: Prepare) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] = 1.5
    write_nifti(cohort / IMAGE, ramp(), shifted)
    assert first_line(prepare) == (
        f"{cohort / IMAGE} and its label map must share an affine, they differ by 1.5 mm"
    )


def test_a_turned_case_is_refused(cohort: Path, prepare: Prepare) -> None:
    turned = np.diag([-2.0, 2.0, 2.0, 1.0])
    for file, voxels in ((IMAGE, ramp()), (LABEL, np.zeros(SHAPE, np.uint8))):
        write_nifti(cohort / file, voxels, turned)
    line = first_line(prepare)
    assert line.startswith(f"{cohort / LABEL} must have its axes towards right, anterior, superior")
    assert "got LAS: prepare the data with gaborseg prepare" in line


def test_rounding_of_an_affine_is_forgiven(cohort: Path, prepare: Prepare) -> None:
    write_nifti(cohort / IMAGE, ramp(), AFFINE + 1e-5)
    prepare()


@pytest.mark.parametrize("file", [IMAGE, LABEL])
def test_a_truncated_file_is_refused(cohort: Path, prepare: Prepare, file: str) -> None:
    content = (cohort / file).read_bytes()
    (cohort / file).write_bytes(content[: len(content) // 2])
    assert first_line(prepare).startswith(f"{cohort / file} is truncated or not a readable image")


def test_a_gzip_of_too_few_voxels_is_refused(cohort: Path, prepare: Prepare) -> None:
    content = gzip.decompress((cohort / IMAGE).read_bytes())
    (cohort / IMAGE).write_bytes(gzip.compress(content[:-100]))
    assert first_line(prepare).startswith(f"{cohort / IMAGE} is truncated or not a readable image")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x1f\x8b\x08\x00broken"])
def test_a_file_that_is_no_image_is_refused(cohort: Path, prepare: Prepare, content: bytes) -> None:
    (cohort / IMAGE).write_bytes(content)
    assert first_line(prepare).startswith(f"{cohort / IMAGE} is truncated or not a readable image")


def test_a_corrupt_byte_is_refused(cohort: Path, prepare: Prepare) -> None:
    content = bytearray((cohort / IMAGE).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (cohort / IMAGE).write_bytes(content)
    assert first_line(prepare).startswith(f"{cohort / IMAGE} is truncated or not a readable image")


def test_an_absurd_header_allocates_nothing(cohort: Path, prepare: Prepare) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((30000, 30000, 30000))
    header["vox_offset"], header["magic"] = 352, b"n+1"
    (cohort / IMAGE).write_bytes(gzip.compress(header.binaryblock + bytes(100)))
    assert "must have 1 to 1073741824 voxels" in first_line(prepare)


def test_all_cases_must_share_a_shape(cohort: Path, prepare: Prepare) -> None:
    write_nifti(cohort / IMAGE, ramp((8, 8, 9)))
    write_nifti(cohort / LABEL, np.zeros((8, 8, 9), np.uint8))
    assert first_line(prepare) == (
        f"{cohort / IMAGE} must have the shape of sub-01, (8, 8, 8), got (8, 8, 9)"
    )


def test_several_problems_are_counted_and_listed(cohort: Path, prepare: Prepare) -> None:
    for number in (1, 3, 4):
        write_nifti(cohort / f"sub-0{number}/anat/sub-0{number}_T1w.nii.gz", np.zeros(SHAPE))
    with pytest.raises(DataError) as caught:
        prepare()
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("(and 2 more)")


def test_a_repaired_case_is_accepted(cohort: Path, prepare: Prepare) -> None:
    write_nifti(cohort / IMAGE, np.zeros(SHAPE))
    assert "constant" in first_line(prepare)
    assert "constant" in first_line(prepare)
    write_nifti(cohort / IMAGE, ramp())
    prepare()


def test_what_is_finite_in_float64_alone_is_refused() -> None:
    voxels = np.arange(8.0).reshape(2, 2, 2)
    voxels[0, 0, 0] = 1e39
    with pytest.raises(ScanError, match="got 0 NaN or Inf and 1 beyond the range of float32"):
        check_intensities(Path("a.nii"), voxels)


def test_what_differs_in_float64_alone_is_constant() -> None:
    voxels = np.full((2, 2, 2), 1e6)
    voxels[0, 0, 0] += 1e-6
    with pytest.raises(ScanError, match="must not be constant"):
        check_intensities(Path("a.nii"), voxels)
