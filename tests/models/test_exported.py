import io
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from config import PROJECT
from gaborseg.layers import GaborConv3d
from gaborseg.models import ModelError, TrainedModel, load_exported, load_trained
from gaborseg.models.deployed import Deployed, folded, metadata_of
from gaborseg.models.exported import OPERATION, read_exported
from gaborseg.models.exporting import exported_program, write_onnx, write_torch_export
from gaborseg.models.verification import smooth_noise
from gaborseg.networks import VNet
from tiny_model import description, unet_description, write_checkpoint

CPU = torch.device("cpu")
SHAPE = (1, 1, 32, 32, 32)
NAMES = ("logits", "scores", "labels")


def export(trained: TrainedModel, folder: Path) -> dict[str, Path]:
    versions = {"torch": torch.__version__}
    metadata = metadata_of(trained.data, trained.decision, SHAPE[2:], versions)
    program = exported_program(Deployed(trained.network, trained.decision), SHAPE)
    paths = {"onnx": folder / "model.onnx", "torch_export": folder / "model.pt2"}
    write_onnx(paths["onnx"], program, metadata)
    write_torch_export(paths["torch_export"], program, metadata)
    return paths


Pair = tuple[TrainedModel, dict[str, Path]]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    @cache
    def pair(kernel: str) -> Pair:
        folder = tmp_path_factory.mktemp(kernel)
        decision = "argmax" if kernel == "conventional" else "calibrated"
        is_unet = kernel == "nnunet"
        told = unet_description(32) if is_unet else description(kernel, decision, size=32)
        trained = load_trained(write_checkpoint(folder / "model.ckpt", told))
        return trained, export(trained, folder)

    return pair


@pytest.fixture
def files(pairs: Callable[[str], Pair]) -> dict[str, Path]:
    return pairs("mixed")[1]


SLOW = [
    pytest.param(kernel, marks=pytest.mark.slow) for kernel in ("gabor", "conventional", "nnunet")
]


@pytest.mark.parametrize("kernel", ["mixed", *SLOW])
@pytest.mark.parametrize("kind", ["onnx", "torch_export"])
def test_an_exported_file_computes_what_the_checkpoint_does(
    pairs: Callable[[str], Pair], kernel: str, kind: str
) -> None:
    trained, paths = pairs(kernel)
    image = smooth_noise(SHAPE)
    logits, scores, labels = read_exported(paths[kind], CPU)[1](image, NAMES)
    expected = trained.network(image)
    assert float((logits - expected).abs().max()) <= 1e-4
    assert float((labels == trained.decision(expected)).double().mean()) >= 0.9999
    torch.testing.assert_close(scores, trained.decision.scores(expected), rtol=0, atol=1e-4)
    assert float(expected.abs().max()) > 1, "the comparison must not be of small numbers"


def test_a_model_from_a_file_gives_its_scores(files: dict[str, Path]) -> None:
    image = smooth_noise(SHAPE)
    for path in files.values():
        model = load_exported(path, CPU)
        assert model.fixed_size == (32, 32, 32)
        assert model.facts.structures == ("egg", "left_ball", "right_box")
        (scores,) = read_exported(path, CPU)[1](image, ["scores"])
        torch.testing.assert_close(model.scores(model.logits(image)), scores)


def test_the_metadata_say_how_to_use_the_file(files: dict[str, Path]) -> None:
    for path in files.values():
        metadata, _ = read_exported(path, CPU)
        assert metadata["data"]["licence"] == "free"
        assert metadata["input"]["shape"] == [1, 1, 32, 32, 32]
        assert metadata["decision"] == "Calibrated"
        assert any("standard deviation" in step for step in metadata["preprocessing"])


def test_a_program_moves_to_another_device_with_all_that_it_holds(files: dict[str, Path]) -> None:
    _, outputs = read_exported(files["torch_export"], torch.device("meta"))
    (logits,) = outputs(torch.zeros(SHAPE, device="meta"), ["logits"])
    assert (logits.device.type, logits.shape) == ("meta", (1, 4, *SHAPE[2:]))


def test_an_image_that_a_runtime_refuses_is_an_error_of_ours(files: dict[str, Path]) -> None:
    with pytest.raises(RuntimeError, match="onnxruntime: "):
        load_exported(files["onnx"], CPU).logits(torch.zeros(1, 1, 16, 16, 16))


def test_no_path_of_this_machine_is_in_a_file(files: dict[str, Path]) -> None:
    here = str(PROJECT).encode()
    for path in files.values():
        assert here not in path.read_bytes()


def test_folding_leaves_no_computed_kernel_and_no_dropout() -> None:
    module = nn.Sequential(GaborConv3d(2, 3, 5), nn.Sequential(nn.Dropout3d(), GaborConv3d(3, 2)))
    image = torch.randn(1, 2, 8, 8, 8)
    expected = module.eval()(image)
    plain = folded(module)
    assert [type(part) for part in plain.modules()].count(nn.Conv3d) == 2
    assert not any(isinstance(part, GaborConv3d | nn.Dropout3d) for part in plain.modules())
    torch.testing.assert_close(plain(image), expected, rtol=1e-4, atol=1e-5)


def test_instance_normalisation_is_exact_in_other_runtimes_too() -> None:
    norm = nn.InstanceNorm3d(3, affine=True)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    image = torch.randn(2, 3, 8, 9, 10)
    plain = folded(nn.Sequential(norm))
    assert not isinstance(plain[0], nn.InstanceNorm3d)
    torch.testing.assert_close(plain(image), norm(image))


def test_a_whole_vnet_is_made_of_operations_that_are_let_through() -> None:
    with FakeTensorMode():
        network = folded(VNet(1, 3)).eval()
        program = torch.export.export(network, (torch.randn(SHAPE),))
    called = {
        f"torch.ops.{node.target}" for node in program.graph.nodes if node.op == "call_function"
    }
    assert any("conv_transpose3d" in name for name in called)
    assert [name for name in called if not OPERATION.fullmatch(name)] == []


Change = Callable[[dict[str, Any]], None]


def tamper(source: Path, target: Path, name: str, change: Change) -> Path:
    """A copy of a .pt2 file with one of its JSON files changed."""
    with zipfile.ZipFile(source) as archive:
        (entry,) = (one for one in archive.namelist() if one.endswith(name))
        tree = json.loads(archive.read(entry))
    change(tree)
    return replace(source, target, name, json.dumps(tree).encode())


def replace(source: Path, target: Path, name: str, content: bytes) -> Path:
    """A copy of a .pt2 file with other content in one of its files."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, content if entry.endswith(name) else old.read(entry))
    return target


def nodes(model: dict[str, Any]) -> list[dict[str, Any]]:
    return model["graph_module"]["graph"]["nodes"]


def call_the_system(model: dict[str, Any]) -> None:
    nodes(model)[0].update(
        target="torch.os.system", inputs=[{"name": "command", "arg": {"as_string": "x"}, "kind": 1}]
    )


def name_with_code(model: dict[str, Any]) -> None:
    model["graph_module"]["graph"]["inputs"][0]["as_tensor"]["name"] = "x=__import__('os')"


def weight_with_code(model: dict[str, Any]) -> None:
    spec = model["graph_module"]["signature"]["input_specs"][0]["parameter"]
    spec["parameter_name"] = 'a"), __import__("os"), getattr(self, "a'


def argument_with_code(model: dict[str, Any]) -> None:
    model["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"] = ["i=f()"]


def symbolic_size(model: dict[str, Any]) -> None:
    value = next(iter(model["graph_module"]["graph"]["tensor_values"].values()))
    value["sizes"][0] = {"as_expr": {"expr_str": "__import__"}}


def guards(model: dict[str, Any]) -> None:
    model["guards_code"] = ["L"]


def named_type(model: dict[str, Any]) -> None:
    signature = model["graph_module"]["module_call_graph"][0]["signature"]
    signature["in_spec"] = signature["in_spec"].replace("builtins.dict", "os.stat_result")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (call_the_system, "must not call 'torch.os.system'"),
        (lambda m: nodes(m)[0].update(target="torch.ops.aten.from_file.default"), "must not call"),
        (lambda m: nodes(m)[0].update(target="_operator.attrgetter"), "must not call"),
        (name_with_code, "must hold names alone"),
        (weight_with_code, "must hold names alone"),
        (argument_with_code, "must hold names alone"),
        (symbolic_size, "arguments of the kind 'expr'"),
        (guards, "without code"),
        (named_type, "must take and give tensors"),
        (lambda m: m.clear(), "damaged"),
    ],
)
def test_a_program_with_anything_but_arithmetic_is_refused(
    change: Change, problem: str, files: dict[str, Path], tmp_path: Path
) -> None:
    path = tamper(files["torch_export"], tmp_path / "bad.pt2", "models/model.json", change)
    with pytest.raises(ModelError, match=problem):
        load_exported(path, CPU)


def first(config: dict[str, Any]) -> dict[str, Any]:
    return next(iter(config["config"].values()))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: first(c).update(use_pickle=True), "must be numbers, not objects"),
        (lambda c: first(c).update(path_name="../../x"), "must hold names alone"),
        (lambda c: first(c).update(path_name="custom_obj_0"), "must be numbers, not objects"),
        (lambda c: first(c)["tensor_meta"].update(sizes=[{"as_int": 10**12}]), "claims more"),
        (lambda c: first(c)["tensor_meta"].update(sizes=[{"as_int": 0}]), "claims more"),
    ],
)
def test_weights_must_be_numbers_in_the_file(
    change: Change, problem: str, files: dict[str, Path], tmp_path: Path
) -> None:
    name = "model_weights_config.json"
    with pytest.raises(ModelError, match=problem):
        load_exported(tamper(files["torch_export"], tmp_path / "bad.pt2", name, change), CPU)


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


def test_a_pickle_in_the_sample_inputs_is_not_run(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harm, pickled, bad = tmp_path / "harm", tmp_path / "pickled", tmp_path / "bad.pt2"
    torch.save(((Malicious(f"touch {harm}"),), {}), pickled)
    replace(files["torch_export"], bad, "sample_inputs/model.pt", pickled.read_bytes())
    with pytest.raises(ModelError, match="must hold tensors and plain values"):
        load_exported(bad, CPU)
    assert not harm.exists()
    noisy = logging.getLogger("torch._export.serde.serialize")
    monkeypatch.setattr(noisy, "disabled", True)  # its own warning cannot be formatted
    torch.export.load(bad)
    assert harm.exists(), "the file must be one that would do harm"


def test_sample_inputs_that_grow_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    zeros, bomb, bad = io.BytesIO(), io.BytesIO(), tmp_path / "bad.pt2"
    torch.save(((torch.zeros(1_000_000),), {}), zeros)
    with zipfile.ZipFile(zeros) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    replace(files["torch_export"], bad, "sample_inputs/model.pt", bomb.getvalue())
    with pytest.raises(ModelError, match="its sample input must not be compressed"):
        load_exported(bad, CPU)


def test_sample_inputs_may_not_claim_more_than_they_hold(
    files: dict[str, Path], tmp_path: Path
) -> None:
    huge, bad = io.BytesIO(), tmp_path / "bad.pt2"
    torch.save(((torch.zeros(1).expand(10**12),), {}), huge)
    replace(files["torch_export"], bad, "sample_inputs/model.pt", huge.getvalue())
    with pytest.raises(ModelError, match="its sample input must be numbers in the file"):
        load_exported(bad, CPU)


@pytest.mark.parametrize(
    "extra",
    [
        "model/data/aotinductor/model/model.so",
        "model/data/constants/custom_obj_0",
        "other/models/model.json",
        "../../evil",
        "model/models/other.json",
    ],
)
def test_a_program_with_other_files_is_refused(
    extra: str, files: dict[str, Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.pt2"
    shutil.copy(files["torch_export"], bad)
    with zipfile.ZipFile(bad, "a") as archive:
        archive.writestr(extra, b"x")
    with pytest.raises(ModelError, match=r"must be a program of src\.export|in one folder"):
        load_exported(bad, CPU)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.pt2"
    shutil.copy(files["torch_export"], bad)
    with zipfile.ZipFile(bad, "a") as archive:
        name = next(name for name in archive.namelist() if name.endswith("model.json"))
        archive.writestr(name, b"{}")
    with pytest.raises(ModelError, match="must hold each file once"):
        load_exported(bad, CPU)


def external_weights(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def foreign_operation(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Loop"


def foreign_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "evil.library"


def no_metadata(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def huge_metadata(model: onnx.ModelProto) -> None:
    told = json.loads(model.metadata_props[0].value)
    told["data"]["size"] = [10**9] * 3
    model.metadata_props[0].value = json.dumps(told)


def short_calibration(model: onnx.ModelProto) -> None:
    told = json.loads(model.metadata_props[0].value)
    told["calibration"]["scale"] = [1.0]
    model.metadata_props[0].value = json.dumps(told)


def constant_elsewhere(model: onnx.ModelProto) -> None:
    value = onnx.numpy_helper.from_array(np.ones(3, np.float32), "c")
    value.data_location = onnx.TensorProto.EXTERNAL
    value.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["c"], value=value))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (external_weights, "must hold its weights itself"),
        (constant_elsewhere, "must hold its weights itself"),
        (foreign_operation, "not 'Loop'"),
        (foreign_domain, "not 'evil.library"),
        (no_metadata, "lacks the metadata"),
        (huge_metadata, "size must be 3 numbers in 1..1024"),
        (short_calibration, "calibration.scale must be 4 numbers"),
    ],
)
def test_an_onnx_file_with_anything_but_arithmetic_is_refused(
    change: Callable[[onnx.ModelProto], None],
    problem: str,
    files: dict[str, Path],
    tmp_path: Path,
) -> None:
    model = onnx.load(files["onnx"])
    change(model)
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=problem):
        load_exported(tmp_path / "bad.onnx", CPU)


@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
def test_garbage_and_missing_files_are_told(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{ending}"
    with pytest.raises(ModelError, match="is missing"):
        load_exported(path, CPU)
    path.write_bytes(b"\x00 no model at all")
    with pytest.raises(ModelError, match=r"damaged|lacks the metadata"):
        load_exported(path, CPU)


def test_without_onnx_one_line_says_what_to_install(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"ONNX files need onnxruntime: pip install 'gaborseg\[o"):
        load_exported(files["onnx"], CPU)


def test_the_logits_of_a_file_stay_on_the_device_of_the_image(files: dict[str, Path]) -> None:
    found: Tensor = load_exported(files["onnx"], CPU).logits(smooth_noise(SHAPE))
    assert found.device == CPU
