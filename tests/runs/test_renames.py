import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gaborseg.runs import Run, RunFile, as_saved_now

EQUAL = dict.fromkeys(("sigma", "theta", "amplitude", "frequency", "phase"), 1)
RATES = {**EQUAL, "sigma": 10}
OLD_LAYER = {
    "_target_": "src.layers.GaborConv3d",
    "kernel_size": 7,
    "initial": "white",
    "sigma_scale": "log",
    "rates": RATES,
    "algorithm": "auto",
}
LAYER = {key: value for key, value in OLD_LAYER.items() if key != "algorithm"}
LAYER["_target_"] = "gaborseg.layers.GaborConv3d"
OLD = {
    "kernel": {"gabor": OLD_LAYER},
    "network": {"_target_": "src.networks.VNetDS", "convolutions": [OLD_LAYER, OLD_LAYER]},
    "decision": {"_target_": "src.training.Calibrated", "num_classes": None},
    "scheduler": {"_target_": "src.training.one_cycle"},
    "data": {"_target_": "src.data.SegmentationData.from_folder", "root": "src.data"},
    "activation": {"_target_": "torch.nn.ELU"},
    "algorithm": "auto",
}
NOW = {
    "kernel": {"gabor": LAYER},
    "network": {
        "_target_": "gaborseg.networks.VNetDS",
        "convolutions": [LAYER, LAYER],
        "scale": 1,
    },
    "decision": {"_target_": "gaborseg.decisions.Calibrated", "num_classes": None},
    "scheduler": {"_target_": "gaborseg.training.one_cycle"},
    "data": {
        "_target_": "gaborseg.data.SegmentationData.from_folder",
        "root": "src.data",
        "augment_on": "cpu",
    },
    "activation": {"_target_": "torch.nn.ELU"},
}


def test_settings_of_before_become_those_of_today_and_the_old_ones_stay() -> None:
    before = copy.deepcopy(OLD)
    assert as_saved_now(OLD) == NOW
    assert before == OLD


def test_data_from_before_there_was_a_choice_were_augmented_on_the_cpu() -> None:
    data = {"_target_": "gaborseg.data.SegmentationData", "batch_size": 2}
    assert as_saved_now({"data": data})["data"] == {**data, "augment_on": "cpu"}
    data["augment_on"] = "gpu"
    assert as_saved_now({"data": data})["data"] == data


def test_settings_of_today_stay() -> None:
    assert as_saved_now(NOW) == NOW


def test_a_layer_from_before_its_settings_says_what_it_did_then() -> None:
    node = {"layer": {"_target_": "src.layers.GeneralGaborConv3d", "part": "both"}}
    assert as_saved_now(node)["layer"] == {
        "_target_": "gaborseg.layers.GeneralGaborConv3d",
        "part": "both",
        "initial": "uniform",
        "sigma_scale": "raw",
        "rates": EQUAL,
    }


@pytest.mark.parametrize("package", ["src", "gaborseg"])
def test_an_augmentation_of_before_is_a_pipeline_of_one_transform(package: str) -> None:
    affine = {"_target_": f"{package}.data.RandomAffine", "probability": 0.8, "shift": 0.2}
    before = {"augmentation": affine, "data": {"augmentation": {**affine, "probability": 0.0}}}
    today = {**affine, "_target_": "gaborseg.data.RandomAffine"}
    target = "gaborseg.data.Augmentation"
    now = {
        "augmentation": {"_target_": target, "transforms": {"affine": today}},
        "data": {"augmentation": {"_target_": target, "transforms": {}}},
    }
    assert as_saved_now(before) == now == as_saved_now(now)


def test_no_part_of_a_tree_is_copied_twice_and_a_circle_ends() -> None:
    bomb: list[Any] = ["x"]
    for _ in range(100):
        bomb = [bomb, bomb]
    circle: dict[str, Any] = {"_target_": "src.losses.PCCLoss"}
    circle["self"] = circle
    found = as_saved_now({"bomb": bomb, "circle": circle})
    assert found["bomb"][0] is found["bomb"][1]
    assert found["circle"]["self"] is found["circle"]
    assert found["circle"]["_target_"] == "gaborseg.losses.PCCLoss"


def test_a_run_of_before_goes_on_with_the_same_settings_and_no_others(tmp_path: Path) -> None:
    (tmp_path / RunFile.SETTINGS).write_text(yaml.safe_dump(OLD))
    run = Run(tmp_path, NOW, "name", ("tag",), "group")
    run.check_folder()
    with pytest.raises(FileExistsError, match=r"scheduler\._target_"):
        replace(run, config={**NOW, "scheduler": {"_target_": "x"}}).check_folder()
