"""Reading ONNX files that a stranger may have made: arithmetic on tensors, nothing else.

Such a file may name other files and libraries. So it is looked through first, and nothing but the
operations of our networks is let through.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaborseg.decisions import Argmax, Calibrated
from gaborseg.machine import load_json
from gaborseg.models.deployed import FORMATS, Outputs
from gaborseg.models.description import LARGEST_CUBE, ModelError, check_numbers
from gaborseg.models.exporting import METADATA, ONNX_DIGEST, onnx_seal, require_onnx
from gaborseg.models.model import Model, facts_of

_LARGEST_METADATA = 2**24
_MOST_NODES = 10_000
_LARGEST_SCORE = 1e30
_OF_COMPUTED = (
    ": files of kernels=computed are for other programs, export it with kernels=folded or use the "
    "checkpoint itself"
)
_ONNX_OPERATION = re.compile(
    "Add|ArgMax|BatchNormalization|Cast|Celu|Clip|Concat|Constant|Conv|ConvTranspose|Div|Elu|Erf|Exp|Expand|Flatten|Gelu"
    "|GroupNormalization|Identity|InstanceNormalization|LeakyRelu|MatMul|MaxPool|Mish|Mul|PRelu|Pad"
    "|ReduceMean|Relu|Reshape|Selu|Sigmoid|Slice|Softmax|Softplus|Sqrt|Squeeze|Sub|Tanh|Tile|Transpose|Unsqueeze"
)


def load_exported(path: Path, device: torch.device) -> Model:
    """A model that is ready to use, from an ``.onnx`` file of ``gaborseg export``.

    Raises:
        ModelError: The file is missing, damaged, or not one that ``gaborseg export`` would write.
        ImportError: onnxruntime is not installed.
    """
    metadata, outputs = read_onnx(path, device)
    try:
        facts, size = facts_of(metadata["data"]), _input_size(metadata)
        decision = _decision_of(metadata, len(facts.structures) + 1)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error

    def logits(image: Tensor) -> Tensor:
        (found,) = outputs(image, ["logits"])
        wanted = (1, len(facts.structures) + 1, *image.shape[2:])
        if tuple(found.shape) != wanted:
            raise ModelError(f"{path}: logits must be {wanted}, got {tuple(found.shape)}")
        return found

    return Model(path, facts, logits, decision.scores, size)


def read_onnx(path: Path, device: torch.device) -> tuple[dict[str, Any], Outputs]:
    """The metadata of an ONNX file, and what it computes.

    Raises:
        ModelError: The file is missing, damaged, or not one that ``gaborseg export`` would write.
        ImportError: onnxruntime is not installed.
    """
    if not path.is_file():
        raise ModelError(f"{path} is missing: a checkpoint is a model file or a run folder")
    require_onnx()
    try:
        return _check_onnx(path), session(path, device)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def session(path: Path, device: torch.device) -> Outputs:
    """What a file computes that has been checked, or that this process has just written.

    Raises:
        ModelError: onnxruntime cannot use it.
    """
    import onnxruntime

    providers = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, "CUDAExecutionProvider")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        opened = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime has exceptions of its own for each thing wrong
        raise ModelError(f"onnxruntime cannot use it: {error}".splitlines()[0]) from error
    kinds = {output.name: output.type for output in opened.get_outputs()}
    if kinds.get("logits") != "tensor(float)":
        raise ModelError(f"its logits must be tensor(float), got {kinds.get('logits')}")

    def outputs(image: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
        try:
            found = opened.run(list(names), {"image": image.cpu().numpy()})
        except Exception as error:
            raise RuntimeError(f"onnxruntime: {error}") from error
        return [torch.from_numpy(values).to(image.device) for values in found]

    return outputs


def _check_onnx(path: Path) -> dict[str, Any]:
    """Check that an ONNX file holds its weights and known operations alone; return its metadata.

    Raises:
        ModelError: It does not.
    """
    import onnx
    from google.protobuf.message import DecodeError

    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"it is damaged or no ONNX file: {error}") from error
    graph = model.graph
    for node in graph.node:
        if not _ONNX_OPERATION.fullmatch(operation := f"{node.domain}{node.op_type}"):
            waves = any(other.op_type in ("Cos", "Sin") for other in graph.node)
            raise ModelError(
                f"it must hold the operations of a network alone, not {operation!r}"
                f"{_OF_COMPUTED if waves else ''}"
            )
    if model.functions or graph.sparse_initializer or len(graph.node) > _MOST_NODES:
        raise ModelError("it must hold one plain graph")
    constants = [entry.t for node in graph.node for entry in node.attribute]
    if any(tensor.data_location for tensor in [*graph.initializer, *constants]):
        raise ModelError("it must hold its weights itself, not name other files")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    _check_content(content, ONNX_DIGEST in properties)
    _check_finite(graph.initializer)
    return _read_metadata(properties.get(METADATA, ""))


def _check_content(content: bytes, sealed: bool) -> None:
    """Check that a file is as it was exported; one of before has no digest that tells.

    Raises:
        ModelError: It is not.
    """
    size = len(onnx_seal(b""))
    if sealed and content[-size:] != onnx_seal(content[:-size]):
        raise ModelError("it is damaged: it has another digest than when it was exported")


def _check_finite(weights: Iterable[Any]) -> None:
    """Check that the weights in an ONNX graph are finite.

    Raises:
        ModelError: They are not.
    """
    from onnx import numpy_helper

    for weight in weights:
        values = numpy_helper.to_array(weight)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModelError(f"weights must be finite, got NaN or infinity in {weight.name}")


def _read_metadata(text: str) -> dict[str, Any]:
    """The metadata in an exported file.

    Raises:
        ModelError: It is missing, damaged, or of another version.
    """
    try:
        metadata = load_json(text[:_LARGEST_METADATA])
    except (ValueError, RecursionError) as error:
        raise ModelError("it lacks the metadata that gaborseg export writes") from error
    if not isinstance(metadata, dict) or metadata.get("format") not in FORMATS:
        raise ModelError(f"its metadata must be of format {' or '.join(map(str, FORMATS))}")
    if not isinstance(metadata.get("data"), dict):
        raise ModelError("its metadata must describe the data")
    return metadata


def _decision_of(metadata: dict[str, Any], classes: int) -> Argmax | Calibrated:
    """The decision that the metadata state.

    Raises:
        ModelError: They state none.
    """
    if "calibration" not in metadata:
        raise ModelError("its metadata must state the calibration: export the model again")
    calibration = metadata["calibration"]
    if calibration is None:
        return Argmax()
    if not isinstance(calibration, dict) or set(calibration) != {"scale", "offset"}:
        raise ModelError("its calibration must hold scale and offset")
    for key, values in calibration.items():
        check_numbers(f"calibration.{key}", values, classes, -_LARGEST_SCORE, _LARGEST_SCORE)
    decision = Calibrated(classes)
    decision.load_state_dict({key: torch.tensor(values) for key, values in calibration.items()})
    return decision


def _input_size(metadata: dict[str, Any]) -> tuple[int, int, int]:
    """Voxels along each axis of the volumes that an exported file takes.

    Raises:
        ModelError: The metadata do not state them.
    """
    shape = metadata.get("input", {}).get("shape") if isinstance(metadata.get("input"), dict) else 0
    if not isinstance(shape, list) or len(shape) != 5:
        raise ModelError("its metadata must state the shape of the image")
    check_numbers("size of the image", shape[2:], 3, 1, LARGEST_CUBE)
    depth, height, width = shape[2:]
    return depth, height, width
