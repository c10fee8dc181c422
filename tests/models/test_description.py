import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from gaborseg.models import ModelError, facts_of
from gaborseg.models.description import check_description, check_node
from tiny_model import description


def bomb() -> list:
    """Lists in lists, ten to the power of twelve of them if they were written out."""
    node: list = ["a"] * 10
    for _ in range(12):
        node = [node] * 10
    return node


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


OWN = """
import torch
from torch import nn
TENSOR = torch.ones(1)
class Layer(nn.Module): pass
class Thing: pass
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module that is not ours and has not been imported."""
    (tmp_path / "own_layers.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_layers", raising=False)
    return "own_layers"


def test_a_module_is_neither_believed_nor_imported_unless_it_is_trusted(own_module: str) -> None:
    node = {"_target_": f"{own_module}.Layer"}
    for trust in ((), ("own",), ("own_layers_too",), (f"{own_module}.deeper",)):
        with pytest.raises(ModelError, match=r"trust=\[PACKAGE\], got 'own_layers.Layer'"):
            check_node(node, trust)
    assert own_module not in sys.modules
    check_node(node, [own_module])
    check_node(node, own_module)


@pytest.mark.parametrize("name", ["Thing", "torch.load", "nn.Linear", "TENSOR", "nothing"])
def test_of_a_trusted_module_its_own_module_classes_may_be_named(
    name: str, own_module: str
) -> None:
    with pytest.raises(ModelError, match=r"_target_ must be|cannot be imported"):
        check_node({"_target_": f"{own_module}.{name}"}, [own_module])


def test_a_trusted_module_makes_real_tensors_though_the_network_is_first_built_without_memory(
    own_module: str,
) -> None:
    with FakeTensorMode():
        check_node({"_target_": f"{own_module}.Layer"}, [own_module])
    assert type(sys.modules[own_module].TENSOR) is torch.Tensor


@pytest.mark.parametrize("trust", ["", "a/b", "os.system()", ["ok", ".x"], [3]])
def test_trust_is_given_to_names_of_modules(trust: object) -> None:
    with pytest.raises(ModelError, match="trust must be names of modules"):
        check_node({"_target_": "torch.nn.ELU"}, trust)


def test_a_trusted_module_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(ModelError, match=r"not_there of not_there\.Layer cannot be imported"):
        check_node({"_target_": "not_there.Layer"}, ["not_there"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"_args_": [1]}, "_args_ is not allowed"),
        ({"_convert_": "all"}, "_convert_ is not allowed"),
        ({"channels": [12, 10**6]}, "channels must be at most 4096"),
        ({"kernel_size": 33}, "kernel_size must be at most 31"),
        ({"depths_down": [1, 4096]}, "depths_down must be at most 32"),
        ({"channels": [4] * 33}, "channels must have at most 32 values, got 33"),
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
        (("data", "preparation"), {"window": [240, -160]}, "window must be two numbers, the lower"),
        (("data", "preparation"), {"window": [0, float("inf")]}, "window must be two numbers"),
        (("data", "preparation"), {"window": "[0,1]"}, "window must be two numbers"),
        (("data", "preparation"), {"window": bomb()}, "window must be two numbers"),
        (("data", "preparation"), ["qform"], "forms must be one of agree, sform, qform"),
        (("network", "num_classes"), 7, "network.num_classes must be 4, got 7"),
        (("network", "in_channels"), 2, "network.in_channels must be 1, got 2"),
        (("network", "num_classes"), torch.ones(2), "num_classes must be 4, got Tensor"),
        (("network", "num_classes"), bomb(), "num_classes must be 4, got"),
        (("data", "structures"), bomb(), "structures must be 1 to 255 different names"),
        (("data", "size"), bomb(), "size must be 3 numbers"),
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
    with pytest.raises(ModelError, match="gaborseg prepare"):
        facts_of(data)


def test_the_affine_of_training_is_a_fact() -> None:
    data = description()["data"]
    assert facts_of(data).forms == "agree"
    assert facts_of(data | {"preparation": {"forms": "qform"}}).forms == "qform"


def test_without_an_appearance_the_field_of_view_is_that_of_the_first_case() -> None:
    assert facts_of(description()["data"]).field_of_view == (96, 96)


def test_patches_that_would_take_hours_are_refused() -> None:
    assert facts_of(description(size=64, patch_size=8)["data"]).patch_size == 8
    with pytest.raises(ModelError, match=r"patch_size must be at least 8, .* side, got 7"):
        facts_of(description(size=64, patch_size=7)["data"])
