"""Data sets as they are downloaded, each as a tiny copy of its layout."""

import csv
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from config import CONF, PROJECT, settings_of
from distorted_cohort import write_scan
from gaborseg.interface import UserError
from gaborseg.preparation import prepare as work
from gaborseg.preparation.channels import Channels, chosen_channels
from gaborseg.preparation.discovery import Found
from gaborseg.preparation.label_tables import channel_names
from gaborseg.preparation.patterns import discover_layout, layouts_of
from gaborseg.scans import DataError

SHAPE = (6, 6, 7)
AFFINE = np.diag([-2.0, 2.0, 2.0, 1.0])
ASEG = [*range(2, 6), 7, 8, *range(10, 19), 24, 26, 28, 30, 31, 77, 85]
ASEG += [*range(41, 45), 46, 47, *range(49, 55), 58, 60, 62, 63]
LPBA40 = [*range(21, 35), *range(41, 51), *range(61, 69), *range(81, 93)]
LPBA40 += [101, 102, 121, 122, *range(161, 167), 181, 182]
IBSR = ("IBSR_01", "IBSR_02")


@dataclass(frozen=True)
class Copy:
    """A tiny copy of a data set.

    Attributes:
        preset: Its name.
        files: Images of each scan, with its label map last.
        ids: What each label map holds.
        structures: How many structures they make.
        people: The person of each scan that is found.
        others: Files that belong to no scan with a label map.
        columns: More columns of the table of participants, for the first scan.
        split: The parts of the split file, if there is one.
        description: Content of the ``dataset.json``, if the data come with one.
        volumes: How many each image has.
        packed: Whether the voxels beside a header are compressed.
    """

    preset: str
    files: Sequence[str]
    ids: Sequence[int]
    structures: int
    people: dict[str, str]
    others: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    split: dict[str, list[str]] | None = None
    description: dict[str, Any] | None = None
    volumes: int = 1
    packed: bool = False

    def write(self, root: Path) -> Path:
        shape = SHAPE if self.volumes == 1 else (*SHAPE, self.volumes)
        for number, scan in enumerate(self.files):
            *images, label = scan.split()
            for place, name in enumerate(images):
                ramp = np.arange(np.prod(shape), dtype=np.float32) + 10 * number + place
                write_scan(root / name, ramp.reshape(shape), AFFINE)
            self.write_labels(root / label)
        for name in self.others.split():
            write_scan(root / name, np.ones(SHAPE, np.float32), AFFINE)
        if self.description is not None:
            (root / "dataset.json").write_text(json.dumps(self.description))
        for voxels in root.rglob("*.img") if self.packed else ():
            voxels.with_suffix(".img.gz").write_bytes(gzip.compress(voxels.read_bytes()))
            voxels.unlink()
        return root

    def write_labels(self, path: Path) -> None:
        """A voxel of each id, in one map; or in a mask each, if it is a folder."""
        labels = np.zeros(np.prod(SHAPE), np.int16)
        labels[: len(self.ids)] = self.ids
        if "." in path.name:
            write_scan(path, labels.reshape(SHAPE), AFFINE)
            return
        for one in self.ids:
            mask = (labels == one).astype(np.uint8).reshape(SHAPE)
            write_scan(path / f"organ_{one}.nii.gz", mask, AFFINE)


def alone(*subjects: str) -> dict[str, str]:
    """Scans of a person each."""
    return dict(zip(subjects, subjects, strict=True))


COPIES = [
    Copy(
        "malc2012",
        [
            "training-images/1000_3.nii.gz training-labels/1000_3_glm.nii.gz",
            "training-images/1001_3.nii.gz training-labels/1001_3_glm.nii.gz",
            "testing-images/1004_3.nii.gz testing-labels/1004_3_glm.nii.gz",
            "testing-images/1024_3.nii.gz testing-labels/1024_3_glm.nii.gz",
        ],
        [4, 11, 15, 23, 30, 31, 32, *range(35, 53), *range(55, 67), 69, *range(71, 77), 100, 207],
        19,
        {
            **alone("sub-1000", "sub-1001", "sub-1004"),
            "sub-1024": "sub-1004",
        },
        columns={"split": "train"},
        split={"train": ["sub-1001"], "validation": ["sub-1000"], "test": ["sub-1004", "sub-1024"]},
    ),
    Copy(
        "malc2012",
        [
            "extdata/1000_SS.nii.gz extdata/1000_glm.nii.gz",
            "extdata/1018_SS.nii.gz extdata/1018_glm.nii.gz",
            "extdata/1038_SS.nii.gz extdata/1038_glm.nii.gz",
        ],
        [4, 42, 43, 66, 74, 207],
        19,
        {**alone("sub-1000", "sub-1018"), "sub-1038": "sub-1018"},
        others="extdata/1000_mask.nii.gz extdata/1000_tissues.nii.gz",
    ),
    Copy(
        "mindboggle",
        [
            f"OASIS-TRT-20_volumes/OASIS-TRT-20-{n}/t1weighted_brain.nii.gz "
            f"OASIS-TRT-20_DKT31_CMA_labels_v2/OASIS-TRT-20-{n}_DKT31_CMA_labels.nii.gz"
            for n in (1, 2, 10)
        ],
        [*ASEG, 91, 92, 630, 631, 632, 1002, 2035],
        19,
        alone("sub-OASIS-TRT-20-1", "sub-OASIS-TRT-20-10", "sub-OASIS-TRT-20-2"),
        others="OASIS-TRT-20_volumes/OASIS-TRT-20-1/t1weighted.nii.gz "
        "OASIS-TRT-20_volumes/OASIS-TRT-20-1/labels.DKT31.manual.nii.gz",
    ),
    Copy(
        "malc2012",
        [f"all/{n}_3.nii.gz all/{n}_3_glm.nii.gz" for n in (1000, 1005, 1025)],
        [4, 11, 23, 30, *range(35, 42), 207],
        19,
        {**alone("sub-1000", "sub-1005"), "sub-1025": "sub-1005"},
    ),
    Copy(
        "mindboggle",
        [
            f"OASIS-TRT-20_volumes/OASIS-TRT-20-{n}/t1weighted.nii.gz "
            f"labels/OASIS-TRT-20-{n}_DKT31_CMA_labels.nii.gz"
            for n in (1, 2)
        ],
        [*ASEG, 91, 630, 1002, 2035],
        19,
        alone("sub-OASIS-TRT-20-1", "sub-OASIS-TRT-20-2"),
        others="OASIS-TRT-20_volumes/OASIS-TRT-20-1/t1weighted.MNI152.nii.gz",
    ),
    Copy(
        "mindboggle",
        [
            f"NKI-{n}/t1weighted_brain.nii.gz NKI-{n}/labels.DKT31.manual+aseg.nii.gz"
            for n in (1, 2)
        ],
        [*ASEG, 1002, 2035],
        19,
        alone("sub-NKI-1", "sub-NKI-2"),
        others="NKI-1/t1weighted.nii.gz NKI-1/labels.DKT31.manual.nii.gz",
    ),
    Copy(
        "mindboggle",
        [f"NKI-{n}/t1weighted.nii.gz NKI-{n}/labels.DKT31.manual+aseg.nii.gz" for n in (1, 2)],
        [*ASEG, 1002, 2035],
        19,
        alone("sub-NKI-1", "sub-NKI-2"),
        others="NKI-1/t1weighted.MNI152.nii.gz NKI-1/labels.DKT31.manual+aseg.MNI152.nii.gz",
    ),
    Copy(
        "oasis_neurite",
        [f"OASIS_OAS1_0001_MR{n}/norm.nii.gz OASIS_OAS1_0001_MR{n}/seg35.nii.gz" for n in (1, 2)],
        range(36),
        16,
        dict.fromkeys(
            ["sub-OASIS_OAS1_0001_ses-1", "sub-OASIS_OAS1_0001_ses-2"], "OASIS_OAS1_0001"
        ),
        others="OASIS_OAS1_0001_MR1/orig.nii.gz OASIS_OAS1_0001_MR1/seg4.nii.gz",
        columns={"session": "1"},
    ),
    Copy(
        "oasis_neurite",
        [
            f"OASIS_OAS1_000{n}_MR1/aligned_norm.nii.gz OASIS_OAS1_000{n}_MR1/aligned_seg35.nii.gz"
            for n in (1, 2)
        ],
        range(36),
        16,
        {f"sub-OASIS_OAS1_000{n}_ses-1": f"OASIS_OAS1_000{n}" for n in (1, 2)},
        others="OASIS_OAS1_0001_MR1/aligned_orig.nii.gz OASIS_OAS1_0001_MR1/seg4.nii.gz",
        columns={"session": "1"},
    ),
    Copy(
        "learn2reg_oasis",
        [f"imagesTr/OASIS_000{n}_0000.nii.gz labelsTr/OASIS_000{n}_0000.nii.gz" for n in (1, 2)],
        range(36),
        16,
        alone("sub-OASIS_0001", "sub-OASIS_0002"),
        others="masksTr/OASIS_0001_0000.nii.gz imagesTs/OASIS_0400_0000.nii.gz",
    ),
    Copy(
        "ibsr",
        [f"{one}/{one}_ana_strip.nii.gz {one}/{one}_seg_ana.nii.gz" for one in IBSR],
        ASEG,
        16,
        alone("sub-IBSR_01", "sub-IBSR_02"),
        others="IBSR_01/IBSR_01_ana.nii.gz IBSR_01/IBSR_01_segTRI_ana.nii.gz",
    ),
    Copy(
        "ibsr",
        [f"{one}/{one}_ana.nii.gz {one}/{one}_seg_ana.nii.gz" for one in IBSR],
        ASEG,
        16,
        alone("sub-IBSR_01", "sub-IBSR_02"),
        others="IBSR_01/IBSR_01_ana_brainmask.nii.gz IBSR_01/IBSR_01_segTRI_ana.nii.gz",
    ),
    Copy(
        "candi",
        [f"{one}/{one}_procimg.nii.gz {one}/{one}_seg.nii.gz" for one in ("HC_001", "SS_084")],
        ASEG,
        16,
        alone("sub-HC_001", "sub-SS_084"),
        columns={"group": "HC"},
    ),
    Copy(
        "hammers",
        [f"a0{n}.nii.gz a0{n}-seg.nii.gz" for n in (1, 2)],
        range(96),
        95,
        alone("sub-a01", "sub-a02"),
        others="Hammers_mith_atlas_n30r95_MNI.nii.gz",
    ),
    Copy(
        "lpba40",
        [
            f"S0{n}/S0{n}.delineation.skullstripped.nii.gz "
            f"S0{n}/S0{n}.delineation.structure.label.nii.gz"
            for n in (1, 2)
        ],
        LPBA40,
        29,
        alone("sub-S01", "sub-S02"),
        others="S01/S01.native.mri.nii.gz",
    ),
    Copy(
        "lpba40",
        [
            f"S0{n}/S0{n}.delineation.skullstripped.hdr S0{n}/S0{n}.delineation.structure.label.hdr"
            for n in (1, 2)
        ],
        LPBA40,
        29,
        alone("sub-S01", "sub-S02"),
        others="S01/S01.native.mri.hdr",
        packed=True,
    ),
    Copy(
        "amos_ct",
        [
            f"images{part}/amos_{n}.nii.gz labels{part}/amos_{n}.nii.gz"
            for part, n in [("Tr", "0001"), ("Tr", "0004"), ("Tr", "0005"), ("Va", "0008")]
        ],
        range(16),
        15,
        alone("sub-0001", "sub-0004", "sub-0005", "sub-0008"),
        others="imagesTr/amos_0507.nii.gz labelsTr/amos_0507.nii.gz imagesTs/amos_0003.nii.gz",
        columns={"split": "train"},
        split={"train": ["sub-0001", "sub-0004"], "validation": ["sub-0008"], "test": ["sub-0005"]},
    ),
    Copy(
        "amos_mr",
        [f"imagesTr/amos_05{n}.nii.gz labelsTr/amos_05{n}.nii.gz" for n in ("07", "08", "10")],
        range(16),
        15,
        alone("sub-0507", "sub-0508", "sub-0510"),
        others="imagesTr/amos_0001.nii.gz labelsTr/amos_0001.nii.gz",
        columns={"split": "train"},
        split={"train": ["sub-0508"], "validation": ["sub-0510"], "test": ["sub-0507"]},
    ),
    Copy(
        "btcv",
        [
            f"RawData/Training/img/img000{n}.nii.gz RawData/Training/label/label000{n}.nii.gz"
            for n in (1, 2)
        ],
        range(14),
        13,
        alone("sub-0001", "sub-0002"),
        others="RawData/Testing/img/img0061.nii.gz",
    ),
    Copy(
        "btcv",
        [f"img/img000{n}.nii.gz label/label000{n}.nii.gz" for n in (1, 2)],
        range(14),
        13,
        alone("sub-0001", "sub-0002"),
        others="more/img0061.nii.gz",
    ),
    Copy(
        "acdc",
        [
            f"{p}/{p}_frame{n}.nii.gz {p}/{p}_frame{n}_gt.nii.gz"
            for p, n in [("patient001", "01"), ("patient001", "12"), ("patient002", "01")]
        ],
        range(4),
        3,
        {
            "sub-patient001_ses-01": "patient001",
            "sub-patient001_ses-12": "patient001",
            "sub-patient002_ses-01": "patient002",
        },
        others="patient001/patient001_4d.nii.gz",
        columns={"session": "01"},
    ),
    Copy(
        "acdc",
        [
            f"{part}/{p}/{p}_frame{n}.nii.gz {part}/{p}/{p}_frame{n}_gt.nii.gz"
            for part, p, n in [
                ("training", "patient001", "01"),
                ("training", "patient001", "12"),
                ("training", "patient002", "01"),
                ("testing", "patient101", "01"),
            ]
        ],
        range(4),
        3,
        {
            "sub-patient001_ses-01": "patient001",
            "sub-patient001_ses-12": "patient001",
            "sub-patient002_ses-01": "patient002",
            "sub-patient101_ses-01": "patient101",
        },
        others="training/patient001/patient001_4d.nii.gz",
        columns={"session": "01", "split": "train"},
        split={
            "train": ["sub-patient002_ses-01"],
            "validation": ["sub-patient001_ses-01", "sub-patient001_ses-12"],
            "test": ["sub-patient101_ses-01"],
        },
    ),
    Copy(
        "brats2021",
        [
            " ".join(f"{one}/{one}_{role}.nii.gz" for role in ("t1", "t1ce", "t2", "flair", "seg"))
            for one in ("BraTS2021_00000", "BraTS2021_00002")
        ],
        [0, 1, 2, 4],
        3,
        alone("sub-BraTS2021_00000", "sub-BraTS2021_00002"),
    ),
    Copy(
        "brats2023",
        [
            " ".join(f"{one}/{one}-{role}.nii.gz" for role in ("t1n", "t1c", "t2w", "t2f", "seg"))
            for one in ("BraTS-GLI-00000-000", "BraTS-GLI-00000-001")
        ],
        range(4),
        3,
        dict.fromkeys(
            ["sub-BraTS-GLI-00000_ses-000", "sub-BraTS-GLI-00000_ses-001"], "BraTS-GLI-00000"
        ),
        columns={"session": "000"},
    ),
    Copy(
        "kits",
        [
            f"dataset/case_0000{n}/imaging.nii.gz dataset/case_0000{n}/segmentation.nii.gz"
            for n in (0, 1)
        ],
        range(4),
        3,
        alone("sub-case_00000", "sub-case_00001"),
        others="dataset/case_00000/instances/kidney_instance-1_annotation-1.nii.gz",
    ),
    Copy(
        "flare",
        [
            f"FLARE22Train/images/FLARE22_Tr_000{n}_0000.nii.gz "
            f"FLARE22Train/labels/FLARE22_Tr_000{n}.nii.gz"
            for n in (1, 2)
        ],
        range(14),
        13,
        alone("sub-FLARE22_Tr_0001", "sub-FLARE22_Tr_0002"),
    ),
    Copy(
        "flare",
        [
            f"imagesTr/FLARE22_Tr_000{n}_0000.nii.gz labelsTr/FLARE22_Tr_000{n}.nii.gz"
            for n in (1, 2)
        ],
        range(14),
        13,
        alone("sub-FLARE22_Tr_0001", "sub-FLARE22_Tr_0002"),
        others="imagesTs/FLARE22_Ts_0001_0000.nii.gz",
    ),
    Copy(
        "msd",
        [f"imagesTr/spleen_{n}.nii.gz labelsTr/spleen_{n}.nii.gz" for n in (2, 3)],
        [0, 1],
        1,
        alone("sub-spleen_2", "sub-spleen_3"),
        others="imagesTr/._spleen_2.nii.gz imagesTs/spleen_1.nii.gz",
        description={"modality": {"0": "CT"}, "labels": {"0": "background", "1": "spleen"}},
    ),
    Copy(
        "msd",
        [f"imagesTr/BRATS_00{n}.nii.gz labelsTr/BRATS_00{n}.nii.gz" for n in (1, 2)],
        [0, 1, 2],
        2,
        alone("sub-BRATS_001", "sub-BRATS_002"),
        description={
            "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
            "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor"},
        },
        volumes=4,
    ),
    Copy(
        "totalsegmentator",
        [f"s000{n}/ct.nii.gz s000{n}/segmentations" for n in (0, 1)],
        [1, 2, 3],
        3,
        alone("sub-s0000", "sub-s0001"),
    ),
]
PRESETS = sorted(path.stem for path in (CONF / "preset").glob("[!_]*.yaml"))
each_copy = pytest.mark.parametrize("copy", COPIES, ids=lambda copy: copy.preset)


def settings(preset: str, root: Path, output: Path) -> SimpleNamespace:
    """The settings of a preset, which is composed once for all folders."""
    told = settings_of("prepare", f"preset={preset}", "input=IN", "output=OUT", "size=8")
    told.input, told.output, told.processes = str(root), str(output), 0
    told.viewer = "none"
    if isinstance(told.labels, str):
        told.labels = told.labels.replace("IN/", f"{root}/")
    return told


def find(preset: str, root: Path) -> Found:
    """What a preset finds in a folder."""
    told = settings(preset, root, root.with_name("out"))
    channels = chosen_channels(root, told.channels, told.volumes, channel_names(told.labels))
    return work.find(root, root.with_name("out"), told, channels)


def participants(output: Path) -> list[dict[str, str]]:
    with (output / "participants.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_every_preset_has_a_tiny_copy() -> None:
    assert {copy.preset for copy in COPIES} == {*PRESETS}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_says_whose_data_it_is_for_and_on_what_terms(preset: str) -> None:
    told = settings(preset, Path("x"), Path("y"))
    assert all((told.licence, told.credit, told.home_page.startswith("http")))
    assert all(isinstance(text, str) for text in told.remembered)


@each_copy
def test_a_data_set_is_prepared_as_it_is_downloaded(
    copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "contact_sheets", lambda *_: ["nothing"])
    output = tmp_path / "out"
    work.prepare_scans(settings(copy.preset, copy.write(tmp_path / "in"), output))
    rows = participants(output)
    assert {row.pop("participant_id"): row.pop("participant") for row in rows} == copy.people
    assert rows[0] == copy.columns
    description = json.loads((output / "dataset.json").read_text())
    assert len(description["structures"]) == copy.structures
    split = output / "split.json"
    assert (json.loads(split.read_text()) if split.exists() else None) == copy.split


@each_copy
def test_a_label_map_that_is_missing_is_told(copy: Copy, tmp_path: Path) -> None:
    root = copy.write(tmp_path / "in")
    gone = copy.files[0].split()[-1]
    (root / gone).rename(tmp_path / "gone")
    found = find(copy.preset, root)
    assert len(found.cases) == len(copy.people) - 1
    (problem,) = found.problems
    assert re.fullmatch("has no (label map|folder segmentations of masks)", problem.problem)


@each_copy
def test_an_image_that_is_missing_is_told(copy: Copy, tmp_path: Path) -> None:
    root = copy.write(tmp_path / "in")
    (root / copy.files[0].split()[0]).rename(tmp_path / "gone")
    if copy.preset == "totalsegmentator":  # a folder of masks alone is no scan
        assert len(find(copy.preset, root).cases) == len(copy.people) - 1
        return
    found = find(copy.preset, root)
    assert len(found.cases) == len(copy.people) - 1
    (problem,) = [one for one in found.problems if one.problem.endswith("image")]
    assert problem.problem.startswith("has no ")


def test_every_layout_of_every_preset_has_a_copy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    told = {preset: settings(preset, Path("x"), Path("y")) for preset in PRESETS}
    for number, copy in enumerate(COPIES):
        root, own = tmp_path / str(number), told[copy.preset]
        for name in (name for scan in copy.files for name in scan.split()):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        if own.layouts:
            discover_layout(root, layouts_of(None, None, own.layouts, own.channels))
    found = re.findall(r"(\S+) matches \d+ images and (\S+) \d+ label maps", caplog.text)
    layouts = [one for own in told.values() for one in own.layouts]
    assert {(one["pattern"], one["label_pattern"]) for one in layouts} == {*found}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_folder_of_other_data_is_refused(preset: str, tmp_path: Path) -> None:
    write_scan(tmp_path / "in" / "sub-1_bold.nii.gz", np.ones(SHAPE, np.float32), AFFINE)
    told = r"no scan is found in .*sub-1_bold\.nii\.gz \(|holds no masks: expected files like"
    with pytest.raises(DataError, match=told):
        find(preset, tmp_path / "in")


def test_presets_of_ct_alone_clip_intensities() -> None:
    windows = {name: settings(name, Path("x"), Path("y")).window for name in PRESETS}
    soft = {name: [-160, 240] for name in ("amos_ct", "btcv", "flare", "kits")}
    assert {name: window for name, window in windows.items() if window} == soft | {
        "totalsegmentator": [-1000, 1000]
    }


def test_an_id_of_another_table_is_a_problem(tmp_path: Path) -> None:
    copy = Copy("btcv", ["img/img0001.nii.gz label/label0001.nii.gz"], [99], 0, {})
    root = copy.write(tmp_path / "in")
    with pytest.raises(UserError, match=r"label0001\.nii\.gz holds ids that .* not know: 99"):
        work.prepare_scans(settings("btcv", root, tmp_path / "out"))


def test_a_pattern_of_the_users_own_wins_over_the_presets(tmp_path: Path) -> None:
    copy = Copy("btcv", ["a.nii.gz a-m.nii.gz"], [1], 1, {})
    given = settings("btcv", copy.write(tmp_path / "in"), tmp_path / "out")
    given.pattern, given.label_pattern = "{subject}.nii.gz", "{subject}-m.nii.gz"
    found = work.find(tmp_path / "in", tmp_path / "out", given, Channels(("CT",)))
    assert [case.subject for case in found.cases] == ["sub-a"]


def test_what_is_typed_wins_over_a_preset() -> None:
    told = settings_of("prepare", "preset=btcv", "input=x", "output=y", "labels=freesurfer")
    assert (told.labels, told.name) == ("freesurfer", "BTCV")


def test_the_table_in_the_documentation_names_every_preset() -> None:
    text = (PROJECT / "docs" / "your_data.md").read_text()
    rows = re.findall(r"^\| (`[a-z].*?) \|", text, re.MULTILINE)
    assert {*PRESETS} <= {name for row in rows for name in re.findall(r"`(\w+)`", row)}
