import json
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

from config import PROJECT
from gaborseg.layers import GaborConv3d
from gaborseg.models import ModelError, TrainedModel, load_exported, load_trained
from gaborseg.models.deployed import Deployed, metadata_of, simplified
from gaborseg.models.exported import read_onnx
from gaborseg.models.exporting import (
    exported_program,
    read_torch_export,
    write_onnx,
    write_torch_export,
)
from gaborseg.models.verification import smooth_noise
from tiny_model import description, hnoseg_description, unet_description, write_checkpoint

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


def shallow(told: dict[str, Any]) -> dict[str, Any]:
    """A description with the first and the last level of its network: the others are like them."""
    levels = told["network"]["convolutions"]
    legs = {"depths_down": [1, 1], "depths_up": [1], "channels": [4, 8]}
    return told | {"network": told["network"] | legs | {"convolutions": [levels[0], levels[-1]]}}


Pair = tuple[TrainedModel, dict[str, Path]]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    @cache
    def pair(kernel: str) -> Pair:
        folder = tmp_path_factory.mktemp(kernel)
        decision = "argmax" if kernel == "conventional" else "calibrated"
        others = {"nnunet": unet_description, "hnoseg_xs": hnoseg_description}
        if kernel in others:
            told = others[kernel](32)
        else:
            told = shallow(description(kernel, decision, size=32))
        trained = load_trained(write_checkpoint(folder / "model.ckpt", told))
        return trained, export(trained, folder)

    return pair


READERS = {"onnx": lambda path: read_onnx(path, CPU)[1], "torch_export": read_torch_export}


def test_a_model_of_clipped_scans_says_so_first() -> None:
    told = {"channels": ["CT"], "preparation": {"window": [-160, 240]}}
    metadata = metadata_of(told, nn.Identity(), SHAPE[2:], {})
    assert metadata["preprocessing"][0] == "clip intensities to data.preparation.window"
    assert metadata["format"] == 2
    assert metadata_of({"channels": ["MR"]}, nn.Identity(), SHAPE[2:], {})["format"] == 1


@pytest.fixture
def files(pairs: Callable[[str], Pair]) -> dict[str, Path]:
    return pairs("mixed")[1]


SLOW = [
    pytest.param(kernel, marks=pytest.mark.slow)
    for kernel in ("gabor", "conventional", "nnunet", "hnoseg_xs")
]


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["mixed", *SLOW])
@pytest.mark.parametrize("kind", ["onnx", "torch_export"])
def test_an_exported_file_computes_what_the_checkpoint_does(
    pairs: Callable[[str], Pair], kernel: str, kind: str
) -> None:
    trained, paths = pairs(kernel)
    image = smooth_noise(SHAPE)
    outputs = READERS[kind](paths[kind])
    logits, scores, labels = outputs(image, NAMES)
    expected = trained.network(image)
    assert float((logits - expected).abs().max()) <= 1e-4
    assert float((labels == trained.decision(expected)).double().mean()) >= 0.9999
    torch.testing.assert_close(scores, trained.decision.scores(expected), rtol=0, atol=1e-4)
    assert float(expected.abs().max()) > 1, "the comparison must not be of small numbers"


def test_a_model_from_a_file_gives_its_scores(files: dict[str, Path]) -> None:
    image = smooth_noise(SHAPE)
    model = load_exported(files["onnx"], CPU)
    assert model.fixed_size == (32, 32, 32)
    assert model.facts.structures == ("egg", "left_ball", "right_box")
    (scores,) = read_onnx(files["onnx"], CPU)[1](image, ["scores"])
    torch.testing.assert_close(model.scores(model.logits(image)), scores)


def test_the_metadata_say_how_to_use_the_file(files: dict[str, Path]) -> None:
    metadata, _ = read_onnx(files["onnx"], CPU)
    assert metadata["data"]["licence"] == "free"
    assert metadata["input"]["shape"] == [1, 1, 32, 32, 32]
    assert metadata["decision"] == "Calibrated"
    assert any("standard deviation" in step for step in metadata["preprocessing"])
    with zipfile.ZipFile(files["torch_export"]) as archive:
        (entry,) = (name for name in archive.namelist() if name.endswith("extra/gaborseg.json"))
        assert json.loads(archive.read(entry)) == metadata


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
    plain = simplified(module)
    assert [type(part) for part in plain.modules()].count(nn.Conv3d) == 2
    assert not any(isinstance(part, GaborConv3d | nn.Dropout3d) for part in plain.modules())
    torch.testing.assert_close(plain(image), expected, rtol=1e-4, atol=1e-5)


def test_instance_normalisation_is_exact_in_other_runtimes_too() -> None:
    norm = nn.InstanceNorm3d(3, affine=True)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    image = torch.randn(2, 3, 8, 9, 10)
    plain = simplified(nn.Sequential(norm))
    assert not isinstance(plain[0], nn.InstanceNorm3d)
    torch.testing.assert_close(plain(image), norm(image))


def without_digest(path: Path) -> onnx.ModelProto:
    """Return an exported model as earlier versions wrote it, and as a stranger could."""
    model = onnx.load(path)
    metadata, digest = model.metadata_props
    assert (metadata.key, digest.key) == ("gaborseg.json", "gaborseg.sha256")
    del model.metadata_props[1]
    return model


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


def deep_metadata(model: onnx.ModelProto) -> None:
    deep = "[" * 500 + "]" * 500
    model.metadata_props[0].value = f'{{"format": 1, "data": {{"structures": {deep}}}}}'


def huge_metadata(model: onnx.ModelProto) -> None:
    told = json.loads(model.metadata_props[0].value)
    told["data"]["size"] = [10**9] * 3
    model.metadata_props[0].value = json.dumps(told)


def short_calibration(model: onnx.ModelProto) -> None:
    told = json.loads(model.metadata_props[0].value)
    told["calibration"]["scale"] = [1.0]
    model.metadata_props[0].value = json.dumps(told)


def negative_image(model: onnx.ModelProto) -> None:
    told = json.loads(model.metadata_props[0].value)
    told["input"]["shape"] = [1, 1, -32, -32, -32]
    model.metadata_props[0].value = json.dumps(told)


def no_logits(model: onnx.ModelProto) -> None:
    del model.graph.output[0]


def integer_logits(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["before" if name == "logits" else name for name in names]
    cast = onnx.helper.make_node("Cast", ["before"], ["logits"], to=onnx.TensorProto.INT64)
    model.graph.node.append(cast)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64


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
        (deep_metadata, "lacks the metadata"),
        (huge_metadata, "size must be 3 numbers in 1..1024"),
        (short_calibration, "calibration.scale must be 4 numbers"),
        (negative_image, r"size of the image must be 3 numbers in 1\.\.1024, got"),
        (no_logits, r"its logits must be tensor\(float\), got None"),
        (integer_logits, r"its logits must be tensor\(float\), got tensor\(int64\)"),
    ],
)
def test_an_onnx_file_with_anything_but_arithmetic_is_refused(
    change: Callable[[onnx.ModelProto], None],
    problem: str,
    files: dict[str, Path],
    tmp_path: Path,
) -> None:
    model = without_digest(files["onnx"])
    change(model)
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=problem):
        load_exported(tmp_path / "bad.onnx", CPU)


def test_logits_of_other_structures_than_those_named_are_told(
    files: dict[str, Path], tmp_path: Path
) -> None:
    model = without_digest(files["onnx"])
    told = json.loads(model.metadata_props[0].value)
    told["data"]["structures"], told["calibration"] = ["egg"], None
    model.metadata_props[0].value = json.dumps(told)
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"other\.onnx: logits must be \(1, 2, 32, 32, 32\), got"):
        load_exported(tmp_path / "other.onnx", CPU).logits(smooth_noise(SHAPE))


def test_garbage_and_missing_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    with pytest.raises(ModelError, match="is missing"):
        load_exported(path, CPU)
    path.write_bytes(b"\x00 no model at all")
    with pytest.raises(ModelError, match=r"damaged|lacks the metadata"):
        load_exported(path, CPU)


def test_without_onnx_one_line_says_what_to_install(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"ONNX files need onnxruntime: pip install -e '\.\[o"):
        load_exported(files["onnx"], CPU)


def test_the_logits_of_a_file_stay_on_the_device_of_the_image(files: dict[str, Path]) -> None:
    found: Tensor = load_exported(files["onnx"], CPU).logits(smooth_noise(SHAPE))
    assert found.device == CPU


def flipped(path: Path, position: int, to: Path) -> Path:
    """Write a copy with one bit flipped."""
    content = bytearray(path.read_bytes())
    content[position] ^= 0x40
    to.write_bytes(content)
    return to


def test_one_flipped_bit_in_the_weights_is_told(files: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(files["onnx"])
    largest = max((w.raw_data for w in model.graph.initializer), key=len)
    place = files["onnx"].read_bytes().index(largest) + 3
    with pytest.raises(ModelError, match="has another digest than when it was exported"):
        load_exported(flipped(files["onnx"], place, tmp_path / "rotten.onnx"), CPU)


def test_one_flipped_bit_in_the_metadata_is_told(files: dict[str, Path], tmp_path: Path) -> None:
    place = files["onnx"].read_bytes().index(b"left_ball")
    with pytest.raises(ModelError, match="has another digest than when it was exported"):
        load_exported(flipped(files["onnx"], place, tmp_path / "rotten.onnx"), CPU)


def test_a_file_that_another_tool_has_saved_unchanged_is_as_good(
    files: dict[str, Path], tmp_path: Path
) -> None:
    onnx.save(onnx.load(files["onnx"]), tmp_path / "again.onnx")
    assert load_exported(tmp_path / "again.onnx", CPU).fixed_size == (32, 32, 32)


def rewritten(path: Path, to: Path, value: float) -> Path:
    """Write a copy without a digest, as of before, with one weight set to a value."""
    model = without_digest(path)
    weight = next(w for w in model.graph.initializer if w.data_type == onnx.TensorProto.FLOAT)
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] = value
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, to)
    return to


def test_a_file_of_before_has_no_digest_and_is_read(files: dict[str, Path], tmp_path: Path) -> None:
    path = rewritten(files["onnx"], tmp_path / "before.onnx", 0.5)
    assert load_exported(path, CPU).fixed_size == (32, 32, 32)


def test_an_exported_weight_that_is_not_finite_is_refused(
    files: dict[str, Path], tmp_path: Path
) -> None:
    path = rewritten(files["onnx"], tmp_path / "nan.onnx", float("nan"))
    with pytest.raises(ModelError, match=r"nan\.onnx: weights must be finite"):
        load_exported(path, CPU)


def test_a_torch_program_has_checksums_that_tell_a_flipped_bit(
    files: dict[str, Path], tmp_path: Path
) -> None:
    with zipfile.ZipFile(files["torch_export"]) as archive:
        assert archive.testzip() is None
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        content = archive.read(largest)
    place = files["torch_export"].read_bytes().index(content)
    rotten = flipped(files["torch_export"], place + 3, tmp_path / "rotten.pt2")
    with zipfile.ZipFile(rotten) as archive:
        assert archive.testzip() == largest.filename
