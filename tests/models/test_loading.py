import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from gaborseg.models import ModelError, build_network, load_trained
from gaborseg.models import loading as trained
from gaborseg.networks import VNetDS
from gaborseg.runs import weights_digest
from tiny_model import (
    STRUCTURES,
    description,
    hnoseg_description,
    unet_description,
    write_checkpoint,
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model.ckpt")


def rewrite(path: Path, **changes: Any) -> Path:
    torch.save(torch.load(path, weights_only=True) | changes, path)
    return path


def test_a_checkpoint_alone_is_enough(checkpoint: Path) -> None:
    model = load_trained(checkpoint)
    assert model.structures == tuple(STRUCTURES)
    assert (model.channels, model.size, model.spacing) == (("T1w",), (16,) * 3, (6.0,) * 3)
    assert model.run is None
    assert set(model.config) == {"network", "decision"}


def test_the_network_has_the_weights_and_is_ready(checkpoint: Path) -> None:
    model = load_trained(checkpoint)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    for name, value in model.network.state_dict().items():
        torch.testing.assert_close(value, state[f"network.{name}"], rtol=0, atol=0)
    torch.testing.assert_close(model.decision.scale, state["decision.scale"])
    assert not model.network.training
    assert not any(value.requires_grad for value in model.network.parameters())
    assert model.decision(model.network(torch.randn(1, 1, 16, 16, 16))).shape == (1, 16, 16, 16)


def test_a_model_tells_the_digest_of_its_weights(checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert load_trained(checkpoint).digest == weights_digest(state)


@pytest.mark.parametrize("describe", [unet_description, hnoseg_description])
def test_a_baseline_is_rebuilt_from_its_checkpoint_alone(
    describe: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "model.ckpt", describe())
    model, state = load_trained(path), torch.load(path, weights_only=True)["state_dict"]
    image = torch.randn(1, 1, 16, 16, 16)
    torch.manual_seed(0)
    first = build_network(describe()["network"]).eval()
    torch.testing.assert_close(model.network(image), first(image), rtol=0, atol=0)
    assert {f"network.{name}" for name in model.network.state_dict()} <= state.keys()


def test_a_baseline_without_monai_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_checkpoint(tmp_path / "model.ckpt", unet_description())
    monkeypatch.setitem(sys.modules, "monai.networks", None)
    with pytest.raises(
        ModelError, match=r"model\.ckpt: .*pip install -e '\.\[baselines\]' in a clone$"
    ):
        load_trained(path)


def test_a_run_folder_stands_for_its_best_checkpoint(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "run" / "best.ckpt")
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({"seed": 3}))
    model = load_trained(tmp_path / "run")
    assert model.checkpoint == tmp_path / "run" / "best.ckpt"
    assert model.run == tmp_path / "run"
    assert model.config["seed"] == 3


def in_former_names(node: Any) -> Any:
    """Return a description as it was saved when the package was called ``src``."""
    if isinstance(node, list):
        return [in_former_names(item) for item in node]
    if not isinstance(node, dict):
        return node
    old = {key: in_former_names(value) for key, value in node.items()}
    target = str(old.get("_target_", ""))
    if target.startswith("gaborseg."):
        name = target.replace("gaborseg.decisions", "gaborseg.training").removeprefix("gaborseg.")
        old["_target_"] = f"src.{name}"
    return old | ({"algorithm": "auto"} if target.endswith("GaborConv3d") else {})


@pytest.mark.parametrize("described", [True, False])
def test_a_model_from_before_the_package_had_its_name_is_the_same(
    described: bool, tmp_path: Path
) -> None:
    told = description()
    old = in_former_names(told)
    assert "src.training.Calibrated" in str(old)
    assert "algorithm" in str(old)
    path = write_checkpoint(tmp_path / "run" / "best.ckpt", told)
    wanted = load_trained(path)
    rewrite(path, description=old if described else None)
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({**old, "algorithm": "auto"}))
    (tmp_path / "run" / "run.json").write_text(json.dumps({"data": told["data"]}))
    model = load_trained(path)
    image = torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(model.network(image), wanted.network(image), rtol=0, atol=0)
    assert type(model.decision) is type(wanted.decision)
    assert "algorithm" not in str(model.config)


def older_run(folder: Path) -> Path:
    """A run whose checkpoint carries no description of itself."""
    told = description()
    path = rewrite(write_checkpoint(folder / "best.ckpt", told), description=None)
    config = {key: told[key] | {"num_classes": None} for key in ("network", "decision")}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "run.json").write_text(json.dumps({"data": told["data"]}))
    return path


def test_the_run_folder_describes_a_checkpoint_that_does_not(tmp_path: Path) -> None:
    assert load_trained(older_run(tmp_path)).structures == tuple(STRUCTURES)


def test_without_either_the_missing_file_is_named(tmp_path: Path) -> None:
    moved = shutil.move(older_run(tmp_path / "run"), tmp_path / "moved.ckpt")
    with pytest.raises(ModelError, match=r"moved\.ckpt: config\.yaml must be beside it"):
        load_trained(moved)


@pytest.mark.parametrize("target", ["os.system", "gaborseg.data.AtlasCohort"])
def test_a_run_folder_makes_nothing_of_foreign_targets(target: str, tmp_path: Path) -> None:
    path = older_run(tmp_path)
    harm = tmp_path / "harm"
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    config["network"]["activation"] = {"_target_": target, "command": f"touch {harm}"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ModelError, match="_target_ must be a network, layer, decision or"):
        load_trained(path)
    assert not harm.exists()


def test_a_network_larger_than_its_weights_is_never_allocated(checkpoint: Path) -> None:
    told = description()
    told["network"]["channels"] = [256] * 5
    with pytest.raises(ModelError, match=r"decoder.* must be \(256.*\), got"):
        load_trained(rewrite(checkpoint, description=told))
    told["network"]["channels"] = [4096] * 5  # 200 GB
    with pytest.raises(ModelError, match="all kernels must have at most"):
        load_trained(rewrite(checkpoint, description=told))


def test_kernels_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    told = description("gabor")
    told["network"]["channels"] = [192, 192, 192, 192, 192]
    for level in told["network"]["convolutions"]:
        level["kernel_size"] = 31  # changes no parameter, but the kernels would need 80 GB
    with pytest.raises(ModelError, match="all kernels must have at most"):
        build_network(told["network"])


def test_a_part_of_the_weights_is_not_enough(checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    del state["network.right_leg.scores.0.bias"]
    with pytest.raises(ModelError, match=r"right_leg\.scores\.0\.bias must be \(4,\), got None"):
        load_trained(rewrite(checkpoint, state_dict=state))


def test_a_network_is_built_from_its_node(tmp_path: Path) -> None:
    assert isinstance(build_network(description("gabor")["network"]), VNetDS)


def test_what_is_in_no_checkpoint_is_built_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scaled(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.register_buffer("factor", torch.full((2,), 3.0), persistent=False)

    monkeypatch.setattr(trained, "_build", lambda node, trust: Scaled())
    weights = {"weight": torch.eye(2), "bias": torch.zeros(2)}
    network = trained._network({}, weights)
    torch.testing.assert_close(network.factor, torch.full((2,), 3.0))
    torch.testing.assert_close(network.weight, torch.eye(2))


def test_weights_that_are_not_finite_are_refused(checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    state["decision.scale"][1] = float("nan")
    with pytest.raises(ModelError, match=r"weights must be finite, .* in decision\.scale"):
        load_trained(rewrite(checkpoint, state_dict=state))


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_of_another_kind_are_refused(checkpoint: Path, kind: torch.dtype) -> None:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    state = {name: value.to(kind) for name, value in state.items()}
    with pytest.raises(ModelError, match=f"must be torch.float32, got {kind}"):
        load_trained(rewrite(checkpoint, state_dict=state))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_used_in_single_precision(
    checkpoint: Path, kind: torch.dtype
) -> None:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    state = {name: value.to(kind) for name, value in state.items()}
    network = load_trained(rewrite(checkpoint, state_dict=state)).network
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[f"network.{name}"].float())


def test_weights_beyond_single_precision_are_refused(checkpoint: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    state["decision.scale"] = torch.full((4,), 1e300, dtype=torch.float64)
    with pytest.raises(ModelError, match=r"weights must be finite, .* in decision\.scale"):
        load_trained(rewrite(checkpoint, state_dict=state))
