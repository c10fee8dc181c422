"""Reading exported files that a stranger may have made: arithmetic on tensors, nothing else.

Neither format is a plain list of numbers. A ``.pt2`` file names Python functions, and its reader
unpickles what it is told to; an ``.onnx`` file may name other files and libraries. So the file is
looked through first, and nothing but the operations of our networks is let through.
"""

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from torch.export.passes import move_to_device_pass

from gaborseg.models.archive import check_archive, check_zip, is_weight
from gaborseg.models.deployed import FORMAT, OUTPUTS
from gaborseg.models.description import ModelError, check_numbers
from gaborseg.models.exporting import METADATA, quietly, require_onnx
from gaborseg.models.model import Model, facts_of

Outputs = Callable[[Tensor, Sequence[str]], Sequence[Tensor]]
"""What a file computes: the outputs that are named, of an image (1, I, D, H, W)."""

_LARGEST_METADATA = 2**24
_MOST_NODES = 10_000
_LARGEST_SCORE = 1e30
OPERATION = re.compile(
    r"torch\.ops\.aten\.(_assert_tensor_metadata|add|addcmul|alias|argmax|batch_norm|cat|celu|clone"
    r"|contiguous|conv3d|conv_transpose3d|detach|div|elu|flatten|gelu|group_norm|instance_norm|leaky_relu|matmul"
    r"|max_pool3d|mean|mish|mul|narrow|numpy_T|pad|permute|prelu|relu|repeat|reshape|selu|silu|slice|softmax|sqrt|sub"
    r"|tanh|to|transpose|unflatten|unsqueeze|upsample_nearest3d|upsample_trilinear3d|view)_?\.\w+"
)
"""What a program may call, in place too."""
_ARGUMENT = re.compile(
    r"as_(bools?|device|floats?|ints?|layout|memory_format|none|scalar_type|string|tensors?)"
)
"""Kinds of arguments and sizes in it: no symbols, expressions, objects or further programs."""
NAME = re.compile(r"[A-Za-z0-9_.]*")
"""All text in it: the reader writes Python code with the names it finds, so they must be names."""
_TEXTS = ("in_spec", "out_spec", "torch_version")
"""Keys of other text; the first two are checked by themselves, the last is not used."""
_ENTRY = re.compile(
    r"(\w+)/(data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|models/model\.json|extra/gaborseg\.json"
    r"|archive_format|archive_version|byteorder|\.data/(version|serialization_id))"
)
"""Files in the archive; no compiled libraries, no pickled objects."""
_ONNX_OPERATION = re.compile(
    "Add|ArgMax|BatchNormalization|Cast|Celu|Clip|Concat|Constant|Conv|ConvTranspose|Div|Elu|Erf|Exp|Expand|Flatten|Gelu"
    "|GroupNormalization|Identity|InstanceNormalization|LeakyRelu|MatMul|MaxPool|Mish|Mul|PRelu|Pad"
    "|ReduceMean|Relu|Reshape|Selu|Sigmoid|Slice|Softmax|Softplus|Sqrt|Squeeze|Sub|Tanh|Tile|Transpose|Unsqueeze"
)


def load_exported(path: Path, device: torch.device) -> Model:
    """A model that is ready to use, from an ``.onnx`` or ``.pt2`` file of ``src.export``.

    Raises:
        ModelError: The file is missing, damaged, or not one that ``src.export`` would write.
        ImportError: It is an ONNX file and onnxruntime is not installed.
    """
    metadata, outputs = read_exported(path, device)
    try:
        facts, size = facts_of(metadata["data"]), _input_size(metadata)
        scores = _scores_by(metadata, len(facts.structures) + 1)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return Model(path, facts, lambda image: outputs(image, ["logits"])[0], scores, size)


def read_exported(path: Path, device: torch.device) -> tuple[dict[str, Any], Outputs]:
    """The metadata of an exported file, and what it computes.

    Raises:
        ModelError: The file is missing, damaged, or not one that ``src.export`` would write.
        ImportError: It is an ONNX file and onnxruntime is not installed.
    """
    if not path.is_file():
        raise ModelError(f"{path} is missing: a checkpoint is a model file or a run folder")
    reader = _read_onnx if path.suffix == ".onnx" else _read_torch_export
    try:
        return reader(path, device)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _read_torch_export(path: Path, device: torch.device) -> tuple[dict[str, Any], Outputs]:
    """The metadata of a ``.pt2`` file, and what it computes."""
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        metadata = _check_program(archive)
    with quietly():
        program = move_to_device_pass(torch.export.load(path), device).module()

    def outputs(image: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
        found = dict(zip(OUTPUTS, program(image), strict=True))
        return [found[name] for name in names]

    return metadata, outputs


def _check_program(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Check everything in a ``.pt2`` archive that its reader would believe; return the metadata.

    Raises:
        ModelError: It holds something that no network of ours would.
    """
    names = archive.namelist()
    if odd := [name for name in names if not _ENTRY.fullmatch(name)]:
        raise ModelError(f"it must be a program of src.export, and holds {odd[0][:80]!r}")
    root, *others = {name.partition("/")[0] for name in names}
    if others or len(set(names)) < len(names):
        raise ModelError("it must hold each file once, in one folder")
    try:
        content = {
            name: archive.read(f"{root}/{name}")
            for name in ("models/model.json", f"extra/{METADATA}", "data/sample_inputs/model.pt")
        }
        for kind in ("weights", "constants"):
            config = json.loads(archive.read(f"{root}/data/{kind}/model_{kind}_config.json"))
            _check_texts(config)
            _check_tensors(config, archive, f"{root}/data/{kind}")
        _check_graph(json.loads(content["models/model.json"]))
        sample = io.BytesIO(content["data/sample_inputs/model.pt"])
        check_zip(sample, "its sample input")
        arguments, _ = torch.load(sample, weights_only=True)
        if not all(is_weight(("", one)) for one in arguments):
            raise ModelError("its sample input must be numbers in the file")
    except UnpicklingError as error:
        raise ModelError("it must hold tensors and plain values, not objects") from error
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"it is damaged: {error!r}"[:200]) from error
    return _read_metadata(content[f"extra/{METADATA}"].decode())


def _check_graph(model: dict[str, Any]) -> None:
    """Check the program: its operations, its arguments, and that it has no code beside them.

    Raises:
        ModelError: It is more than the operations of a network on volumes of one size.
    """
    _check_texts(model)
    module = model["graph_module"]
    if model["guards_code"] or model["range_constraints"] or module["treespec_namedtuple_fields"]:
        raise ModelError("its program must be one of fixed size, without code")
    if len(module["graph"]["nodes"]) > _MOST_NODES:
        raise ModelError(f"its program must have at most {_MOST_NODES} operations")
    for key, value in entries(model):
        if key == "target" and not OPERATION.fullmatch(str(value)):
            raise ModelError(f"its program must not call {str(value)[:80]!r}")
        if key.startswith("as_") and not _ARGUMENT.fullmatch(key):
            raise ModelError(f"its program must not have arguments of the kind {key[3:]!r}")
        if key in ("in_spec", "out_spec"):
            _check_specification(value)


def _check_texts(tree: dict[str, Any]) -> None:
    """Check that all text in a tree is names.

    Raises:
        ModelError: Some could be code.
    """
    for key, value in entries(tree):
        texts = [key, *(value if isinstance(value, list) else [value])]
        for text in texts:
            if isinstance(text, str) and key not in _TEXTS and not NAME.fullmatch(text):
                raise ModelError(f"its program must hold names alone, got {text[:80]!r}")


def _check_specification(text: str) -> None:
    """Check that arguments and results are arranged in tuples, lists and dicts alone.

    Raises:
        ModelError: They are not.
    """
    types = ("builtins.tuple", "builtins.list", "builtins.dict", None)
    for key, value in entries(json.loads(text)):
        if (key == "type" and value not in types) or (
            key == "context" and value not in ("null", "[]", None)
        ):
            raise ModelError(f"its program must take and give tensors, got {str(value)[:80]!r}")


def _check_tensors(config: dict[str, Any], archive: zipfile.ZipFile, folder: str) -> None:
    """Check that tensors are numbers in the archive, all there.

    Raises:
        ModelError: One is pickled, or claims more than is there.
    """
    for name, entry in config["config"].items():
        if entry["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
            raise ModelError(f"{name} must be numbers, not objects")
        size = 1
        for length in entry["tensor_meta"]["sizes"]:
            size *= int(length["as_int"])
        if not 0 < size <= archive.getinfo(f"{folder}/{entry['path_name']}").file_size:
            raise ModelError(f"{name} claims more values than the file holds")


def entries(tree: object) -> Iterator[tuple[str, Any]]:
    """Every key of every mapping in a tree, with its value."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield str(key), value
            yield from entries(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from entries(value)


def _read_onnx(path: Path, device: torch.device) -> tuple[dict[str, Any], Outputs]:
    """The metadata of an ONNX file, and what it computes."""
    require_onnx()
    import onnxruntime

    metadata = _check_onnx(path)
    providers = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, "CUDAExecutionProvider")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime has exceptions of its own for each thing wrong
        raise ModelError(f"onnxruntime cannot use it: {error}".splitlines()[0]) from error

    def outputs(image: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
        try:
            found = session.run(list(names), {"image": image.cpu().numpy()})
        except Exception as error:
            raise RuntimeError(f"onnxruntime: {error}") from error
        return [torch.from_numpy(values).to(image.device) for values in found]

    return metadata, outputs


def _check_onnx(path: Path) -> dict[str, Any]:
    """Check that an ONNX file holds its weights and known operations alone; return its metadata.

    Raises:
        ModelError: It does not.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"it is damaged or no ONNX file: {error}") from error
    graph = model.graph
    for node in graph.node:
        if not _ONNX_OPERATION.fullmatch(operation := f"{node.domain}{node.op_type}"):
            raise ModelError(f"it must hold the operations of a network alone, not {operation!r}")
    if model.functions or graph.sparse_initializer or len(graph.node) > _MOST_NODES:
        raise ModelError("it must hold one plain graph")
    constants = [entry.t for node in graph.node for entry in node.attribute]
    if any(tensor.data_location for tensor in [*graph.initializer, *constants]):
        raise ModelError("it must hold its weights itself, not name other files")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    return _read_metadata(properties.get(METADATA, ""))


def _read_metadata(text: str) -> dict[str, Any]:
    """The metadata in an exported file.

    Raises:
        ModelError: It is missing, damaged, or of another version.
    """
    try:
        metadata = json.loads(text[:_LARGEST_METADATA])
    except (ValueError, RecursionError) as error:
        raise ModelError("it lacks the metadata that src.export writes") from error
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise ModelError(f"its metadata must be of format {FORMAT}")
    if not isinstance(metadata.get("data"), dict):
        raise ModelError("its metadata must describe the data")
    return metadata


def _scores_by(metadata: dict[str, Any], classes: int) -> Callable[[Tensor], Tensor]:
    """What turns logits (1, C, *S) into what the decision compares, as the metadata say.

    Raises:
        ModelError: They do not.
    """
    if "calibration" not in metadata:
        raise ModelError("its metadata must state the calibration: export the model again")
    calibration = metadata["calibration"]
    if calibration is None:
        return lambda logits: logits.float().softmax(dim=1)
    if not isinstance(calibration, dict) or set(calibration) != {"scale", "offset"}:
        raise ModelError("its calibration must hold scale and offset")
    for key, values in calibration.items():
        check_numbers(f"calibration.{key}", values, classes, -_LARGEST_SCORE, _LARGEST_SCORE)
    scale, offset = (
        torch.tensor(calibration[key]).view(-1, 1, 1, 1) for key in ("scale", "offset")
    )

    def scores(logits: Tensor) -> Tensor:
        probs = logits.float().softmax(dim=1)
        return torch.addcmul(offset.to(probs.device), probs, scale.to(probs.device))

    return scores


def _input_size(metadata: dict[str, Any]) -> tuple[int, int, int]:
    """Voxels along each axis of the volumes that an exported file takes."""
    shape = metadata.get("input", {}).get("shape") if isinstance(metadata.get("input"), dict) else 0
    if not isinstance(shape, list) or len(shape) != 5 or not all(type(n) is int for n in shape):
        raise ModelError("its metadata must state the shape of the image")
    depth, height, width = shape[2:]
    return depth, height, width
