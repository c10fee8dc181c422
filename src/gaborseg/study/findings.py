"""The main findings in sentences that claim no more than the statistics allow."""

import math
from dataclasses import dataclass

from gaborseg.study.comparisons import ALPHA, NETWORKS, NOT_SHOWN, SHOWN, TOO_FEW
from gaborseg.study.names import AVERAGE, KERNELS, readable, readable_rate
from gaborseg.study.results import Results

_BOTH = f"p < {ALPHA} over subjects and over trainings"


@dataclass(frozen=True)
class _Finding:
    """A number or name that stands out.

    Attributes:
        title: What it is.
        value: The answer, in a few words.
        note: How sure that is, and what it rests on.
    """

    title: str
    value: str
    note: str


def findings(results: Results) -> list[_Finding]:
    """Return what stands out: the best configuration, its smaller equals, the most robust one."""
    found = [_highest(results)]
    for finding in (_smallest(results), _robust(results)):
        if finding is not None:
            found.append(finding)
    return found


def _means(results: Results) -> dict[str, float]:
    means = {c.id: float(results.summaries["dice"][c.id].mean[-1]) for c in results.shown}
    return {key: value for key, value in means.items() if not math.isnan(value)}


def _highest(results: Results) -> _Finding:
    means = _means(results)
    if not means:
        return _Finding("Highest mean test Dice", "-", "No structure of any subject has a Dice.")
    best = max(means, key=means.__getitem__)
    labels = {c.id: c.label for c in results.shown}
    std = float(results.summaries["dice"][best].std[-1])
    spread = "" if math.isnan(std) else f" ± {100 * std:.1f}"
    count = results.replicates["dice"][best].count
    note = f"{labels[best]}; {count}; learning rate {readable_rate(results.rates[best])}."
    return _Finding(
        "Highest mean test Dice",
        f"{100 * means[best]:.1f}{spread} %",
        f"{note} {_how_sure(results, best)}".strip(),
    )


def _how_sure(results: Results, best: str) -> str:
    """Return what the comparisons with all other configurations allow to say."""
    others = {c.label: _verdict(results, best, c.id) for c in results.shown if c.id != best}
    verdicts = set(others.values())
    if not others:
        return ""
    if verdicts == {SHOWN}:
        return f"It is shown to be better than every other configuration ({_BOTH})."
    if verdicts == {TOO_FEW}:
        return "There are too few subjects to show that it is better than any other."
    if verdicts <= {SHOWN, NETWORKS}:
        return (
            "These trained networks are better than those of every other configuration "
            f"(p < {ALPHA} over subjects). That other trainings would repeat this (p < {ALPHA} "
            "over trainings) is not shown for all."
        )
    open_ones = [label for label, verdict in others.items() if verdict not in (SHOWN, NETWORKS)]
    return f"Not shown to be better than {_listed(open_ones)} (that takes {_BOTH})."


def _verdict(results: Results, best: str, other: str) -> str:
    """Return what their comparison can claim for the best; nothing if it has none or is behind."""
    for row in results.comparisons["dice"]:
        if row.structure == AVERAGE and {row.first, row.second} == {best, other}:
            ahead = row.difference > 0 if row.first == best else row.difference < 0
            return row.verdict if ahead or row.verdict == TOO_FEW else NOT_SHOWN
    return NOT_SHOWN


def _listed(names: list[str], limit: int = 3) -> str:
    shown = names[:limit] + ([f"{len(names) - limit} more"] if len(names) > limit else [])
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _smallest(results: Results) -> _Finding | None:
    """Return the smallest network within one Dice point of the best, if it is another one.

    None if the size of the best is not recorded.
    """
    means = _means(results)
    sizes = {c.id: c.parameters for c in results.shown if c.parameters and c.id in means}
    if len(set(sizes.values())) < 2:
        return None
    best = max(means, key=means.__getitem__)
    if best not in sizes:
        return None
    near = [key for key in sizes if means[key] >= means[best] - 0.01]
    small = min(near, key=lambda key: (sizes[key], -means[key]))
    if sizes[small] == sizes[best]:
        return None
    configuration = next(c for c in results.shown if c.id == small)
    gap = 100 * (means[best] - means[small])
    return _Finding(
        "Smallest network within one point",
        f"{sizes[small] / 1e6:.2f} M parameters",
        f"{configuration.label}: {100 * means[small]:.1f} %, {gap:.1f} points below the highest "
        f"({readable(_kernel(results, best), KERNELS)}, {sizes[best] / 1e6:.2f} M).",
    )


def _kernel(results: Results, identifier: str) -> str:
    return next(c.kernel for c in results.shown if c.id == identifier)


def _robust(results: Results) -> _Finding | None:
    """Return the configuration with the highest mean Dice over all tested learning rates."""
    bases = {found.basis for found in results.robustness.values()}
    if len(results.robustness) < 2 or len(bases) > 1:
        return None
    key = max(results.robustness, key=lambda key: results.robustness[key].area)
    found = results.robustness[key]
    label = next(c.label for c in results.study.configurations if c.id == key)
    wider = "at least " if found.open_end else ""
    return _Finding(
        "Most robust to the learning rate",
        label,
        f"{100 * found.area:.1f} % on average over the tested range; within one point of its best "
        f"over {wider}{found.width:.1f} decades.",
    )
