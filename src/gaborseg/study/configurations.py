"""Which runs repeat each other: configurations, told apart by every setting that decides a result.

Splits and seeds are the replicates of a configuration; the learning rate is an axis of its own.
"""

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gaborseg.study.names import (
    KERNELS,
    LOSSES,
    START,
    option_in_words,
    rank_of,
    readable,
    setting_in_words,
    starts_in_words,
)
from gaborseg.study.run_folders import RunRecord, flatten

_MESSAGES = (  # settings of what a run tells, not of what it does
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
)
_PLACES = ("data.root",)
_REPLICATES = ("seed", "data.seed", "split", "data.split", "data.split_file")
_TAKEN_FROM_THE_DATA = ("network.in_channels", "network.num_classes", "decision.num_classes")
_ELSEWHERE = ("optimizer.lr", "kernel.name")
_UNNAMED = (*_REPLICATES, "lr", "optimizer.lr")
_IGNORED = (*_MESSAGES, *_PLACES, *_REPLICATES, *_TAKEN_FROM_THE_DATA, *_ELSEWHERE)
_GROUP = "set"  # value of a group of settings
_CHOICES = (
    "decision",
    "network",
    "activation",
    "rates",
    "augmentation",
    "scheduler",
    "optimizer",
    "data",
)

_Values = tuple[Hashable, ...]
_Told = dict[str, Hashable]
_Distinction = tuple[str, _Values, Callable[[Hashable], str]]
"""A setting, its value in each run, and how a value is said in words."""


@dataclass(frozen=True)
class Configuration:
    """All settings of a run but learning rate, split and seed.

    Attributes:
        id: Short and unique, for files and keys.
        label: For the reader.
        kernel: Name of the kernel option; of the network's, if it has kernels of its own.
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
    told = [_told(record, ignored) for record in records]
    keys = _varying(records, told)
    identities = [_identity(*pair, keys) for pair in zip(records, told, strict=True)]
    variants = _variants(records, told, identities, keys)
    groups: dict[_Values, list[int]] = {}
    for position, identity in enumerate(identities):
        groups.setdefault(identity, []).append(position)
    found = [_configuration(records, group, variants[group[0]]) for group in groups.values()]
    return _with_unique_ids(sorted(found, key=_order))


def partly_recorded(
    records: Sequence[RunRecord],
    configurations: Iterable[Configuration],
    ignored: Sequence[str] = (),
) -> list[str]:
    """Return the settings that only some runs of a configuration record.

    Args:
        records: Finished runs.
        configurations: What they are runs of.
        ignored: As they were found with.
    """
    found: set[str] = set()
    for configuration in configurations:
        positions = [i for runs in configuration.runs.values() for i in runs]
        facts = [_facts(records[i], ignored).items() for i in positions]
        keys = [{key for key, value in own if value is not None} for own in facts]
        found |= keys[0].union(*keys) - keys[0].intersection(*keys)
    return sorted(found)


def telling_settings(
    records: Sequence[RunRecord], ignored: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Return for each run kernel, loss, decision, rate, split, seed, and what else tells it apart.

    Of a run without settings, all choices that its name tells are returned.

    Args:
        records: Finished runs.
        ignored: More settings, or groups of them, whose differences do not count.
    """
    told = [_told(record, ignored) for record in records]
    keys = _varying(records, told)
    identities = [_identity(*pair, keys) for pair in zip(records, told, strict=True)]
    names = ("kernel", "network", "loss", "decision")
    settings = [_named_settings(record, names) for record in records]
    for name, values, _ in _news(records, told, identities, keys):
        for own, value in zip(settings, values, strict=True):
            if name and value is not None:
                own.setdefault(name, str(value))
    return [own | _replicate(record) for own, record in zip(settings, records, strict=True)]


def _named_settings(record: RunRecord, names: Sequence[str]) -> dict[str, str]:
    choices = record.choices
    if record.settings is None:
        others = sorted(choices.keys() - {*names, *_REPLICATES, "optimizer.lr", "lr"})
        return {name: choices[name] for name in (*names, *others) if name in choices}
    chosen = {"kernel": chosen_kernel(record), "loss": loss_of(record)}
    if not chosen["kernel"]:
        chosen["network"] = choices.get("network")
    chosen["decision"] = choices.get("decision")
    return {name: str(value) for name, value in chosen.items() if value}


def _replicate(record: RunRecord) -> dict[str, str]:
    """Return rate, split and seed of a run, as far as they are recorded."""
    told = record.choices if record.settings is None else {"split": "", "seed": ""}
    rate = {} if record.rate is None else {"optimizer.lr": repr(record.rate)}
    values = {"split": record.split, "seed": str(record.seed)}
    return rate | {name: value for name, value in values.items() if name in told}


def kernel_of(record: RunRecord) -> str:
    """Return the name of the kernel option of a run, or of a network with kernels of its own."""
    return str(chosen_kernel(record) or record.choices.get("network") or "unknown")


def chosen_kernel(record: RunRecord) -> str | None:
    """Return the name of the kernel option of a run, None if its network takes none."""
    return record.choices.get("kernel") or (record.settings or {}).get("kernel.name")


def loss_of(record: RunRecord) -> str:
    """Return the name of the loss option of a run."""
    target = str((record.settings or {}).get("loss._target_", "unknown"))
    return str(record.choices.get("loss") or target.rpartition(".")[2])


def _facts(record: RunRecord, ignored: Sequence[str]) -> dict[str, Any]:
    """Return the settings of a run that count, and how its data were prepared."""
    size, preparation = (record.data.get(key) for key in ("size", "preparation"))
    told = {"size": size[0] if len(set(size)) == 1 else str(size)} if size else {}
    prepared = told | ({"preparation": preparation} if preparation else {})
    facts = (record.settings or {}) | flatten(prepared, "data.")
    without = tuple(f"{group}." for group in (*_IGNORED, *ignored))
    return {k: v for k, v in facts.items() if v != {} and not f"{k}.".startswith(without)}


def _told(record: RunRecord, ignored: Sequence[str]) -> _Told:
    """Return all that may tell a run from others.

    A group of settings has a value too, which is neither null nor that of a longer list.
    """
    facts = _facts(record, ignored)
    members: dict[str, set[str]] = {}
    for key in facts:
        while "." in key:
            key, _, last = key.rpartition(".")
            members.setdefault(key, set()).add(last)
    groups = {
        key: f"{len(names)} items" if all(map(str.isdigit, names)) else _GROUP
        for key, names in members.items()
    }
    return groups | {key: _plain(value) for key, value in facts.items()}


def _identity(record: RunRecord, told: _Told, keys: Sequence[str]) -> _Values:
    """Return what runs that repeat each other have in common."""
    return (kernel_of(record), loss_of(record), _nameless(record), *map(told.get, keys))


def _varying(records: Sequence[RunRecord], told: Sequence[_Told]) -> list[str]:
    """Return the settings that tell runs apart.

    A setting that a run lacks agrees with any value, for an older version of the code may not have
    recorded it. It is a value of its own if the same version has recorded it for the same kernel
    and loss.
    """
    values: dict[str, set[Hashable]] = {}
    recorded: dict[_Values, set[str]] = {}
    for record, own in zip(records, told, strict=True):
        recorded.setdefault(_code(record), set()).update(own)
        for key, value in own.items():
            values.setdefault(key, set()).add(value)
    for record, own in zip(records, told, strict=True):
        if record.settings is not None:
            for key in recorded[_code(record)] - own.keys():
                values[key].add(None)
    return sorted(key for key, found in values.items() if len(found) > 1)


def _code(record: RunRecord) -> _Values:
    return (kernel_of(record), loss_of(record), record.versions.get("git_commit"))


def _nameless(record: RunRecord) -> str | None:
    """Return what tells a run without settings from others: its name, without split and seed."""
    if record.settings is not None:
        return None
    if "=" in record.folder.name and (told := record.choices):
        return ",".join(f"{key}={told[key]}" for key in sorted(told) if key not in _UNNAMED)
    replicate = r"(^|[-_,])(split=?|seed=?|lr|optimizer\.lr=)[0-9.e^-]*[0-9]"
    return re.sub(replicate, "", record.folder.name).strip("-_,")


def _plain(value: Any) -> Hashable:
    return str(value) if isinstance(value, list | dict) else value


def _variants(
    records: Sequence[RunRecord],
    told: Sequence[_Told],
    identities: Sequence[_Values],
    keys: Sequence[str],
) -> list[str]:
    """Return for each run, in words, what tells it from others of its kernel and loss.

    Options of groups come first, then single settings, then that there is a group at all; those
    that tell nothing new are left out.
    """
    some_recorded = any(record.settings is not None for record in records)
    otherwise = "settings not recorded" if some_recorded else ""
    own = _own_columns(records)
    words = [_unrecorded_words(record, otherwise, own) for record in records]
    for _, values, word in _news(records, told, identities, keys):
        for parts, value in zip(words, values, strict=True):
            parts.extend([word(value)] if value is not None else [])
    return [", ".join(filter(None, parts)) for parts in words]


def _news(
    records: Sequence[RunRecord],
    told: Sequence[_Told],
    identities: Sequence[_Values],
    keys: Sequence[str],
) -> Iterator[_Distinction]:
    """Yield the distinctions of which each tells runs apart that kernel, loss and others do not."""
    known: list[_Values] = [identity[:2] for identity in identities]
    for distinction in _distinctions(records, told, identities, keys):
        finer = [(*old, value) for old, value in zip(known, distinction[1], strict=True)]
        if len(set(finer)) > len(set(known)):
            known = finer
            yield distinction


def _distinctions(
    records: Sequence[RunRecord],
    told: Sequence[_Told],
    identities: Sequence[_Values],
    keys: Sequence[str],
) -> Iterator[_Distinction]:
    for group in _CHOICES:
        chosen: _Values = tuple(record.choices.get(group) for record in records)
        several = len(set(chosen) - {None}) > 1
        if several and len(set(zip(identities, chosen, strict=True))) == len(set(identities)):
            yield group, chosen, partial(option_in_words, group)
    names: _Values = tuple(map(_nameless, records))
    yield "", names, lambda _: ""  # runs without settings have words already
    yield START, tuple(starts_in_words([record.settings or {} for record in records])), str
    groups = {key for own in told for key, value in own.items() if value == _GROUP}
    for key in sorted(keys, key=lambda k: (k in groups, k.count("."), k)):
        yield key, tuple(own.get(key) for own in told), partial(setting_in_words, key)


def _own_columns(records: Sequence[RunRecord]) -> set[str]:
    """Return the columns of somebody's own, such as ``gamma``, that tell tidy runs apart."""
    told = [record.choices for record in records if record.settings is None]
    known = {"kernel", "loss", "lr", "monitor", "monitor_mode", *_CHOICES, *_REPLICATES}
    keys = {key for choices in told for key in choices} - known
    return {key for key in keys if len({choices.get(key) for choices in told}) > 1}


def _unrecorded_words(record: RunRecord, otherwise: str, own: Collection[str]) -> list[str]:
    """Return what the folder of a run without settings says beyond its choices, if anything."""
    if record.settings is not None:
        return []
    words, settings = _nameless(record) or "", []
    for key, choice in record.choices.items():
        words = re.sub(rf"(^|[-_,])([\w.]+=)?{re.escape(choice)}($|[-_,])", r"\1", words)
        if key == START:
            settings.append(choice)
        elif ("." in key or key in own) and key not in _ELSEWHERE:
            settings.append(f"{key.rpartition('.')[2]} {choice}")
    return [words.strip("-_,") or ", ".join(settings) or otherwise]


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
