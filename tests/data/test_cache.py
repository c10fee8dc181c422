import resource
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from gaborseg.data import PreparedCase, SegmentationData, locked, zscore
from gaborseg.interface import obstacle
from gaborseg.machine import cache_folder, remove_partials, whole_folder
from gaborseg.scans import DataError
from warm import Command


def test_the_environment_chooses_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GABORSEG_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert cache_folder(tmp_path / "other") == tmp_path / "other"
    monkeypatch.delenv("GABORSEG_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "gaborseg"


def test_zscore_has_mean_zero_and_deviation_one() -> None:
    image = np.random.default_rng(0).integers(0, 2000, (12, 10, 8)).astype(np.int16)
    scored = zscore(image)
    assert scored.dtype == np.float32
    assert scored.mean() == pytest.approx(0, abs=1e-6)
    assert scored.std() == pytest.approx(1, abs=1e-6)


def test_arrays_that_have_gone_from_the_cache_are_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"image\.npy has gone from the cache") as error:
        PreparedCase(tmp_path).read("image")
    in_a_worker = FileNotFoundError(f"Caught in DataLoader worker process 0.\n{error.value}")
    assert "start the same command again" in str(obstacle(in_a_worker))


@pytest.mark.parametrize("limit", [0, 100, 200])
def test_a_small_array_that_does_not_fit_is_no_whole_one(limit: int, tmp_path: Path) -> None:
    case = PreparedCase(tmp_path / "case")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match=r"(File too large|No space left on device): '.*/case'"):
            case.write(affine=np.eye(4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not case.folder.exists()


def test_a_folder_that_fails_halfway_leaves_nothing(tmp_path: Path) -> None:
    with suppress(RuntimeError), whole_folder(tmp_path / "target") as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_writers_stays(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "target") as late:
        with whole_folder(tmp_path / "target") as early:
            (early / "early").touch()
        (late / "late").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["target", "early"]


def test_prepared_arrays_are_mapped_read_only(tmp_path: Path) -> None:
    case = PreparedCase(tmp_path / "case")
    assert not case.exists
    arrays = {"image": np.ones((1, 2, 2), np.float32), "affine": np.eye(4)}
    case.write(label=np.ones((2, 2), np.uint8), **arrays)
    assert case.exists
    assert isinstance(case.read("label"), np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        case.read("label")[0, 0] = 0


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".partial-dir" / "sub").mkdir(parents=True)
    (tmp_path / ".partial-7-file").touch()
    (tmp_path / "whole").touch()
    remove_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written to"), locked(tmp_path / "file", "x"):
        pass


PREPARE = """
import sys
from gaborseg.data import SegmentationData
data = SegmentationData.from_folder(*sys.argv[1:])
data.prepare()
print(sum(len(list(data.loader(part))) for part in ("train", "validation", "test")))
"""


@pytest.mark.slow
def test_two_processes_prepare_at_once(cohort: Path, tmp_path: Path) -> None:
    words = ["-c", PREPARE, str(cohort), str(tmp_path / "cache")]
    for preparing in [Command(*words) for _ in range(2)]:
        assert preparing.wait().stdout.splitlines()[-1] == "6"
    assert len(list((tmp_path / "cache" / "prepared").glob("[!.]*/image.npy"))) == 6


def test_a_prepared_set_needs_no_lock(cohort: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    SegmentationData.from_folder(cohort, cache).prepare()
    with locked(cache / "prepared", "preparation"):
        SegmentationData.from_folder(cohort, cache).prepare()


@pytest.mark.parametrize("name", ["image", "label", "affine"])
@pytest.mark.parametrize("damage", ["cut", "empty", "missing"])
def test_a_damaged_array_is_prepared_again(
    cohort: Path, tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    SegmentationData.from_folder(cohort, tmp_path / "cache").prepare()
    first, *_ = sorted((tmp_path / "cache" / "prepared").glob(f"*/{name}.npy"))
    content = first.read_bytes()
    first.unlink() if damage == "missing" else first.write_bytes(content[:90] * (damage == "cut"))
    SegmentationData.from_folder(cohort, tmp_path / "cache").prepare()
    assert first.read_bytes() == content
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line == f"{first.parent} is damaged: the case is prepared again"
