"""Which runs repeat each other: configurations, told apart by every setting that decides a result.

Splits and seeds are the replicates of a configuration; the learning rate is an axis of its own.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from src.analysis.names import KERNELS, LOSSES, rank_of, readable
from src.analysis.run_folders import RunRecord, named_choices

TECHNICAL = (  # settings that change no result
    "logger",
    "callbacks.progress",
    "data.num_workers",
    "data.cache",
    "data.source.cache",
    "data.root",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
)
REPLICATES = ("seed", "data.seed", "split", "data.split", "data.split_file")
TAKEN_FROM_THE_DATA = ("network.in_channels", "network.num_classes", "decision.num_classes")
ELSEWHERE = ("optimizer.lr", "kernel.name")
IGNORED = (*TECHNICAL, *REPLICATES, *TAKEN_FROM_THE_DATA, *ELSEWHERE)
CHOICES = ("decision", "network", "augmentation", "scheduler", "optimizer", "data")

Values = tuple[Hashable, ...]


@dataclass(frozen=True)
class Configuration:
    """All settings of a run but learning rate, split and seed.

    Attributes:
        id: Short and unique, for files and keys.
        label: For the reader.
        kernel: Name of the kernel option.
        loss: Name of the loss option.
        variant: What else tells it from the others, for the reader; often empty.
        runs: Positions of its runs, by learning rate, lowest first.
        parameters: Number of trained parameters, None if it is not recorded.
    """

    id: str
    label: str
    kernel: str
    loss: str
    variant: str
    runs: dict[float | None, tuple[int, ...]]
    parameters: int | None


def find_configurations(
    records: Sequence[RunRecord], ignored: Sequence[str] = ()
) -> list[Configuration]:
    """Return the configurations of runs, in the order of kernels, losses and the rest.

    Args:
        records: Finished runs.
        ignored: More settings, or groups of them, whose differences do not count.
    """
    keys = _varying(records, (*IGNORED, *ignored))
    identities = [_identity(record, keys) for record in records]
    variants = _variants(records, identities, keys)
    groups: dict[Values, list[int]] = {}
    for position, identity in enumerate(identities):
        groups.setdefault(identity, []).append(position)
    found = [_configuration(records, group, variants[group[0]]) for group in groups.values()]
    return _with_unique_ids(sorted(found, key=_order))


def kernel_of(record: RunRecord) -> str:
    """Return the name of the kernel option of a run."""
    told = (record.settings or {}).get("kernel.name")
    return str(record.choices.get("kernel") or told or "unknown")


def loss_of(record: RunRecord) -> str:
    """Return the name of the loss option of a run."""
    target = str((record.settings or {}).get("loss._target_", "unknown"))
    return str(record.choices.get("loss") or target.rpartition(".")[2])


def _identity(record: RunRecord, keys: Sequence[str]) -> Values:
    """Return what runs that repeat each other have in common."""
    values = (_plain((record.settings or {}).get(key)) for key in keys)
    return (kernel_of(record), loss_of(record), _nameless(record), *values)


def _varying(records: Sequence[RunRecord], ignored: Sequence[str]) -> list[str]:
    """Return the settings with several recorded values; one that is missing agrees with all."""
    values: dict[str, set[Hashable]] = {}
    for record in records:
        for key, value in (record.settings or {}).items():
            values.setdefault(key, set()).add(_plain(value))
    return sorted(k for k, v in values.items() if len(v) > 1 and not _is_below(k, ignored))


def _is_below(key: str, groups: Iterable[str]) -> bool:
    return any(key == group or key.startswith(f"{group}.") for group in groups)


def _nameless(record: RunRecord) -> str | None:
    """Return what tells a run without settings from others: its folder, without split and seed."""
    if record.settings is not None:
        return None
    replicate = r"(^|[-_,])(split=?|seed=?|lr|optimizer\.lr=)[0-9.e^-]*[0-9]"
    return re.sub(replicate, "", record.folder.name).strip("-_,")


def _plain(value: Any) -> Hashable:
    return str(value) if isinstance(value, list | dict) else value


def _variants(
    records: Sequence[RunRecord], identities: Sequence[Values], keys: Sequence[str]
) -> list[str]:
    """Return for each run, in words, what tells it from others of its kernel and loss.

    Options of groups come first, then single settings; those that tell nothing new are left out.
    """
    known: list[Values] = [identity[:2] for identity in identities]
    words = [_unrecorded_words(record) for record in records]
    for values, word in _distinctions(records, identities, keys):
        finer = [(*old, value) for old, value in zip(known, values, strict=True)]
        if len(set(finer)) > len(set(known)):
            known = finer
            for parts, value in zip(words, values, strict=True):
                parts.extend([word(value)] if value is not None else [])
    return [", ".join(parts) for parts in words]


def _distinctions(
    records: Sequence[RunRecord], identities: Sequence[Values], keys: Sequence[str]
) -> Iterator[tuple[Values, Callable[[Hashable], str]]]:
    for group in CHOICES:
        chosen: Values = tuple(record.choices.get(group) for record in records)
        several = len(set(chosen) - {None}) > 1
        if several and len(set(zip(identities, chosen, strict=True))) == len(set(identities)):
            yield chosen, lambda value: readable(str(value), {})
    for key in sorted(keys, key=lambda key: (key.count("."), key)):
        name = key.removesuffix("._target_").rpartition(".")[2]
        values = tuple(_plain((record.settings or {}).get(key)) for record in records)
        yield values, partial(_named, name)


def _unrecorded_words(record: RunRecord) -> list[str]:
    """Return what the folder of a run without settings says beyond its choices."""
    if record.settings is not None:
        return []
    words = _nameless(record) or ""
    for choice in named_choices(record.folder.name).values():
        words = re.sub(rf"(^|[-_,])([\w.]+=)?{re.escape(choice)}($|[-_,])", r"\1", words)
    return [words.strip("-_,") or "settings not recorded"]


def _named(name: str, value: Hashable) -> str:
    return f"{name} {_written(value)}"


def _written(value: Hashable) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).rpartition(".")[2] if "." in str(value) else str(value)


def _configuration(records: Sequence[RunRecord], group: list[int], variant: str) -> Configuration:
    first = records[group[0]]
    kernel, loss = kernel_of(first), loss_of(first)
    rates = sorted({records[i].rate for i in group}, key=lambda rate: (rate is None, rate or 0))
    parts = (readable(kernel, KERNELS), readable(loss, LOSSES), *([variant] if variant else []))
    counts = [records[i].parameters["total"] for i in group if "total" in records[i].parameters]
    return Configuration(
        id=re.sub(r"[^a-z0-9.]+", "-", "-".join((kernel, loss, variant)).lower()).strip("-"),
        label=" · ".join(parts),
        kernel=kernel,
        loss=loss,
        variant=variant,
        runs={rate: tuple(i for i in group if records[i].rate == rate) for rate in rates},
        parameters=counts[0] if counts else None,
    )


def _order(configuration: Configuration) -> tuple[Any, ...]:
    kernel, loss = rank_of(configuration.kernel, KERNELS), rank_of(configuration.loss, LOSSES)
    return (kernel, loss, configuration.variant)


def _with_unique_ids(configurations: list[Configuration]) -> list[Configuration]:
    seen: dict[str, int] = {}
    unique = []
    for configuration in configurations:
        count = seen[configuration.id] = seen.get(configuration.id, 0) + 1
        if count > 1:
            configuration = replace(
                configuration,
                id=f"{configuration.id}-{count}",
                label=f"{configuration.label} ({count})",
            )
        unique.append(configuration)
    return unique
