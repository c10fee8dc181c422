"""Writing a deployed network as ONNX or as a torch program, without a trace of this machine."""

import contextlib
import hashlib
import io
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from gaborseg.models.deployed import OUTPUTS, Deployed, Outputs

METADATA = "gaborseg.json"
"""The name of the metadata in the file."""
ONNX_DIGEST = "gaborseg.sha256"


def exported_program(module: Deployed, shape: tuple[int, ...]) -> ExportedProgram:
    """The program that a deployed network runs on an image of one shape (1, I, D, H, W)."""
    example = torch.zeros(shape)
    with torch.no_grad(), quietly():
        module(example)  # what is computed once and kept must be real before it is traced
        program = torch.export.export(module, (example,))
    for node in program.graph.nodes:
        node.meta = {
            key: value for key, value in node.meta.items() if key in ("val", "tensor_meta")
        }
    return program


def write_torch_export(path: Path, program: ExportedProgram, metadata: Mapping[str, Any]) -> None:
    """Write a ``.pt2`` file, which ``torch.export.load`` reads."""
    content = io.BytesIO()  # a path would leave its name in the file
    with quietly():
        torch.export.save(program, content, extra_files={METADATA: json.dumps(metadata)})
    path.write_bytes(content.getbuffer())


def read_torch_export(path: Path) -> Outputs:
    """What a ``.pt2`` file computes that this process has just written.

    No other file may be read so: torch runs code that such a file can hold.
    """
    with quietly():
        program = torch.export.load(path).module()

    def outputs(image: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
        found = dict(zip(OUTPUTS, program(image), strict=True))
        return [found[name] for name in names]

    return outputs


def write_onnx(path: Path, program: ExportedProgram, metadata: Mapping[str, Any]) -> None:
    """Write an ONNX file with all its weights inside.

    Raises:
        ImportError: ONNX is not installed.
    """
    require_onnx()
    import onnx

    with quietly():
        exported = torch.onnx.export(
            program, input_names=["image"], output_names=list(OUTPUTS), dynamo=True, verbose=False
        )
    assert exported is not None
    model = exported.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA: json.dumps(metadata)})
    content = model.SerializeToString()
    path.write_bytes(content + onnx_seal(content))


def onnx_seal(content: bytes) -> bytes:
    """The end of an ONNX file: one more property, with a digest of all that is before it."""
    import onnx

    seal = onnx.ModelProto()
    digest = hashlib.sha256(content).hexdigest()
    onnx.helper.set_model_props(seal, {ONNX_DIGEST: digest})
    return seal.SerializeToString()


def require_onnx() -> None:
    """Check that what ONNX files need is installed.

    Raises:
        ImportError: It is not.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"ONNX files need {error.name}: pip install -e '.[onnx]' in a clone"
        ) from error


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the exporters' own progress and warnings from the screen."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
