import copy
from typing import Any

import pytest

from gaborseg.models import ModelError, facts_of
from gaborseg.models.description import check_description, check_node
from tiny_model import description


@pytest.mark.parametrize(
    "target",
    [
        "gaborseg.networks.VNetDS",
        "gaborseg.networks.vnet_ds.VNetDS",
        "gaborseg.layers.GaborConv3d",
        "gaborseg.decisions.Calibrated",
        "torch.nn.ELU",
    ],
)
def test_our_modules_and_activations_may_be_named(target: str) -> None:
    check_node({"_target_": target, "kernel_size": 7, "nested": [{"_target_": target}]})


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "torch.load",
        "torch.hub.load",
        "torch.nn.Linear",
        "torch.nn.modules.activation.torch.load",
        "gaborseg.networks.vnet_ds.torch.load",
        "gaborseg.networks.vnet_ds.torch.os.system",
        "gaborseg.networks.vnet_ds.nn.Linear",
        "gaborseg.networks.parameter_counts",
        "gaborseg.networks.nothing.here",
        "gaborseg.layers.native",
        "gaborseg.training.SegmentationModule",
        "gaborseg.training.wandb_logger",
        "gaborseg.data.AtlasCohort",
        "gaborseg.data.SegmentationData.from_folder",
        "src.train.main",
        "gaborseg.networks",
        "",
        None,
        ["os.system"],
        {"_target_": "os.system"},
    ],
)
def test_nothing_else_may_be_named_at_any_depth(target: object) -> None:
    node: dict[str, Any] = {
        "_target_": "gaborseg.networks.VNetDS",
        "a": [{"b": {"_target_": target}}],
    }
    with pytest.raises(ModelError, match="_target_ must be a network, layer, decision or"):
        check_node(node)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"_args_": [1]}, "_args_ is not allowed"),
        ({"_convert_": "all"}, "_convert_ is not allowed"),
        ({"channels": [12, 10**6]}, "channels must be at most 4096"),
        ({"kernel_size": 33}, "kernel_size must be at most 31"),
        ({"dropout": float("nan")}, "dropout must be at most"),
        ({"interpolation": "${oc.env:HOME}"}, "interpolation must be resolved"),
        ({"groups": object()}, "groups must be a plain value, got object"),
        ({"groups": (1, 2)}, "groups must be a plain value, got tuple"),
    ],
)
def test_values_are_plain_and_bounded(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        check_node({"_target_": "gaborseg.networks.VNetDS", "nested": [change]})


def test_a_tree_that_names_itself_again_and_again_is_cut_off() -> None:
    node: dict[str, Any] = {"x": 1}
    for _ in range(30):
        node = {"a": node, "b": node}
    with pytest.raises(ModelError, match="must be small"):
        check_node(node)
    deep: dict[str, Any] = {"x": 1}
    for _ in range(40):
        deep = {"a": deep}
    with pytest.raises(ModelError, match="must be small"):
        check_node(deep)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("data",), None, "must hold data"),
        (("data", "structures"), ["a", "a", "b"], "structures must be"),
        (("data", "structures"), ["a\n", "b", "c"], "structures must be"),
        (("data", "structures"), [f"s{k}" for k in range(256)], "structures must be 1 to 255"),
        (("data", "channels"), [], "channels must be"),
        (("data", "size"), [10**9] * 3, "size must be 3 numbers in 1..1024"),
        (("data", "size"), [16, 16], "size must be 3 numbers"),
        (("data", "size"), [16.0, 16, 16], "size must be 3 numbers"),
        (("data", "size"), [True, 16, 16], "size must be 3 numbers"),
        (("data", "spacing"), [0, 1, 1], "spacing must be 3 numbers"),
        (("data", "spacing"), [float("nan")] * 3, "spacing must be 3 numbers"),
        (("data", "patch_size"), 0, "patch_size must be"),
        (("data", "appearance"), {"quantiles": []}, "appearance must hold"),
        (("data", "preparation"), {"forms": "both"}, "forms must be one of agree, sform, qform"),
        (("data", "preparation"), ["qform"], "forms must be one of agree, sform, qform"),
        (("network", "num_classes"), 7, "network.num_classes must be 4, got 7"),
        (("network", "in_channels"), 2, "network.in_channels must be 1, got 2"),
        (("decision", "num_classes"), 256, "decision.num_classes must be 4"),
    ],
)
def test_a_description_must_agree_with_itself(
    path: tuple[str, ...], value: object, problem: str
) -> None:
    told = copy.deepcopy(description())
    check_description(told)
    *above, last = path
    part = told
    for key in above:
        part = part[key]
    part[last] = value
    with pytest.raises(ModelError, match=problem):
        check_description(told)


def test_voxels_that_are_no_cubes_cannot_be_segmented() -> None:
    data = description()["data"] | {"spacing": [1.0, 1.0, 1.2]}
    with pytest.raises(ModelError, match=r"src\.prepare"):
        facts_of(data)


def test_the_affine_of_training_is_a_fact() -> None:
    data = description()["data"]
    assert facts_of(data).forms == "agree"
    assert facts_of(data | {"preparation": {"forms": "qform"}}).forms == "qform"


def test_without_an_appearance_the_field_of_view_is_that_of_the_first_case() -> None:
    assert facts_of(description()["data"]).field_of_view == (96, 96)
