"""A W&B workspace that compares the runs of a project.

    python -m src.dashboard project=gaborseg entity=NAME

Sections: curves by loss, robustness to the learning rate, structures, parameters and cost, and the
figures and tables that ``python -m src.report wandb=auto`` computed.
"""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from src.analysis.paper import paper_sizes
from src.command import (
    UserError,
    errors_in_log,
    mistakes_as_user_errors,
    quote_values,
    run_command,
)
from src.runs import write_atomically
from src.training.wandb_logger import has_key

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

log = logging.getLogger(__name__)

EXTRA = "the dashboard needs its extra: pip install 'gaborseg[dashboard]'"
KEY = "a dashboard needs a W&B key: run `wandb login`, or write it to a file with output=FILE.json"
EPOCH, KERNEL, LOSS, RATE = "epoch", "choices.kernel", "choices.loss", "optimizer.lr"
FIGURES = ("learning_rate", "structures", "differences", "subject", "training_curves")
TABLES = ("structures_dice", "robustness", "comparisons_dice", "cost")


@hydra.main(version_base="1.3", config_path="../conf", config_name="dashboard")
def main(config: DictConfig) -> None:
    """Build the workspace, and save it on W&B or write it to a file."""
    with errors_in_log(), mistakes_as_user_errors():
        save(config)


def save(config: DictConfig) -> None:
    """Save the workspace on W&B, or write it to a file.

    Raises:
        UserError: If W&B's workspaces are not installed, or there is no key for W&B.
        FileExistsError: If the file exists.
    """
    output = None if config.output is None else Path(config.output)
    if output is None and not has_key():
        raise UserError(KEY)
    if output is not None and output.exists():
        raise FileExistsError(f"output must be a new file, got {output}")
    entity = config.entity or ("entity" if output else own_entity())
    structures = list(config.structures or paper_sizes())
    workspace = build_workspace(entity, config.project, config.name, structures)
    if output is None:
        workspace.save()
        log.info(f"Open {workspace.url}")
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(output) as file:
            json.dump(specification(workspace), file, indent=2)
        log.info(f"Written to {output}")


def own_entity() -> str:
    """Return the W&B user or team that runs go to by default."""
    import wandb

    return wandb.Api().default_entity or ""


def build_workspace(entity: str, project: str, name: str, structures: Sequence[str]) -> "Workspace":
    """Return the workspace; nothing is sent.

    Raises:
        UserError: If W&B's workspaces are not installed.
    """
    try:
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise UserError(EXTRA) from error
    sections = {
        "Curves by loss": curves(),
        "Learning rate": learning_rate(),
        "Structures": curves_of_structures(structures),
        "Parameters and cost": cost(),
        "Report": report(),
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            ws.Section(name=title, panels=panels, is_open=True)
            for title, panels in sections.items()
        ],
        runset_settings=ws.RunsetSettings(groupby=[ws.Config(KERNEL), ws.Config(LOSS)]),
    )


def specification(workspace: "Workspace") -> dict[str, Any]:
    """Return what is sent to W&B, as plain values."""
    return workspace._to_model().spec.model_dump(by_alias=True, exclude_none=True, mode="json")


def curves() -> list[Any]:
    """Return curves over epochs, mean and standard deviation of the runs of each loss."""
    titles = {
        "val/dice": "validation Dice",
        "val/loss": "validation loss",
        "train/loss": "training loss",
        "lr": "learning rate",
    }
    return [curve(key, title) for key, title in titles.items()]


def curve(key: str, title: str) -> Any:
    """Return a metric over epochs, grouped by loss."""
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(
        title=title,
        x=EPOCH,
        y=[key],
        groupby=wr.Config(LOSS),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
    )


def learning_rate() -> list[Any]:
    """Return test Dice against the learning rate, and all choices side by side."""
    import wandb_workspaces.reports.v2 as wr

    dice = wr.SummaryMetric("test/dice")
    axes: list[Any] = [*(wr.Config(key) for key in (KERNEL, LOSS, RATE, "split")), dice]
    columns = [wr.ParallelCoordinatesPlotColumn(metric=axis) for axis in axes]
    return [
        wr.ScatterPlot(title="test Dice by rate", x=wr.Config(RATE), y=dice, log_x=True),
        wr.ParallelCoordinatesPlot(title="kernel, loss, rate, split", columns=columns),
        wr.MediaBrowser(title="Fig. 3", media_keys=["figures/learning_rate"]),
    ]


def curves_of_structures(structures: Sequence[str]) -> list[Any]:
    """Return validation Dice over epochs of every structure."""
    return [curve(f"val/dice/{name}", name.replace("_", " ")) for name in structures]


def cost() -> list[Any]:
    """Return test Dice against parameters and time, and the cost of each kernel."""
    import wandb_workspaces.reports.v2 as wr

    dice = wr.SummaryMetric("test/dice")
    seconds, memory = "cost/seconds_per_step", "cost/peak_memory_bytes"
    total = wr.Config("parameters.total")
    bars = {"seconds a step": seconds, "peak memory [bytes]": memory}
    return [
        wr.ScatterPlot(title="test Dice by parameters", x=total, y=dice, log_x=True),
        wr.ScatterPlot(title="test Dice by seconds a step", x=wr.SummaryMetric(seconds), y=dice),
        *(
            wr.BarPlot(title=title, metrics=[wr.SummaryMetric(key)], groupby=wr.Config(KERNEL))
            for title, key in bars.items()
        ),
    ]


def report() -> list[Any]:
    """Return the figures and tables of the report's run."""
    import wandb_workspaces.reports.v2 as wr

    figures = [wr.MediaBrowser(title=f, media_keys=[f"figures/{f}"]) for f in FIGURES]
    return [*figures, *(wr.WeavePanelSummaryTable(table_name=f"tables/{name}") for name in TABLES)]


if __name__ == "__main__":
    sys.argv[1:] = quote_values(sys.argv[1:], ("output",))
    run_command(main)
