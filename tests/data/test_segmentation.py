import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from gaborseg.data import RandomAffine, SegmentationData
from gaborseg.scans import DataError
from tiny_cohort import SHAPE, write_cohort, write_nifti

Build = Callable[..., SegmentationData]
PARTS = ("train", "validation", "test")


def batches(data: SegmentationData, part: str, epoch: int) -> list[dict]:
    loader = data.loader(part)
    loader.sampler.set_epoch(epoch)
    return list(loader)


def assert_same_batches(first: list[dict], second: list[dict]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in ("image", "label", "index"))


def test_a_batch_has_the_documented_shapes_and_types(tiny_data: Build) -> None:
    batch = next(iter(tiny_data(batch_size=2, num_workers=0).loader("train")))
    assert (batch["image"].shape, batch["image"].dtype) == ((2, 1, *SHAPE), torch.float32)
    assert (batch["label"].shape, batch["label"].dtype) == ((2, *SHAPE), torch.uint8)
    assert (batch["index"].shape, batch["index"].dtype) == ((2,), torch.int64)


def test_properties_come_from_the_data_set(tiny_data: Build) -> None:
    data = tiny_data()
    assert data.structures == ("inner", "outer")
    assert (data.num_classes, data.in_channels) == (3, 1)
    assert (data.spatial_shape, data.spacing) == (SHAPE, (2.0, 2.0, 2.0))
    assert data.subjects == tuple(f"sub-{number:02d}" for number in range(1, 7))


def test_every_subject_comes_from_exactly_one_part(tiny_data: Build) -> None:
    data = tiny_data(num_workers=0)
    loaded = [data.subjects[batch["index"]] for part in PARTS for batch in data.loader(part)]
    assert sorted(loaded) == list(data.subjects)


def test_images_are_zscored_and_labels_kept(tiny_data: Build, cohort: Path) -> None:
    for batch in batches(tiny_data(num_workers=0), "test", 0):
        name = f"sub-{batch['index'].item() + 1:02d}"
        voxels = nib.load(cohort / name / "anat" / f"{name}_T1w.nii.gz").get_fdata()
        expected = (voxels - voxels.mean()) / voxels.std()
        np.testing.assert_allclose(batch["image"][0, 0].numpy(), expected, atol=1e-6)
        label = nib.load(cohort / name / "anat" / f"{name}_dseg.nii.gz").get_fdata()
        np.testing.assert_array_equal(batch["label"][0].numpy(), label)


def test_several_images_become_channels(tmp_path: Path) -> None:
    root = write_cohort(tmp_path / "two", channels=("T1w", "FLAIR"))
    data = SegmentationData.from_folder(root, tmp_path / "cache", num_workers=0)
    data.prepare()
    assert data.in_channels == 2
    assert next(iter(data.loader("test")))["image"].shape == (1, 2, *SHAPE)


def test_the_number_of_workers_changes_nothing(tiny_data: Build) -> None:
    alone, helped = (
        batches(tiny_data(augmentation=RandomAffine(), num_workers=workers), "train", epoch=1)
        for workers in (0, 2)
    )
    assert_same_batches(alone, helped)


def test_persistent_workers_notice_the_epoch(tiny_data: Build) -> None:
    loader = tiny_data(augmentation=RandomAffine(), num_workers=2).loader("train")
    passes = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        passes.append(list(loader))
    fresh = batches(tiny_data(augmentation=RandomAffine(), num_workers=0), "train", epoch=2)
    assert_same_batches(passes[2], fresh)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_epoch_counts_that_is_set_before_the_first_batch(
    tiny_data: Build, num_workers: int
) -> None:
    data = tiny_data(augmentation=RandomAffine(), num_workers=num_workers)
    loader = data.loader("train")
    iterator = iter(loader)  # this is what Lightning does first when it resumes
    loader.sampler.set_epoch(2)
    assert_same_batches(list(iterator), batches(data, "train", epoch=2))


def test_each_epoch_and_seed_draws_anew(tiny_data: Build) -> None:
    def image_of_subject(seed: int, epoch: int) -> torch.Tensor:
        data = tiny_data(augmentation=RandomAffine(1.0), seed=seed, num_workers=0)
        drawn = {int(b["index"]): b["image"] for b in batches(data, "train", epoch)}
        return drawn[min(drawn)]

    images = [image_of_subject(*choice) for choice in [(0, 0), (0, 1), (1, 0)]]
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_only_training_samples_are_augmented(tiny_data: Build) -> None:
    augmented, plain = (
        batches(tiny_data(augmentation=augmentation, num_workers=0), "test", 0)
        for augmentation in (RandomAffine(1.0), None)
    )
    assert_same_batches(augmented, plain)


def test_augmented_labels_stay_among_the_classes(tiny_data: Build) -> None:
    data = tiny_data(augmentation=RandomAffine(1.0), num_workers=0)
    for batch in batches(data, "train", 0):
        assert batch["label"].dtype == torch.uint8
        assert set(batch["label"].unique().tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("num_workers", [0, 1])
def test_loading_leaves_torchs_generator_alone(tiny_data: Build, num_workers: int) -> None:
    data = tiny_data(augmentation=RandomAffine(), num_workers=num_workers)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(data.loader("train"))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_second_epoch_reads_no_scan(tiny_data: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny_data(num_workers=0)
    monkeypatch.setattr(nib, "load", lambda path: pytest.fail(f"{path} was read"))
    assert len(batches(data, "train", 1)) == 4
    tiny_data(num_workers=0)


def test_a_changed_scan_is_prepared_anew(tiny_data: Build, cohort: Path) -> None:
    tiny_data()
    path = cohort / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    scan = nib.load(path)
    voxels = np.asarray(scan.dataobj).copy()
    voxels[0] += 500
    nib.save(nib.Nifti1Image(voxels, scan.affine), path)
    data = tiny_data(num_workers=0)
    everything = [batch for part in PARTS for batch in batches(data, part, 0)]
    image = next(batch["image"] for batch in everything if int(batch["index"]) == 0)
    assert image[0, 0, 0].mean() > 1


def test_the_users_own_folder_is_not_written_to(tiny_data: Build, cohort: Path) -> None:
    before = sorted(cohort.rglob("*"))
    tiny_data()
    assert sorted(cohort.rglob("*")) == before


def test_a_split_file_decides(tiny_data: Build, tmp_path: Path) -> None:
    parts = {"train": ["sub-06"], "validation": ["sub-02"], "test": ["sub-01", "sub-03"]}
    (tmp_path / "split.json").write_text(json.dumps(parts))
    data = tiny_data(split_file=tmp_path / "split.json", num_workers=0)
    assert [int(batch["index"]) for batch in data.loader("test")] == [0, 2]


def test_the_description_is_json_and_names_the_split(tiny_data: Build) -> None:
    description = json.loads(json.dumps(tiny_data().describe()))
    assert description["name"] == "tiny"
    assert {"credit", "licence", "versions"} <= set(description)
    assert [len(description["split"][p]) for p in PARTS] == [4, 1, 1]
    assert "participants" not in description


def test_patches_of_several_cases_are_one_batch(tiny_data: Build) -> None:
    data = tiny_data(batch_size=2, patch_size=4, patches_per_volume=3, num_workers=0)
    first, *_ = batches(data, "train", 0)
    assert first["image"].shape == (6, 1, 4, 4, 4)
    assert (first["label"].shape, first["label"].dtype) == ((6, 4, 4, 4), torch.uint8)
    assert first["index"].unique_consecutive(return_counts=True)[1].tolist() == [3, 3]


def test_patches_of_a_worker_are_in_shared_memory(tiny_data: Build) -> None:
    first, *_ = batches(tiny_data(patch_size=4, num_workers=1), "train", 0)
    assert first["image"].is_shared()


def empty_labels(cohort: Path, *numbers: int) -> None:
    for number in numbers:
        path = cohort / f"sub-0{number}" / "anat" / f"sub-0{number}_dseg.nii.gz"
        write_nifti(path, np.zeros(SHAPE, np.uint8))


def test_a_part_without_any_structure_is_refused(tiny_data: Build, cohort: Path) -> None:
    (validation,) = tiny_data().split.validation
    empty_labels(cohort, int(validation[4:]))
    with pytest.raises(DataError, match="validation must hold a scan with a structure; choose"):
        tiny_data()


def test_controls_are_spread_over_the_parts_by_themselves(tiny_data: Build, cohort: Path) -> None:
    path = cohort / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"empty": ["sub-01", "sub-06"]}))
    empty_labels(cohort, 1, 6)
    for split in range(5):
        data = tiny_data(split=split)
        with_structures = [{*data.split.part(part)} - {"sub-01", "sub-06"} for part in PARTS]
        assert [len(part) for part in with_structures] == [2, 1, 1]


def test_voxels_that_are_no_cubes_are_noted_before_training(
    tiny_data: Build, cohort: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in cohort.glob("sub-03/anat/*.nii.gz"):
        write_nifti(path, np.asarray(nib.load(path).dataobj), np.diag([2.0, 2.0, 3.0, 1.0]))
    tiny_data()
    assert "voxels of sub-03 are no cubes, 2 x 2 x 3 mm" in caplog.text
    assert "gaborseg predict will refuse it" in caplog.text


def test_sessions_of_one_person_stay_together_without_a_table(
    tiny_data: Build, cohort: Path
) -> None:
    for number in range(1, 7):
        name, old = f"sub-0{number % 4}_ses-{number}", f"sub-0{number}"
        for path in (cohort / old / "anat").iterdir():
            path.rename(path.with_name(path.name.replace(old, name)))
        (cohort / old).rename(cohort / name)
    split = tiny_data().split
    people = [{name[:6] for name in split.part(part)} for part in PARTS]
    assert [len(part) for part in people] == [2, 1, 1]
    assert len(set.union(*people)) == 4


def test_patches_follow_seed_and_epoch_alone(tiny_data: Build) -> None:
    def drawn(epoch: int, **options: object) -> list[dict]:
        options = {"patch_size": 4, "augmentation": RandomAffine(), **options}
        return batches(tiny_data(**options), "train", epoch)

    assert_same_batches(drawn(1, num_workers=0), drawn(1, num_workers=2))
    for other in (drawn(2, num_workers=0), drawn(1, num_workers=0, seed=1)):
        images = [{int(b["index"][0]): b["image"] for b in one} for one in (drawn(1), other)]
        position = min(images[0])
        assert not torch.equal(images[0][position], images[1][position])


def test_patches_that_would_take_hours_are_refused_before_training(
    tiny_data: Build, cohort: Path
) -> None:
    for path in cohort.glob("*/anat/*.nii.gz"):
        voxels = np.asarray(nib.load(path).dataobj)
        write_nifti(path, np.pad(voxels, ((0, 8), (0, 0), (0, 0)), mode="edge"))
    with pytest.raises(ValueError, match=r"patch_size must be at least 2, .* side, got 1"):
        tiny_data(patch_size=1)


def test_only_training_cases_are_cut_into_patches(tiny_data: Build) -> None:
    data = tiny_data(patch_size=4, num_workers=0)
    assert_same_batches(batches(data, "test", 0), batches(tiny_data(num_workers=0), "test", 0))
    assert data.patch_size == data.describe()["patch_size"] == 4
    assert tiny_data().describe()["patch_size"] is None


def test_scans_of_one_person_stay_together(tiny_data: Build, cohort: Path) -> None:
    rows = "".join(f"sub-0{n}\t{person}\n" for n, person in enumerate("aabbcd", start=1))
    (cohort / "participants.tsv").write_text("participant_id\tparticipant\n" + rows)
    data = tiny_data()
    split = data.split
    told = {"sub-01": "a", "sub-02": "a", "sub-03": "b", "sub-04": "b"}
    assert data.describe()["participants"] == told
    people = [{"aabbcd"[int(name[4:]) - 1] for name in split.part(part)} for part in PARTS]
    assert [len(part) for part in people] == [2, 1, 1]
    assert set.union(*people) == set("abcd")


def test_using_the_data_before_preparing_is_refused(cohort: Path, tmp_path: Path) -> None:
    data = SegmentationData.from_folder(cohort, tmp_path)
    with pytest.raises(RuntimeError, match="prepare"):
        data.structures  # noqa: B018


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"num_workers": -1}, "got -1"),
    ],
)
def test_impossible_options_are_refused(cohort: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SegmentationData.from_folder(cohort, **options)
