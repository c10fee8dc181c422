"""The work of `dashboard`: a W&B workspace that compares the runs of a project."""

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gaborseg.interface import UserError, as_list
from gaborseg.machine import write_atomically
from gaborseg.study import paper_sizes
from gaborseg.training import has_key

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

log = logging.getLogger(__name__)


_EXTRA = "the dashboard needs its extra: pip install -e '.[dashboard]' in a clone"


_KEY = "a dashboard needs a W&B key: run `wandb login`, or write it to a file with output=FILE.json"


_PATIENCE = 20  # seconds


_EPOCH, _KERNEL, _LOSS, _RATE = "epoch", "choices.kernel", "choices.loss", "optimizer.lr"


_FIGURES = ("learning_rate", "structures", "differences", "subject", "training_curves")


_TABLES = ("structures_dice", "robustness", "comparisons_dice", "cost")


def save_workspace(settings: SimpleNamespace) -> None:
    """Save the workspace on W&B, or write it to a file.

    Raises:
        UserError: If W&B's workspaces are not installed, or there is no key for W&B.
        FileExistsError: If the file exists.
    """
    output = None if settings.output is None else Path(settings.output).expanduser()
    if output is None and not has_key():
        raise UserError(_KEY)
    if output is not None and output.exists():
        raise FileExistsError(f"output must be a new file, got {output}")
    structures = as_list(settings.structures) or list(paper_sizes())
    about = settings.project, settings.name, structures
    if output is None:
        with _with_wandb():
            workspace = build_workspace(settings.entity or own_entity(), *about)
            workspace.save()
            log.info(f"Open {workspace.url}")
    else:
        workspace = build_workspace(settings.entity or "entity", *about)
        with write_atomically(output) as file:
            json.dump(_specification(workspace), file, indent=2)
        log.info(f"Written to {output}")


@contextlib.contextmanager
def _with_wandb() -> Iterator[None]:
    """Have every request to W&B end in time, and its errors be a user's.

    Raises:
        UserError: W&B cannot be reached, or refuses the key.
    """
    import wandb

    os.environ.setdefault("WANDB_HTTP_TIMEOUT", str(_PATIENCE))
    log.info(f"W&B: waiting for {wandb.setup().settings.base_url}, {_PATIENCE} seconds at most")
    try:
        yield
    except (wandb.Error, ValueError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        remedy = "to have it in a file: output=FILE.json"
        raise UserError(f"W&B cannot be used: {reason}; {remedy}") from error


def own_entity() -> str:
    """Return the W&B user or team that runs go to by default."""
    import wandb

    return wandb.Api(timeout=_PATIENCE).default_entity or ""


def build_workspace(entity: str, project: str, name: str, structures: Sequence[str]) -> "Workspace":
    """Return the workspace; nothing is sent.

    Raises:
        UserError: If W&B's workspaces are not installed.
    """
    try:
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise UserError(_EXTRA) from error
    sections = {
        "Curves by loss": curves(),
        "Learning rate": learning_rate(),
        "Structures": _curves_of_structures(structures),
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
        runset_settings=ws.RunsetSettings(groupby=[ws.Config(_KERNEL), ws.Config(_LOSS)]),
    )


def _specification(workspace: "Workspace") -> dict[str, Any]:
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
    return [_curve(key, title) for key, title in titles.items()]


def _curve(key: str, title: str) -> Any:
    """Return a metric over epochs, grouped by loss."""
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(
        title=title,
        x=_EPOCH,
        y=[key],
        groupby=wr.Config(_LOSS),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
    )


def learning_rate() -> list[Any]:
    """Return test Dice against the learning rate, and all choices side by side."""
    import wandb_workspaces.reports.v2 as wr

    dice = wr.SummaryMetric("test/dice")
    axes: list[Any] = [*(wr.Config(key) for key in (_KERNEL, _LOSS, _RATE, "split")), dice]
    columns = [wr.ParallelCoordinatesPlotColumn(metric=axis) for axis in axes]
    return [
        wr.ScatterPlot(title="test Dice by rate", x=wr.Config(_RATE), y=dice, log_x=True),
        wr.ParallelCoordinatesPlot(title="kernel, loss, rate, split", columns=columns),
        wr.MediaBrowser(title="Fig. 3", media_keys=["figures/learning_rate"]),
    ]


def _curves_of_structures(structures: Sequence[str]) -> list[Any]:
    """Return validation Dice over epochs of every structure."""
    return [_curve(f"val/dice/{name}", name.replace("_", " ")) for name in structures]


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
            wr.BarPlot(title=title, metrics=[wr.SummaryMetric(key)], groupby=wr.Config(_KERNEL))
            for title, key in bars.items()
        ),
    ]


def report() -> list[Any]:
    """Return the figures and tables of the report's run."""
    import wandb_workspaces.reports.v2 as wr

    figures = [wr.MediaBrowser(title=f, media_keys=[f"figures/{f}"]) for f in _FIGURES]
    return [*figures, *(wr.WeavePanelSummaryTable(table_name=f"tables/{name}") for name in _TABLES)]
