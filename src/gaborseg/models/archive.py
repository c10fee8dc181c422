"""Reading a checkpoint that a stranger may have made: tensors and plain values, nothing else."""

import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from gaborseg.machine import check_size
from gaborseg.models.description import ModelError
from gaborseg.runs import as_saved_now, check_archive, check_origin, is_sealed


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint: tensors, mapped from the file, and plain values.

    Raises:
        ModelError: It is no such file, holds something that would have to be unpickled, or is not
            as it was written: a part has another checksum, or the weights another digest.
    """
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        check_size(content)
    except UnpicklingError as error:
        raise ModelError(
            f"{path} must hold tensors and plain values, no pickled objects"
        ) from error
    except Exception as error:  # whatever a damaged archive makes torch raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path} is a damaged checkpoint: {reason}") from error
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(map(_is_weight, state.items())):
        raise ModelError(
            f"{path} must hold the weights of a training, as gaborseg train writes them"
        )
    try:
        is_sealed(content)
        check_origin(path, content)
    except ValueError as error:
        raise ModelError(f"{path} cannot be used: {error}") from error
    if isinstance(description := content.get("description"), dict):
        content["description"] = as_saved_now(description)
    return content


def _check_archive(path: Path) -> None:
    """Check that a file is an archive that does not grow when it is read.

    Raises:
        ModelError: It is not.
    """
    if not path.is_file():
        raise ModelError(f"{path} is missing: a checkpoint is a model file or a run folder")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # whatever damage makes zipfile raise
        raise ModelError(f"{path} is damaged or not a checkpoint of gaborseg") from error
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ModelError(f"{path} must not be compressed: no checkpoint of gaborseg is")
    try:
        check_archive(path)
    except Exception as error:  # whatever damage makes zipfile raise
        raise ModelError(f"{path} is a damaged checkpoint: {error}") from error


def _is_weight(item: tuple[object, object]) -> bool:
    """Return whether a name goes with a tensor whose values are all in the file."""
    name, value = item
    return (
        isinstance(name, str)
        and isinstance(value, Tensor)
        and value.device.type == "cpu"
        and value.layout == torch.strided
        and not value.is_quantized
        and not value.is_nested
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )
