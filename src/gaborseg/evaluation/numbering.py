"""Which label is which structure, in predictions and in truths, and what nobody has looked for."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from gaborseg.data import DESCRIPTION, UNLABELLED
from gaborseg.interface import as_list
from gaborseg.machine import load_json, read_text
from gaborseg.preparation import LabelMapping, read_mapping
from gaborseg.scans import DataError

_PREDICTED = "predict.json"
"""What ``gaborseg predict`` leaves beside its label maps: it names their structures."""


def numbering(
    settings: SimpleNamespace, predictions: Path, truth: Path
) -> tuple[tuple[str, ...] | None, LabelMapping | None]:
    """Names of the labels 1 ... n, if they are known, and how the ids of the truth become labels.

    Raises:
        DataError: A file that tells them cannot be used, or they contradict each other.
    """
    given = tuple(as_list(settings.structures))
    predicted = _structures_of(predictions / DESCRIPTION, predictions / _PREDICTED)
    if given and predicted and given != predicted:
        raise DataError(
            f"structures must be those of the predictions, {', '.join(predicted)}, got "
            f"{', '.join(given)}"
        )
    if settings.labels is not None:
        mapping = read_mapping(settings.labels, given)
        names = predicted or given or mapping.names
        return names, _numbered_as(mapping, names, "labels")
    true = _structures_of(truth / DESCRIPTION)
    structures = predicted or given or true
    if true is None or structures is None or structures == true:
        return structures, None
    ignored = () if settings.ignore is None else (settings.ignore,)
    ids: dict[str, tuple[int, ...]] = {name: (label,) for label, name in enumerate(true, start=1)}
    return structures, _numbered_as(LabelMapping(ids, ignored=ignored), structures, str(truth))


def _structures_of(*paths: Path) -> tuple[str, ...] | None:
    """Names of the labels 1 ... n, from the first file that is there; None without.

    Raises:
        DataError: The file cannot be read or names no structures.
    """
    for path in paths:
        if path.is_file():
            try:
                names = load_json(read_text(path))["structures"]
                if not isinstance(names, list):
                    raise TypeError("structures must be a list")
                return tuple(str(name) for name in names)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path} must name the structures: {error!r}") from error
    return None


def _numbered_as(mapping: LabelMapping, structures: Sequence[str], whose: str) -> LabelMapping:
    """The ids of each structure, in the order of the labels 1 ... n of the predictions.

    Args:
        mapping: Ids of the truth.
        structures: Of the predictions.
        whose: What the mapping is of, for the reader of an error.

    Raises:
        DataError: It has other structures.
    """
    if {*mapping.names} != {*structures}:
        raise DataError(
            f"{whose} must have the structures of the predictions, {', '.join(structures)}, "
            f"got {', '.join(mapping.names)}"
        )
    return replace(mapping, structures={name: mapping.structures[name] for name in structures})


def unlabelled_in(description: Path, structures: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The labels of structures that nobody has looked for, by subject.

    Args:
        description: The truths' ``dataset.json``, if there is one.
        structures: Names of the labels 1 ... n.

    Raises:
        DataError: It cannot be read.
    """
    if not description.is_file():
        return {}
    try:
        told = load_json(read_text(description)).get(UNLABELLED, {})
        names = {str(subject): {*map(str, missing)} for subject, missing in told.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"{description}: {UNLABELLED} must map subjects to lists of structures: {error!r}"
        ) from error
    return {
        subject: tuple(k for k, name in enumerate(structures, start=1) if name in missing)
        for subject, missing in names.items()
    }
