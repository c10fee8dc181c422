import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf

from config import compose_config, settings_of
from gaborseg.evaluation import evaluate
from gaborseg.evaluation.label_maps import find_pairs
from gaborseg.evaluation.runs import own_cases, own_data
from gaborseg.experiment import run as training
from gaborseg.interface import UserError
from gaborseg.models import ModelError, load_trained
from gaborseg.networks import VNetDS
from gaborseg.runs import Score, read_scores
from holding import held_by_another
from tiny_cohort import AFFINE, SHAPE, write_cohort, write_nifti
from tiny_model import description, write_checkpoint
from tiny_run import tiny_overrides
from warm import run_command

CHOICES = {"kernel": "conventional", "loss": "pcc", "experiment": "quickstart"}


def evaluated(*overrides: str) -> list[Score]:
    return evaluate(settings_of("evaluate", *overrides))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the user who evaluates, if no setting of theirs names one."""
    path = tmp_path / "own_cache"
    monkeypatch.setattr("gaborseg.data.folder.cache_folder", lambda told: Path(told or path))
    return path


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("data") / "cohort")


@pytest.fixture(scope="module")
def run(cohort: Path) -> Path:
    folder = cohort.parent / "run"
    training.train(compose_config(tiny_overrides(cohort)), folder, CHOICES)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Callable[..., list[str]]:
    """Write two subjects, whose predictions are their truths moved by a voxel."""
    truth = np.zeros(SHAPE, np.int16)
    truth[2:5, 2:5, 2:5], truth[2:5, 2:5, 5:7] = 3, 17
    for name in ("sub-1", "sub-2"):
        write_nifti(tmp_path / "truth" / f"{name}_dseg.nii.gz", truth)
        write_nifti(tmp_path / "predictions" / f"{name}.nii.gz", np.roll(truth, 1, axis=0))

    def overrides(*more: str) -> list[str]:
        places = [f"{name}={tmp_path / name}" for name in ("predictions", "truth")]
        return [*places, f"output={tmp_path / 'out'}", *more]

    return overrides


@pytest.mark.slow
def test_a_run_is_scored_as_its_training_scored_it(run: Path, tmp_path: Path) -> None:
    rows = evaluated(f"run={run}", f"output={tmp_path / 'out'}")
    assert rows == read_scores(run / "subjects.csv") == read_scores(tmp_path / "out/subjects.csv")
    for path in (run / "predictions").iterdir():
        assert path.read_bytes() == (tmp_path / "out/predictions" / path.name).read_bytes()


@pytest.fixture(scope="module")
def patched_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in patches, on voxels of six sizes; the largest are of a training subject."""
    cohort = write_cohort(tmp_path_factory.mktemp("patches") / "cohort")
    for number in range(1, 7):
        for path in cohort.glob(f"sub-0{number}/anat/*.nii.gz"):
            voxels = np.asarray(nib.load(path).dataobj)
            write_nifti(path, voxels, np.diag([*[2.75 - number / 4] * 3, 1]))
    folder = cohort.parent / "run"
    overrides = [*tiny_overrides(cohort), "data.patch_size=6", "split=1"]
    training.train(compose_config(overrides), folder, CHOICES)
    return folder


@pytest.mark.slow
def test_a_run_in_patches_is_scored_in_patches(patched_run: Path, tmp_path: Path) -> None:
    rows = evaluated(f"run={patched_run}", f"output={tmp_path / 'out'}")
    assert rows == read_scores(patched_run / "subjects.csv")
    for path in (patched_run / "predictions").iterdir():
        assert path.read_bytes() == (tmp_path / "out/predictions" / path.name).read_bytes()


def test_the_tolerance_is_that_of_the_whole_data_set(patched_run: Path, tmp_path: Path) -> None:
    record = json.loads((patched_run / "run.json").read_text())
    assert "sub-01" in record["data"]["split"]["train"]
    told = json.loads((patched_run / "done.json").read_text())["nsd_tolerance"]
    assert told == 2.5
    evaluated(f"run={patched_run}", f"output={tmp_path / 'run'}")
    folders = (f"predictions={patched_run / 'predictions'}", f"truth={record['data']['root']}")
    evaluated(*folders, f"output={tmp_path / 'folders'}")
    for name in ("run", "folders"):
        again = json.loads((tmp_path / name / "evaluation.json").read_text())
        assert again["nsd_tolerance"] == told


def test_the_label_maps_of_a_run_score_as_the_run(run: Path, cohort: Path, tmp_path: Path) -> None:
    folders = (f"predictions={run / 'predictions'}", f"truth={cohort}")
    rows, own = evaluated(*folders, f"output={tmp_path}"), read_scores(run / "subjects.csv")
    assert [row[:-2] for row in rows] == [row[:-2] for row in own]
    assert all(math.isnan(error) for row in rows for error in row[-2:])  # maps have no probability
    assert not any(math.isnan(row.ece) for row in own)


def test_another_checkpoint_and_another_part_can_be_scored(run: Path, tmp_path: Path) -> None:
    last = evaluated(
        f"run={run}", "checkpoint=last.ckpt", "part=train", f"output={tmp_path / 'out'}"
    )
    record = json.loads((run / "run.json").read_text())
    assert list(dict.fromkeys(row.subject for row in last)) == record["data"]["split"]["train"]


@pytest.mark.slow
def test_a_run_can_be_decided_by_argmax(cohort: Path, tmp_path: Path) -> None:
    biased, short = tmp_path / "run", ["decision=calibrated", "trainer.max_epochs=1"]
    training.train(compose_config([*tiny_overrides(cohort), *short]), biased, CHOICES)
    checkpoint = torch.load(biased / "best.ckpt", weights_only=True)
    checkpoint["state_dict"]["decision.offset"][2] = 100
    del checkpoint["weights_digest"]
    torch.save(checkpoint, biased / "best.ckpt")
    for name, decision in (("own", []), ("argmax", ["decision=argmax"])):
        evaluated(f"run={biased}", *decision, f"output={tmp_path / name}")
    (own,) = (tmp_path / "own/predictions").iterdir()
    assert (np.asanyarray(nib.load(own).dataobj) == 2).all()
    trained = load_trained(biased)
    case = own_cases(OmegaConf.create({"part": "test", "tolerance": None}), trained).prepared
    image = torch.from_numpy(np.array(case[own.name.removesuffix(".nii.gz")].read("image")))
    written = nib.load(tmp_path / "argmax/predictions" / own.name)
    wanted = trained.network(image[None]).argmax(dim=1)[0].numpy()
    assert np.array_equal(np.asanyarray(written.dataobj), wanted)


def test_a_checkpoint_that_computes_no_numbers_is_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(self: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
        return forward(self, image) * float("inf")

    forward = VNetDS.forward
    monkeypatch.setattr(VNetDS, "forward", overflow)
    with pytest.raises(UserError, match=r"best\.ckpt: logits must be finite, got"):
        evaluated(f"run={run}", f"output={tmp_path / 'out'}")
    assert not (tmp_path / "out" / "subjects.csv").exists()


def test_other_data_are_scored_whole_and_what_was_trained_with_is_told(
    run: Path, cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = ("data=folder", f"data.root={cohort}", f"data.cache={cohort.parent / 'cache'}")
    rows = evaluated(f"run={run}", *data, f"output={tmp_path / 'out'}")
    assert len({row.subject for row in rows}) == 6
    assert "5 of these 6 subjects are called as subjects that the run was trained" in caplog.text


def test_what_was_trained_with_is_told_among_several_folders_too(
    run: Path, cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = write_cohort(tmp_path / "other")
    data = ("data=folder", f"data.root=[{cohort},{other}]", f"data.cache={tmp_path / 'cache'}")
    evaluated(f"run={run}", *data, f"output={tmp_path / 'out'}")
    assert "10 of these 12 subjects are called as subjects that the run was train" in caplog.text


def test_the_only_channel_may_have_another_name(
    run: Path, cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = shutil.copytree(cohort, tmp_path / "other")
    for path in other.glob("sub-*/anat/*_T1w.nii.gz"):
        path.rename(path.with_name(path.name.replace("_T1w", "_MPRAGE")))
    told = json.loads((other / "dataset.json").read_text()) | {"channels": ["MPRAGE"]}
    (other / "dataset.json").write_text(json.dumps(told))
    with caplog.at_level("INFO"):
        rows = evaluated(
            f"run={run}", "data=folder", f"data.root={other}", f"output={tmp_path / 'out'}"
        )
    assert len({row.subject for row in rows}) == 6
    assert "The channel MPRAGE is taken for the network's, T1w" in caplog.text


def bent(cohort: Path, root: Path) -> Path:
    """A cohort whose scans another scanner has bent."""
    shutil.copytree(cohort, root)
    for path in root.glob("sub-*/anat/*_T1w.nii.gz"):
        image = nib.load(path)
        voxels = image.get_fdata()
        low, high = voxels.min(), voxels.max()
        nib.save(nib.Nifti1Image(((voxels - low) / (high - low)) ** 6, image.affine), path)
    return root


@pytest.mark.parametrize(
    ("told", "matched"), [(None, True), ("always", True), ("auto", True), ("never", False)]
)
def test_scans_of_other_data_get_the_histogram_of_the_training_scans(
    run: Path, cohort: Path, tmp_path: Path, told: str | None, matched: bool
) -> None:
    other = bent(cohort, tmp_path / "other")
    choice = [] if told is None else [f"match_histograms={told}"]
    out = tmp_path / "out"
    evaluated(f"run={run}", "data=folder", f"data.root={other}", f"output={out}", *choice)
    record = json.loads((out / "evaluation.json").read_text())
    assert (
        (len(record["histogram_matched"]) > 0) if matched else record["histogram_matched"] is None
    )


def test_false_is_no_way_to_match(run: Path, cohort: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="match_histograms must be one of auto, always, never, got F"
    ):
        evaluated(f"run={run}", "match_histograms=false", f"output={tmp_path / 'out'}")


def test_data_of_another_window_are_told(
    run: Path, cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = write_cohort(tmp_path / "other", num_subjects=1)
    told = json.loads((other / "dataset.json").read_text())
    told["preparation"] = {"window": [-160, 240]}
    (other / "dataset.json").write_text(json.dumps(told))
    evaluated(f"run={run}", "data=folder", f"data.root={other}", f"output={tmp_path / 'out'}")
    assert "was prepared with window=[-160,240], the training data of" in caplog.text
    assert "best.ckpt with window=null: prepare it like these" in caplog.text


def test_other_structures_are_refused(run: Path, tmp_path: Path) -> None:
    other = write_cohort(tmp_path / "other", num_subjects=1)
    description = json.loads((other / "dataset.json").read_text())
    (other / "dataset.json").write_text(json.dumps(description | {"structures": ["a", "b"]}))
    with pytest.raises(UserError, match=r"must have the structures of .* inner, outer, got a, b"):
        evaluated(f"run={run}", "data=folder", f"data.root={other}", f"output={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        ("root", {"_target_": "pathlib.Path.unlink"}, r"got pathlib\.Path\.unlink"),
        (
            "root",
            {"_target_": "gaborseg.data.cache.np.load"},
            r"got gaborseg\.data\.cache\.np\.load",
        ),
        ("_target_", "gaborseg.data.cache.Path.write_text", r"got gaborseg\.data\.cache\.Path"),
        ("_target_", "gaborseg.data.AtlasCohort", r"got gaborseg\.data\.AtlasCohort"),
        ("root", "${oc.env:HOME}", "without interpolations, got"),
        ("_args_", ["x"], "without _args_"),
        ("_recursive_", False, "without _recursive_"),
        ("split_file", [{"_target_": "os.system"}], r"got os\.system"),
    ],
)
def test_a_run_may_not_bring_code_of_its_own(
    run: Path, tmp_path: Path, place: str, value: object, problem: str
) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"][place] = value
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("best.ckpt", "run.json"):
        (folder / name).write_bytes((run / name).read_bytes())
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=problem):
        evaluated(f"run={folder}", f"output={tmp_path / 'out'}")


def test_a_run_does_not_say_where_prepared_arrays_are_written(
    run: Path, tmp_path: Path, own_cache: Path
) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["cache"] = str(tmp_path / "home")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("best.ckpt", "run.json"):
        (folder / name).write_bytes((run / name).read_bytes())
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    evaluated(f"run={folder}", f"output={tmp_path / 'out'}")
    assert not (tmp_path / "home").exists()
    assert len([*own_cache.glob("prepared/*/image.npy")]) == 6


@pytest.mark.parametrize("count", [1001, 10**9, "many", [1]])
def test_a_run_does_not_say_that_thousands_of_brains_are_to_be_built(
    run: Path, count: object
) -> None:
    source = {"_target_": "gaborseg.data.AtlasCohort", "num_subjects": count}
    node = {"_target_": "gaborseg.data.SegmentationData", "source": source}
    with pytest.raises(ModelError, match=r"must have at most 1000 simulated subjects, got"):
        own_data(run, node)


def test_the_cache_of_a_cohort_is_the_users_own_too(run: Path) -> None:
    source = {"_target_": "gaborseg.data.AtlasCohort", "num_subjects": 5}
    node = {"source": source | {"cache": "/home/you", "processes": 10**6}}
    assert own_data(run, node)["source"] == source


def test_label_maps_are_not_written_through_a_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/predictions").symlink_to(tmp_path / "home")
    with pytest.raises(UserError, match=r"predictions is a link, .* remove it"):
        evaluated(f"run={run}", f"output={tmp_path / 'out'}")
    assert list((tmp_path / "home").iterdir()) == []


def write_maps(folder: Path, **labels: int) -> Path:
    folder.mkdir()
    for name, label in labels.items():
        voxels = np.zeros((6, 6, 6), np.uint8)
        voxels[1:4, 1:4, 1:4] = label
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / f"{name}.nii.gz")
    return folder


def test_a_map_of_another_visit_takes_no_truth(tmp_path: Path) -> None:
    predictions = write_maps(tmp_path / "p", **{"sub-01": 1, "sub-01_ses-2": 1})
    truth = write_maps(tmp_path / "t", **{"sub-01": 1})
    with pytest.raises(UserError, match=r"sub-01_ses-2\.nii\.gz has no truth"):
        evaluated(f"predictions={predictions}", f"truth={truth}", f"output={tmp_path / 'out'}")


def test_two_maps_share_no_truth(tmp_path: Path) -> None:
    predictions = write_maps(tmp_path / "p", **{"sub-01": 1, "sub-01_T1w": 1})
    truth = write_maps(tmp_path / "t", **{"sub-01": 1})
    with pytest.raises(UserError, match="have the same truth, sub-01"):
        evaluated(f"predictions={predictions}", f"truth={truth}", f"output={tmp_path / 'out'}")


def test_maps_that_number_structures_differently_are_refused(tmp_path: Path) -> None:
    predictions = write_maps(tmp_path / "p", a=1, b=2)
    truth = write_maps(tmp_path / "t", a=17, b=53)
    with pytest.raises(UserError, match="labels in common, got 1, 2 and 17, 53"):
        evaluated(f"predictions={predictions}", f"truth={truth}", f"output={tmp_path / 'out'}")


def mapping_file(folder: Path, text: str) -> str:
    (folder / "labels.yaml").write_text(text)
    return f"labels={folder / 'labels.yaml'}"


def test_a_truth_with_other_ids_is_mapped(tmp_path: Path) -> None:
    predictions = write_maps(tmp_path / "p", a=1, b=2)
    truth = write_maps(tmp_path / "t", a=17, b=54)
    places = (f"predictions={predictions}", f"truth={truth}", f"output={tmp_path / 'out'}")
    rows = evaluated(*places, mapping_file(tmp_path, "17 53: hippocampus\n18 54: amygdala\n"))
    dice = {(row.subject, row.structure): row.dice for row in rows if not math.isnan(row.dice)}
    assert dice == {("a", "hippocampus"): 1, ("b", "amygdala"): 1}


def test_truths_are_found_by_the_pattern_of_prepare(tmp_path: Path) -> None:
    predictions = write_maps(tmp_path / "p", **{"sub-1003_dseg": 1, "sub-1004_dseg": 1})
    truth = write_maps(tmp_path / "t", image=5)
    write_maps(truth / "testing-labels", **{"1003_3_glm": 23, "1004_3_glm": 23})
    folders = (f"predictions={predictions}", f"truth={truth}", f"output={tmp_path / 'out'}")
    more = ("labels=malc2012", "structures=[accumbens]")
    pattern = "label_pattern='**/{split}-labels/{subject}_3_glm.nii.gz'"
    rows = evaluated(*folders, *more, pattern)
    assert [(row.subject, row.dice) for row in rows] == [("sub-1003", 1), ("sub-1004", 1)]


def test_a_pattern_is_not_for_a_run(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="label_pattern must only be given with predictions="):
        evaluated(f"run={run}", "label_pattern='{subject}.nii'", f"output={tmp_path / 'out'}")


def described(folder: Path, file: str, *structures: str, **more: object) -> Path:
    (folder / file).write_text(json.dumps({"structures": structures} | more))
    return folder


@pytest.mark.parametrize("ignore", [None, 255])
def test_maps_that_number_structures_in_another_order_are_matched_by_name(
    tmp_path: Path, ignore: int | None
) -> None:
    predictions = write_maps(tmp_path / "p", a=1, b=2)
    truth = write_maps(tmp_path / "t", a=2, b=1)
    described(predictions, "predict.json", "amygdala", "hippocampus")
    described(truth, "dataset.json", "hippocampus", "amygdala")
    more = [] if ignore is None else [f"ignore={ignore}"]
    places = (f"predictions={predictions}", f"truth={truth}", f"output={tmp_path / 'out'}")
    rows = evaluated(*places, *more)
    dice = {(row.subject, row.structure): row.dice for row in rows if not math.isnan(row.dice)}
    assert dice == {("a", "amygdala"): 1, ("b", "hippocampus"): 1}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], r"t must have the structures of the predictions, amygdala, got hippocampus"),
        (["structures=[brain]"], "structures must be those of the predictions, amygdala, got brai"),
    ],
)
def test_maps_of_other_structures_are_refused(
    tmp_path: Path, more: list[str], message: str
) -> None:
    predictions = described(write_maps(tmp_path / "p", a=1), "predict.json", "amygdala")
    truth = described(write_maps(tmp_path / "t", a=1), "dataset.json", "hippocampus")
    places = (f"predictions={predictions}", f"truth={truth}", f"output={tmp_path / 'out'}")
    with pytest.raises(UserError, match=message):
        evaluated(*places, *more)


def test_a_structure_that_nobody_has_looked_for_has_no_score(tmp_path: Path) -> None:
    predictions = write_maps(tmp_path / "p", a=1, b=2)
    truth = write_maps(tmp_path / "t", a=1, b=0)
    described(truth, "dataset.json", "liver", "spleen", unlabelled={"b": ["spleen"]})
    places = (f"predictions={predictions}", f"truth={truth}", f"output={tmp_path / 'out'}")
    rows = {(row.subject, row.structure): row for row in evaluated(*places)}
    assert rows["a", "liver"].dice == 1
    assert math.isnan(rows["b", "spleen"].dice)
    assert rows["b", "spleen"].volume == 0


@pytest.mark.parametrize("told", ["structures", "predict.json"])
def test_structures_are_mapped_by_name_not_by_order(tmp_path: Path, told: str) -> None:
    predictions = write_maps(tmp_path / "p", a=1)
    truth = write_maps(tmp_path / "t", a=54)
    more = [mapping_file(tmp_path, "17: hippocampus\n54: amygdala\n")]
    if told == "structures":
        more.append("structures=[amygdala,hippocampus]")
    else:
        record = json.dumps({"structures": ["amygdala", "hippocampus"]})
        (predictions / "predict.json").write_text(record)
    places = (f"predictions={predictions}", f"truth={truth}", f"output={tmp_path / 'out'}")
    first = evaluated(*places, *more)[0]
    assert (first.structure, first.dice) == ("amygdala", 1)


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("18: a\n", "structures=[a]", r"t/a\.nii\.gz holds ids that labels does not know, 17"),
        (
            "17: b\n",
            "structures=[a]",
            r"structures must be names in .*labels\.yaml, such as b, got a",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(
    tmp_path: Path, text: str, more: str, message: str
) -> None:
    predictions = write_maps(tmp_path / "p", a=1)
    truth = write_maps(tmp_path / "t", a=17)
    places = (f"predictions={predictions}", f"truth={truth}", f"output={tmp_path / 'out'}")
    with pytest.raises(UserError, match=message):
        evaluated(*places, mapping_file(tmp_path, text), more)


def test_a_map_is_not_its_own_truth(tmp_path: Path) -> None:
    predictions = write_maps(tmp_path / "p", a=1)
    (tmp_path / "t").mkdir()
    (tmp_path / "t/a.nii.gz").symlink_to(predictions / "a.nii.gz")
    with pytest.raises(UserError, match=r"p/a\.nii\.gz is the same file as its truth"):
        evaluated(f"predictions={predictions}", f"truth={tmp_path}/t", f"output={tmp_path}/out")


def test_a_folder_can_be_compared_with_itself(tmp_path: Path) -> None:
    maps = write_maps(tmp_path / "p", a=1)
    evaluated(f"predictions={maps}", f"truth={maps}", f"output={tmp_path}/out")
    assert [score.dice for score in read_scores(tmp_path / "out/subjects.csv")] == [1]


def test_links_to_one_truth_are_one_truth(tmp_path: Path) -> None:
    predictions = write_maps(tmp_path / "p", a=1, b=1)
    truth = write_maps(tmp_path / "t", a=1)
    (truth / "b.nii.gz").symlink_to(truth / "a.nii.gz")
    with pytest.raises(UserError, match="have the same truth, b"):
        evaluated(f"predictions={predictions}", f"truth={truth}", f"output={tmp_path / 'out'}")


def test_maps_are_found_whatever_their_folders_are_called(tmp_path: Path) -> None:
    for kind in ("p", "t"):
        write_maps(tmp_path / kind)
        for folder in ("sub-01", "patient 2"):
            write_maps(tmp_path / kind / folder, **{f"{folder}_dseg": 1})
    pairs, _ = find_pairs(tmp_path / "p", tmp_path / "t")
    assert [pair.subject for pair in pairs] == ["patient 2", "sub-01"]


def test_label_maps_are_scored_in_millimetres(folders: Callable[..., list[str]]) -> None:
    row, *_ = evaluated(*folders("structures=null", "tolerance=1.9"))
    assert row.structure == "label_3"
    assert row.dice == pytest.approx(2 * 18 / 54)
    assert row.hd95 == 2
    assert 0 < row.nsd < 1
    assert row.volume == row.true_volume == 27 * 8


def test_the_tolerance_is_a_voxel_unless_it_is_given(
    folders: Callable[..., list[str]], tmp_path: Path
) -> None:
    assert {row.nsd for row in evaluated(*folders())} == {1}
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert record["nsd_tolerance"] == 2
    assert record["means"]["nsd"] == 1


def test_structures_are_named_by_the_user_or_the_data_set(
    folders: Callable[..., list[str]], tmp_path: Path
) -> None:
    names = [f"s{label}" for label in range(1, 18)]
    rows = evaluated(*folders(f"structures=[{','.join(names)}]"))
    assert [row.structure for row in rows] == 2 * names
    assert math.isnan(rows[0].dice)
    assert rows[2].dice > 0
    (tmp_path / "truth" / "dataset.json").write_text(json.dumps({"structures": names}))
    again = evaluated(*folders(f"output={tmp_path / 'again'}")[:2], f"output={tmp_path / 'b'}")
    assert [row.structure for row in again] == 2 * names


def test_one_structure_may_be_named_without_brackets(tmp_path: Path) -> None:
    for folder in ("predicted", "true"):
        write_nifti(
            tmp_path / folder / "a.nii.gz", np.eye(8, dtype=np.int16)[..., None].repeat(8, 2)
        )
    words = [f"predictions={tmp_path}/predicted", f"truth={tmp_path}/true"]
    rows = evaluated(*words, "structures=liver", f"output={tmp_path}/out")
    assert [row.structure for row in rows] == ["liver"]


def test_structures_that_share_a_name_are_refused(
    folders: Callable[..., list[str]], tmp_path: Path
) -> None:
    message = "structures must differ from one another, got a twice"
    with pytest.raises(UserError, match=message):
        evaluated(*folders("structures=[a,b,a]"))
    (tmp_path / "truth" / "dataset.json").write_text(json.dumps({"structures": ["a", "a"]}))
    with pytest.raises(UserError, match=message):
        evaluated(*folders())


def test_absent_structures_follow_the_rule(
    folders: Callable[..., list[str]], tmp_path: Path
) -> None:
    for kind, label in (("truth", "sub-1_dseg"), ("predictions", "sub-2")):
        path = tmp_path / kind / f"{label}.nii.gz"
        voxels = np.asarray(nib.load(path).dataobj).copy()
        voxels[voxels == 17] = 0
        write_nifti(path, voxels)
    rows = {(row.subject, row.structure): row for row in evaluated(*folders())}
    for subject in ("sub-1", "sub-2"):
        row = rows[subject, "label_17"]
        assert (row.dice, row.nsd) == (0, 0)
        assert row.hd95 == pytest.approx(8 * 2 * math.sqrt(3))


def test_a_label_that_only_other_subjects_have_is_absent(
    folders: Callable[..., list[str]], tmp_path: Path
) -> None:
    for kind, label in (("truth", "sub-1_dseg"), ("predictions", "sub-1")):
        write_nifti(tmp_path / kind / f"{label}.nii.gz", np.zeros(SHAPE, np.int16))
    row = evaluated(*folders())[0]
    assert (row.subject, row.structure, row.volume) == ("sub-1", "label_3", 0)
    assert math.isnan(row.dice)
    assert math.isnan(row.hd95)


def test_results_are_never_replaced(folders: Callable[..., list[str]], tmp_path: Path) -> None:
    evaluated(*folders())
    before = (tmp_path / "out" / "subjects.csv").read_bytes()
    with pytest.raises(UserError, match="holds results; choose another folder with output="):
        evaluated(*folders("tolerance=5"))
    assert (tmp_path / "out" / "subjects.csv").read_bytes() == before


def test_a_folder_that_another_command_writes_to_is_left_to_it(
    folders: Callable[..., list[str]], tmp_path: Path
) -> None:
    with held_by_another(tmp_path / "out"), pytest.raises(UserError, match="is in use by process"):
        evaluated(*folders())
    assert not (tmp_path / "out" / "subjects.csv").exists()


def test_names_of_files_are_matched_with_care(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    for name in ("sub-1_T1w_dseg", "sub-10_dseg", "sub-1_T1w_probabilities"):
        write_nifti(tmp_path / "predictions" / f"{name}.nii.gz", labels)
    for name in ("sub-1/anat/sub-1_dseg", "sub-10/anat/sub-10_dseg", "sub-2/anat/sub-2_dseg"):
        write_nifti(tmp_path / "truth" / f"{name}.nii.gz", labels)
    pairs, left_over = find_pairs(tmp_path / "predictions", tmp_path / "truth")
    assert [(p.subject, p.truth.parts[-3]) for p in pairs] == [
        ("sub-10", "sub-10"),
        ("sub-1_T1w", "sub-1"),
    ]
    assert left_over == 1


def shift_affine(folder: Path) -> None:
    affine = AFFINE.copy()
    affine[0, 3] = 1
    path = folder / "predictions" / "sub-2.nii.gz"
    write_nifti(path, np.asarray(nib.load(path).dataobj), affine)


def cut_shape(folder: Path) -> None:
    path = folder / "predictions" / "sub-2.nii.gz"
    write_nifti(path, np.asarray(nib.load(path).dataobj)[:-1])


def add_fractions(folder: Path) -> None:
    write_nifti(folder / "predictions" / "sub-2.nii.gz", np.full(SHAPE, 0.5, np.float32))


def remove_truth(folder: Path) -> None:
    (folder / "truth" / "sub-2_dseg.nii.gz").unlink()


def remove_all(folder: Path) -> None:
    for path in (folder / "truth").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shift_affine, r"sub-2.nii.gz and .*sub-2_dseg.nii.gz must share an affine, .* by 1 mm"),
        (cut_shape, r"sub-2.nii.gz and .*sub-2_dseg.nii.gz must share a shape, got \(7, 8, 8\)"),
        (add_fractions, r"predictions/sub-2.nii.gz must hold integers, got 0.5"),
        (remove_truth, r"sub-2.nii.gz has no truth: expected sub-2 in"),
        (remove_all, r"truth holds no label map"),
    ],
)
def test_maps_that_do_not_belong_together_are_named(
    folders: Callable[..., list[str]],
    tmp_path: Path,
    spoil: Callable[[Path], None],
    message: str,
) -> None:
    spoil(tmp_path)
    with pytest.raises(UserError, match=message) as error:
        evaluated(*folders())
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out" / "subjects.csv").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "either run=DIR must be given, or both predictions=DIR and truth=DIR"),
        (["run=a", "truth=b"], "either run=DIR must be given"),
        (["predictions=a"], "either run=DIR must be given"),
        (["predictions=/nowhere", "truth=/nowhere"], "/nowhere is not a folder"),
        (["run=/nowhere"], "/nowhere/best.ckpt is missing"),
        (["run=a", "part=half"], "part must be train, validation, test, all, got half"),
        (["run=a", "tolerance=-1"], "tolerance must be a number of 0 mm or more, got -1"),
        (["run=a", "decision=calibrated"], "decision must be argmax, which needs no fit"),
        (["run=a", "labels=aal"], "labels must only be given with predictions= and truth="),
        (["predictions=a", "truth=b", "decision=argmax"], "decision .* only be given with run="),
        (["predictions=a", "truth=b", "match_histograms=auto"], "match_histograms must only be"),
        (["run=a", "device=moon"], "device must be auto, cpu or cuda, got moon"),
    ],
)
def test_mistakes_are_one_line(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        evaluated(*overrides, f"output={tmp_path / 'out'}")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_a_csv(
    folders: Callable[..., list[str]], tmp_path: Path
) -> None:
    done = run_command("src.evaluate", *folders())
    assert done.returncode == 0
    assert "label_17" in done.stdout
    assert "Written to" in done.stderr
    with (tmp_path / "out" / "subjects.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4


def test_the_predictions_of_a_run_lie_where_its_scans_lie(run: Path, cohort: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    paths = sorted((run / "predictions").iterdir())
    assert [path.name for path in paths] == [
        f"{subject}.nii.gz" for subject in sorted(record["data"]["split"]["test"])
    ]
    for path in paths:
        volume = nib.load(path)
        assert volume.get_data_dtype() == np.uint8
        assert volume.header.get_xyzt_units()[0] == "mm"
        np.testing.assert_array_equal(volume.affine, AFFINE)
        assert torch.from_numpy(np.asarray(volume.dataobj)).max() <= 2


@pytest.mark.parametrize("mapped", [False, True])
def test_voxels_that_nobody_has_labelled_do_not_count(
    folders: Callable[..., list[str]], tmp_path: Path, mapped: bool
) -> None:
    for path in (tmp_path / "truth").iterdir():
        voxels = np.asarray(nib.load(path).dataobj).copy()
        voxels[4:] = 99
        write_nifti(path, voxels)
    told = mapping_file(tmp_path, "1: a\n2: b\n3: c\n17: d\n99: ignore\n")
    more = [told, "structures=[a,b,c,d]"] if mapped else ["ignore=99"]
    if mapped:
        for path in (tmp_path / "predictions").iterdir():
            voxels = np.asarray(nib.load(path).dataobj).copy()
            voxels[voxels == 17] = 4
            write_nifti(path, voxels)
    rows = {row.structure: row for row in evaluated(*folders(*more)) if row.subject == "sub-1"}
    row = rows["c" if mapped else "label_3"]
    assert row.dice == pytest.approx(2 * 9 / (9 + 18))  # one slice is found, of two
    assert (row.volume, row.true_volume) == (9 * 8, 18 * 8)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["ignore=255", "labels=aal"], "ignore must only be given with predictions= and truth="),
        (["ignore=some"], "ignore must be an integer, got some"),
    ],
)
def test_what_to_ignore_is_told_once(
    folders: Callable[..., list[str]], more: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        evaluated(*folders(*more))


@pytest.mark.slow
def test_gabor_kernels_are_scaled_for_finer_data(cohort: Path, tmp_path: Path) -> None:
    told = description("gabor", "argmax", size=8, structures=["inner", "outer"])
    told["network"] |= {"num_classes": 3}
    write_checkpoint(tmp_path / "best.ckpt", told)
    data = ("data=folder", f"data.root={cohort}", f"data.cache={cohort.parent / 'cache'}")
    volumes = {}
    for scale in ("null", "2"):
        folder = tmp_path / scale
        rows = evaluated(
            f"run={tmp_path}", *data, f"network.scale={scale}", f"output={folder}", "device=cpu"
        )
        volumes[scale] = [row.volume for row in rows]
        record = json.loads((folder / "evaluation.json").read_text())
        assert record["scale"] == {"null": None, "2": 2}[scale]
    assert volumes["2"] != volumes["null"]


def test_conventional_kernels_cannot_be_scaled(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^network\.scale must be 1 for a network with conv"):
        evaluated(f"run={run}", "network.scale=2", f"output={tmp_path / 'out'}")


def test_label_maps_have_no_kernels_to_scale(folders: Callable[..., list[str]]) -> None:
    with pytest.raises(UserError, match=r"network\.scale must only be given with run="):
        evaluated(*folders("network.scale=2"))
