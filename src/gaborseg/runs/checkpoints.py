"""What a checkpoint tells beside its content: which run it is of, and what its weights were.

Checkpoints of earlier versions tell neither; they are taken as they are.
"""

import contextlib
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaborseg.machine import check_torch_index
from gaborseg.runs.files import RunFile, RunFileError, read_record, read_settings
from gaborseg.runs.settings import settings_digest

if TYPE_CHECKING:
    from torch import Tensor

_ORIGIN, _DIGEST = "origin", "weights_digest"


def sealed(checkpoint: Mapping[str, Any], origin: Mapping[str, str]) -> dict[str, Any]:
    """Return a checkpoint that also tells its run and a digest of its weights."""
    digest = weights_digest(checkpoint["state_dict"])
    return {**checkpoint, _ORIGIN: dict(origin), _DIGEST: digest}


def is_sealed(checkpoint: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint has a digest of its weights.

    Raises:
        ValueError: If the weights are not those that it was written with.
    """
    told = checkpoint.get(_DIGEST)
    if told is not None and told != weights_digest(checkpoint["state_dict"]):
        raise ValueError("its weights are not those that were written")
    return told is not None


def told_digest(checkpoint: Mapping[str, Any]) -> str:
    """Return the digest of the weights of a checkpoint, which earlier versions did not write."""
    return str(checkpoint.get(_DIGEST) or weights_digest(checkpoint["state_dict"]))


def check_archive(path: Path) -> None:
    """Check that every part of a checkpoint has the checksum that it was written with.

    Raises:
        ValueError: If one has not; other errors if the archive is damaged.
    """
    check_torch_index(path)
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise ValueError(f"its part {damaged} has another checksum than when it was written")


def check_origin(
    path: Path, checkpoint: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> None:
    """Check that a checkpoint is of the run in whose folder it lies, if both tell their run.

    Args:
        path: Where it lies.
        checkpoint: Its content.
        settings: The configuration of the run where the folder holds none.

    Raises:
        RunFileError: If it is of another run.
    """
    told = checkpoint.get(_ORIGIN)
    if not isinstance(told, Mapping):
        return
    own = {"id": read_record(path.parent).get("id")}
    if own["id"] is None and (known := read_settings(path.parent) or settings):
        own = {"settings": settings_digest(known)}
    for key, value in own.items():
        if value is not None and told.get(key) != value:
            raise RunFileError(
                f"{path} must be of the run in its folder, whose {key} is {value}, "
                f"got one of {told.get(key)}: move it elsewhere"
            )


def identity_in_checkpoints(folder: Path) -> str | None:
    """Return the identity that the checkpoints in a run folder tell, if one can be read."""
    for path in (folder / RunFile.BEST, folder / RunFile.LAST):
        if path.is_file():
            import torch  # slow; a folder without checkpoints does without

            with contextlib.suppress(Exception):  # whatever damage makes torch raise
                check_archive(path)
                return str(torch.load(path, weights_only=True, mmap=True)[_ORIGIN]["id"])
    return None


def not_finite(weights: Mapping[str, "Tensor"]) -> list[str]:
    """Return the names of the weights that hold NaN or infinity."""
    return [
        name
        for name, value in weights.items()
        if value.is_floating_point() and not bool(value.float().isfinite().all())
    ]


def weights_digest(weights: Mapping[str, "Tensor"]) -> str:
    """Return hexadecimal digits of the names, types, shapes and values of weights."""
    import torch  # slow; who only looks at run folders does without

    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
