"""The paper's five networks and their numbers of trained parameters, by kind of layer.

    python -m src.parameters

Every row is a configuration that ``src.train`` takes; more overrides apply to all rows.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.table import Table

from src.command import build, folder_name, mistakes_as_user_errors, run_command, show
from src.networks import KINDS, parameter_counts

CONFIGURATIONS = Path(__file__).parents[1] / "conf"
PAPER = {  # overrides: millions of parameters that the paper prints
    ("kernel=conventional",): 4.99,
    ("kernel=gabor",): 1.53,
    ("kernel=mixed",): 1.60,
    ("kernel=conventional", "kernel.conventional.kernel_size=5"): 22.84,
    ("kernel=mixed", "kernel.conventional.kernel_size=5"): 1.95,
}


def main() -> None:
    """Print the table."""
    rows = {overrides: count([*overrides, *sys.argv[1:]]) for overrides in PAPER}
    kinds = [kind for kind in KINDS if any(counts[kind] for counts in rows.values())]
    table = Table("configuration", title="Trained parameters for 1 image channel and 20 classes")
    for heading in (*kinds, "total", "paper"):
        table.add_column(heading, justify="right")
    for overrides, counts in rows.items():
        cells = [f"{counts[kind]:,}" for kind in kinds] + [f"{sum(counts.values()):,}"]
        table.add_row("\n  ".join(overrides), *cells, f"{PAPER[overrides]:.2f} M")
    show(table)


def count(overrides: Sequence[str]) -> dict[str, int]:
    """Return the parameter counts of the network of a configuration."""
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    with initialize_config_dir(str(CONFIGURATIONS), version_base="1.3"):
        network = compose("config", list(overrides)).network
    with mistakes_as_user_errors():
        return parameter_counts(build(network, in_channels=1, num_classes=20))


if __name__ == "__main__":
    run_command(main)
