"""Names of folders and runs: readable, and decided by the choices alone."""

import hashlib
import math
import re
from collections.abc import Sequence

_MAX_FOLDER_NAME = 180
_LONGEST_RUN_NAME = 120  # characters, so that trackers show it as it is
_RUNS = "outputs/runs"
_LONGEST_SOURCE = 40  # characters: of a trained network in the name of a run that starts from it
_LONGEST_SEARCH = 100  # characters: of the name of a folder that holds others with long names
_SEARCH = re.compile(r"\+*hydra/sweeper=(?!local$|basic$).*")
_SWEEP = re.compile(r"\+*sweeps=(.*)")
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_UNNAMED = re.compile(r"(objective|pause_after)=")
"""Settings that never decide a result, and that a run may be gone on with at other values."""


def folder_name(overrides: Sequence[str], longest: int = _MAX_FOLDER_NAME) -> str:
    """Return a folder name that depends on the choices alone, whatever their order.

    A rate has one name however it is written, and a sweep's own name is that of the folder above.
    What only says how far a run goes, or what a search looks at, has no part in it.

    Example:
        >>> folder_name(["loss=pcc", "kernel=gabor", "optimizer.lr=1e-3", "+sweeps=smoke"])
        'kernel=gabor,loss=pcc,optimizer.lr=10^-3'
        >>> folder_name([])
        'default'
    """
    unnamed = (_SWEEP, _UNNAMED)
    named = [text for text in overrides if not any(known.match(text) for known in unnamed)]
    choices = map(readable, named)
    return _bounded(_legal(",".join(sorted(choices))) or "default", longest)


def run_name(parts: Sequence[str], longest: int = _LONGEST_RUN_NAME) -> str:
    """Return the name of a run for trackers and screens, which says its choices in their order.

    Example:
        >>> run_name(["mixed", "pcc", "lr0.003", "split0", "network.dropout=0.1", "seed=1"])
        'mixed-pcc-lr0.003-split0-network.dropout=0.1-seed=1'
        >>> run_name(["kernel.levels=[a, b, c]"], longest=20)
        'kernel.leve-6b149b9b'
    """
    return _bounded(_legal("-".join(map(readable, parts))), longest)


def source_name(path: str) -> str:
    """Return what trained weights are called by: where they are below ``outputs/runs``, in short.

    Example:
        >>> source_name("/home/me/outputs/runs/default"), source_name("outputs/sweeps/a/seed=1")
        ('default', 'sweeps/a/seed=1')
    """
    below = re.sub(r"^(.*/)?outputs/(runs/)?(?=.)", "", path.rstrip("/"))
    return _bounded(below, _LONGEST_SOURCE)


def short_rate(rate: float) -> str:
    """Return a learning rate in few characters that are those of no other rate.

    Example:
        >>> [short_rate(rate) for rate in (3e-3, 10**-3.5, 0.000316, 0.0012345)]
        ['0.003', '10^-3.5', '0.000316', '0.0012345']
    """
    text = f"{rate:.3g}"
    return text if float(text) == rate else _shortest(rate)


def _legal(name: str) -> str:
    return re.sub(r"[^\w=,.+^~-]", "_", name)


def _bounded(name: str, longest: int) -> str:
    """Return a name, cut if it is too long; what is cut off still tells it from others."""
    if len(name) <= longest:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: longest - 9]}-{digest}"


def sweep_folder(overrides: Sequence[str], of_hydra: Sequence[str] = ()) -> str:
    """Return where the runs of a command go: a file of ``sweeps/`` has a folder of its own.

    So has a search, whose results a later one of other settings must not replace.

    Args:
        overrides: Those of the command.
        of_hydra: Those of Hydra's own settings.

    Example:
        >>> sweep_folder(["+sweeps=smoke", "seed=1"]), sweep_folder(["seed=1"])
        ('outputs/sweeps/smoke', 'outputs/runs')
        >>> sweep_folder(["optimizer.lr=interval(0.1,1)"], ["hydra/sweeper=optuna"])
        'outputs/searches/optimizer.lr=interval_0.1,1_'
    """
    names = [match[1] for override in overrides if (match := _SWEEP.fullmatch(override))]
    if names:
        return f"outputs/sweeps/{names[-1]}"
    searches = any(map(_SEARCH.fullmatch, of_hydra))
    return f"outputs/searches/{folder_name(overrides, _LONGEST_SEARCH)}" if searches else _RUNS


def readable(override: str) -> str:
    r"""Return ``key=value`` with a number that is not whole in its one form.

    A reference is the name of what it refers to, also with the backslashes that Hydra puts in.

    Example:
        >>> [readable(f"lr={text}") for text in ("1e-2", "0.00031622776601683794", "3e-3", "2")]
        ['lr=10^-2', 'lr=10^-3.5', 'lr=0.003', 'lr=2']
        >>> readable("metrics.mine.num_classes=${network.num_classes}")
        'metrics.mine.num_classes=network.num_classes'
        >>> readable(r"optimizer.lr=\${powers\:-3\,-2\}")
        'optimizer.lr=powers:-3,-2'
    """
    if override.startswith("~"):  # in a sweep, Hydra writes ~key as ~key= or ~key=null
        return re.sub("=(null)?$", "", override)
    if "${" in override:
        override = _REFERENCE.sub(r"\1", re.sub(r"\\(.)", r"\1", override))
    key, equals, value = override.partition("=")
    if re.fullmatch(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?", value):
        value = _shortest(float(value))
    return f"{key}{equals}{value}"


def _shortest(number: float) -> str:
    exponent = round(2 * math.log10(number)) / 2 if number > 0 else 0.0
    if abs(exponent) > 1 and math.isclose(number, 10**exponent, rel_tol=1e-12):
        return f"10^{exponent:g}"
    return repr(number)
