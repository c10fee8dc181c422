"""The window that the intensities of a CT are clipped to, from `prepare` to the network."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from config import compose_config, settings_of
from distorted_cohort import CODES, phantom, random_grid, write_scan
from gaborseg.data import SegmentationData, appearance_of, fill_cache
from gaborseg.data.folder import Folder
from gaborseg.experiment import train
from gaborseg.inference import predict
from gaborseg.inference.inputs import find_scans, read_images
from gaborseg.inference.segmenter import Segmenter
from gaborseg.interface import UserError
from gaborseg.models import Model, facts_of, load_trained
from gaborseg.scans import DataError
from preparing import description_of, prepare, prepared, problems_of, save
from tiny_run import tiny_overrides

WINDOW = [-160, 240]
HOUNSFIELD = np.array([-1000.0, 40.0, 60.0, 900.0])
"""Of air, egg, ball and box."""
CUBE = np.diag([2.0, 2.0, 2.0, 1.0])


def write_ct(root: Path, count: int = 4, **spoilt: int) -> Path:
    """Write CT scans whose voxels are those of the prepared cube; some with one intensity added."""
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[2:5, 2:6, 2:7], labels[5:7, 2:6, 2:7] = 1, 2
    for number, name in enumerate("abcd"[:count]):
        image = np.random.default_rng(number).integers(-999, 999, labels.shape).astype(np.int16)
        save(root / f"{name}_CT.nii.gz", image + np.int16(spoilt.get(name, 0)), CUBE)
        save(root / f"{name}_seg.nii.gz", labels, CUBE)
    return root


def test_scans_are_clipped_and_nothing_else_happens_to_them(tmp_path: Path) -> None:
    source = write_ct(tmp_path / "in")
    prepare(source, tmp_path / "whole")
    prepare(source, tmp_path / "clipped", window=WINDOW)
    whole, clipped = (prepared(tmp_path / out, "sub-a", "CT") for out in ("whole", "clipped"))
    assert (whole < -160).any()
    assert (whole > 240).any()
    np.testing.assert_array_equal(clipped, np.clip(whole, *WINDOW))
    assert description_of(tmp_path / "clipped")["preparation"]["window"] == WINDOW
    assert description_of(tmp_path / "whole")["preparation"]["window"] is None


def test_scans_are_clipped_before_they_are_resampled(tmp_path: Path) -> None:
    """Where air and metal share a voxel, it is the mean of the window's ends, not of their own."""
    image = np.empty((16, 16, 16), np.float32)
    image[::2], image[1::2] = -1000, 3000
    save(tmp_path / "in/a_CT.nii.gz", image, CUBE)
    save(tmp_path / "in/a_seg.nii.gz", np.ones((16, 16, 16), np.uint8), CUBE)
    prepare(tmp_path / "in", tmp_path / "out", window=WINDOW)
    np.testing.assert_allclose(prepared(tmp_path / "out", "sub-a", "CT")[1:-1], 40, atol=1e-3)


@pytest.mark.parametrize(
    "window", [[240, -160], [1, 1], [0], "soft", 40, [0, float("inf")], [], [None, 1]]
)
def test_a_window_is_two_numbers_the_lower_first(tmp_path: Path, window: object) -> None:
    with pytest.raises(DataError, match=r"window must be two numbers, the lower first, as in wind"):
        prepare(write_ct(tmp_path / "in", 1), tmp_path / "out", window=window)


def test_a_scan_that_is_nowhere_in_the_window_is_a_problem(tmp_path: Path) -> None:
    source = write_ct(tmp_path / "in", b=9000)
    with pytest.raises(UserError, match="1 problems"):
        prepare(source, tmp_path / "out", window=WINDOW)
    (problem,) = problems_of(tmp_path / "out")
    assert problem.startswith("b_CT.nii.gz must have intensities between -160 and 240, got ")


def test_a_data_set_of_another_window_is_not_filled(tmp_path: Path) -> None:
    source, output = write_ct(tmp_path / "in"), tmp_path / "out"
    prepare(source, output)
    recipe = json.loads((output / "preparation.json").read_text())
    del recipe["window"]  # as before there were windows
    (output / "preparation.json").write_text(json.dumps(recipe))
    prepare(source, output)
    with pytest.raises(DataError, match=r"in another way \(window: None -> \[-160, 240\]\)"):
        prepare(source, output, window=WINDOW)


def write_phantoms(root: Path) -> Path:
    """Write CT scans of five orientations."""
    for number, code in enumerate(CODES[:5]):
        rng = np.random.default_rng(number)
        grid = random_grid(rng, code, (66, 78, 86), (4.0, 6.0), (12, 30))
        _, labels = phantom(grid.world())
        voxels = HOUNSFIELD[labels] + rng.normal(0, 30, labels.shape)
        write_scan(root / f"p{number}_seg.nii.gz", labels, grid.affine)
        write_scan(root / f"p{number}_CT.nii.gz", voxels.astype(np.float32), grid.affine)
    return root


def prepare_phantoms(tmp_path: Path) -> SegmentationData:
    write_phantoms(tmp_path / "scans")
    prepare(tmp_path / "scans", tmp_path / "prepared", size=16, window=WINDOW)
    data = SegmentationData.from_folder(tmp_path / "prepared", tmp_path / "cache")
    data.prepare()
    return data


def segmenter(data: dict[str, Any]) -> Segmenter:
    """A segmenter with a model of these data that computes nothing."""
    return Segmenter([Model(Path("model"), facts_of(data), torch.square, torch.square)])


def test_the_network_sees_in_a_scan_what_it_saw_in_training(tmp_path: Path) -> None:
    data = prepare_phantoms(tmp_path)
    cases = fill_cache(tmp_path / "cache", Folder(tmp_path / "prepared").dataset())
    told = data.describe() | {"appearance": appearance_of(cases).as_json()}
    for scan, case in zip(find_scans([tmp_path / "scans"], ["CT"]), cases, strict=True):
        images, wanted = read_images(scan.files), torch.tensor(case.read("image"))
        seen, *_ = segmenter(told).prepare(images.voxels, images.affine)
        torch.testing.assert_close(seen, wanted, rtol=0, atol=1e-4)
        unclipped, *_ = segmenter(told | {"preparation": None}).prepare(
            images.voxels, images.affine
        )
        assert (unclipped - wanted).abs().max() > 0.1


@pytest.mark.slow
def test_a_training_passes_the_window_on(tmp_path: Path) -> None:
    prepare_phantoms(tmp_path)
    run, out = tmp_path / "run", tmp_path / "out"
    choices = {"kernel": "conventional", "loss": "pcc", "experiment": "smoke"}
    options = [*tiny_overrides(tmp_path / "prepared"), "trainer.max_epochs=1"]
    train(compose_config(options), run, choices)
    assert facts_of(load_trained(run).data).window == (-160, 240)
    assert "clipped to intensities of -160 to 240, z-scored" in (run / "model_card.md").read_text()
    places = [f"checkpoint={run}", f"input={tmp_path / 'scans'}", f"output={out}"]
    assert predict(settings_of("predict", *places)) == []
