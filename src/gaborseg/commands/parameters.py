"""Count the trained parameters of the paper's five networks and of the baselines, by kind.

    python -m src.parameters
    python -m src.parameters network=hnoseg_xs
    python -m src.parameters network.channels=[8,16,32,64,128]

Each row is a configuration of ``python -m src.train``; further overrides apply to all rows. The
baselines appear only without overrides, which may not apply to them, and those that MONAI builds if
it is installed; ``network=hnoseg_xs``, ``vnet`` or ``nnunet`` shows one of them alone.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from omegaconf import OmegaConf

from gaborseg.interface import (
    build,
    compose_config,
    mistakes_as_user_errors,
    run_command,
    show,
    takes_kernels,
)
from gaborseg.machine import FittedTable, large_imports

_Overrides = tuple[str, ...]

_SPARE = ("other", "normalisation", "pointwise", "conventional")
"""Kinds of parameters that a narrow screen leaves out, in this order."""

PAPER: dict[_Overrides, str] = {  # millions of parameters that the paper prints
    ("kernel=conventional",): "4.99",
    ("kernel=gabor",): "1.53",
    ("kernel=mixed",): "1.60",
    ("kernel=conventional", "kernel.conventional.kernel_size=5"): "22.84",
    ("kernel=mixed", "kernel.conventional.kernel_size=5"): "1.95",
}
BASELINES: dict[_Overrides, str] = {
    ("network=hnoseg_xs",): "",  # its own paper: 28,248 with 4 channels and 4 classes
}
MONAI_BASELINES: dict[_Overrides, str] = {
    ("network=vnet",): "71",  # of its authors' V-Net; MONAI's differs
    ("network=nnunet",): "",
    ("network=nnunet", "data.source.size=64"): "",
    ("network=nnunet", "data=atlas_128"): "",
}


def main() -> None:
    """Print the table."""
    more = tuple(sys.argv[1:])
    show(table_of({overrides: count([*overrides, *more]) for overrides in shown(more)}, more))


def table_of(rows: Mapping[_Overrides, Mapping[str, int]], more: _Overrides) -> FittedTable:
    """Return the table of parameter counts by kind; a narrow screen leaves some kinds out.

    Args:
        rows: The counts of each row's network.
        more: What a row without overrides of its own is called.
    """
    from gaborseg.networks import kinds_in

    kinds = kinds_in(rows.values())
    table = FittedTable(
        "configuration",
        spare=_SPARE,
        title="Trained parameters for 1 image channel and 20 classes",
        box=None,
        pad_edge=False,
    )
    for heading in (*kinds, "total", "paper"):
        table.add_column(heading, justify="right")
    for overrides, counts in rows.items():
        printed = (PAPER | BASELINES | MONAI_BASELINES).get(overrides)
        cells = [f"{counts.get(kind, 0):,}" for kind in kinds] + [f"{sum(counts.values()):,}"]
        table.add_row("\n ".join(overrides or more), *cells, f"{printed} M" if printed else "-")
    return table


def shown(more: _Overrides) -> list[_Overrides]:
    """Return the overrides of each row, to which more are added."""
    if not takes_kernels(compose_config(more)):
        return [()]
    if more:
        return [*PAPER]
    return [*PAPER, *BASELINES, *(MONAI_BASELINES if find_spec("monai") else ())]


def count(overrides: Sequence[str]) -> dict[str, int]:
    """Return the parameter counts of the network of a configuration."""
    with large_imports():
        from gaborseg.networks import parameter_counts

    config = compose_config(overrides)
    facts: dict[str, Any] = {"in_channels": 1, "num_classes": 20}
    if "size" in config.network and config.network.size is None:
        side = config.data.get("patch_size") or OmegaConf.select(config, "data.source.size")
        facts["size"] = [side] * 3
    with mistakes_as_user_errors():
        return parameter_counts(build(config.network, **facts))


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(main)


if __name__ == "__main__":
    run()
