"""From run folders to tables, statistics, figures and one page.

    python -m src.report runs=outputs/runs output=outputs/report

Works on one run, on a sweep that is half done (and says what is missing), and on hundreds of runs.
The same runs give the same files, byte by byte.
"""

import io
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import hydra
import rich
from matplotlib.figure import Figure
from omegaconf import DictConfig, ListConfig
from rich.progress import track
from torch._subclasses.fake_tensor import FakeTensorMode

from src.analysis import (
    REPORT_MARK,
    Gallery,
    Picture,
    Results,
    RunRecord,
    Study,
    Table,
    all_charts,
    all_tables,
    chart_look,
    compute,
    find_run_folders,
    make_page,
    make_study,
    read_runs,
)
from src.command import errors_in_log, mistakes_as_user_errors, quote_values, run_command
from src.inference import read_settings
from src.networks import BASELINES, VNetDS, parameter_counts
from src.report_pictures import Shown, choose_subject, kernel_drawings, subject_drawing
from src.runs import write_atomically
from src.runs.folder import TECHNICAL
from src.sweeps import read_plan
from src.sweeps.plan import PLAN
from src.trained import ModelError, build_network
from src.wandb_summary import NONE, check_mode, log_summary

log = logging.getLogger(__name__)

MAKER = "python -m src.report"
"""What a report's mark says made it: files of that name are common."""

Item = TypeVar("Item")
Levels = dict[str, dict[str, int]]


@hydra.main(version_base="1.3", config_path="../conf", config_name="report")
def main(config: DictConfig) -> None:
    """Make the report that is asked for."""
    with errors_in_log():
        report(config)


def report(config: DictConfig) -> None:
    """Read the runs, compute, and write the report.

    Raises:
        UserError: If there are no runs, a setting makes no sense, or the output folder holds
            something else than a report.
    """
    with mistakes_as_user_errors():
        check_mode(config.wandb)
        folder = ReportFolder(Path(config.output))
        roots = [Path(root) for root in as_list(config.runs)]
        study = read_study(roots, as_list(config.ignore))
        results = compute(study, config.rate, levels_of(study))
        subject = choose_subject(results, config.subject)
    folder.begin()
    tables = all_tables(results)
    images, galleries = write_figures(folder, results, subject, tables)
    for table in tables:
        folder.write(f"tables/{table.name}.csv", table.csv())
        folder.write(f"tables/{table.name}.md", table.markdown())
        folder.write(f"tables/{table.name}.tex", table.latex())
    title = config.title or f"Report on {', '.join(root.resolve().name for root in roots)}"
    folder.write("index.html", make_page(results, tables, galleries, title))
    folder.finish()
    if config.wandb != NONE:
        where = {"project": config.project, "entity": config.entity, "mode": config.wandb}
        log_summary(folder.path, results, tables, images, title=title, **where)
    tell(results, folder.path)


def read_study(roots: list[Path], ignored: list[str]) -> Study:
    """Return all runs below the folders, with a progress bar."""
    folders = list(find_run_folders(roots))
    if not folders:
        raise ValueError(f"runs must hold run folders, got none in {', '.join(map(str, roots))}")
    records, problems = read_runs(progress(folders, "reading runs"))
    return make_study(records, problems, [*TECHNICAL, *ignored], planned_runs(roots))


def planned_runs(roots: list[Path]) -> Iterator[Path]:
    """Yield the folders of all runs of the sweeps in or below the folders, begun or not."""
    for root in roots:
        for plan in sorted(root.rglob(PLAN)):
            yield from read_plan(plan.parent)


def write_figures(
    folder: "ReportFolder", results: Results, subject: Shown | None, tables: list[Table]
) -> tuple[dict[str, bytes], list[Gallery]]:
    """Write every figure as SVG and PNG.

    The numbers of the kernel gallery are added to the tables.

    Returns:
        All PNG files by name, and those that the page shows as they are.
    """
    with chart_look():
        drawing = subject_drawing(subject, results) if subject else None
        drawings = [drawing] if drawing else []
        for pictures, table in kernel_drawings(results):
            drawings += pictures
            tables.append(table)
        figures = {**dict(all_charts(results)), **{d.name: d.figure for d in drawings}}
        images: dict[str, bytes] = {}
        for name, figure in progress(list(figures.items()), "drawing figures"):
            images[name] = as_png(figure)
            folder.write(f"figures/{name}.png", images[name])
            folder.write(f"figures/{name}.svg", as_svg(figure))
    sections = dict.fromkeys(drawing.section for drawing in drawings)
    return images, [
        Gallery(
            id=section.lower(),
            title=section,
            pictures=tuple(
                Picture(images[d.name], d.text) for d in drawings if d.section == section
            ),
        )
        for section in sections
    ]


def as_svg(figure: Figure) -> bytes:
    """Return a figure that was laid out as SVG, without the date."""
    file = io.BytesIO()
    figure.set_layout_engine("none")
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def as_png(figure: Figure) -> bytes:
    """Return a figure as PNG, and lay it out."""
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


class ReportFolder:
    """The folder of a report: files are added whole, and those of an earlier report replaced.

    Args:
        path: New, empty, or the folder of an earlier report.

    Raises:
        FileExistsError: If the folder holds anything else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mark = path / REPORT_MARK
        self.files: list[str] = []
        if path.exists() and not path.is_dir():
            raise FileExistsError(f"output must be a folder, got the file {path}")
        self.earlier = files_of(self.mark)
        if path.exists() and any(path.iterdir()) and self.earlier is None:
            raise FileExistsError(
                f"output must be new, empty or an earlier report, got {path} with other files"
            )

    def begin(self) -> None:
        """Mark the folder as that of a report, so that one that breaks off is no obstacle."""
        self._mark(self.earlier or [])

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file, whole or not at all."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        self.files.append(name)

    def finish(self) -> None:
        """Remove files of an earlier report that this one does not have, and note those it has."""
        for name in set(self.earlier or []) - set(self.files):
            (self.path / name).unlink(missing_ok=True)
        self._mark(sorted(self.files))

    def _mark(self, files: list[str]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        with write_atomically(self.mark) as file:
            file.write(json.dumps({"made_by": MAKER, "files": files}, indent=1) + "\n")


def files_of(mark: Path) -> list[str] | None:
    """Return the files of the report that a mark is of, None if it is no mark of ours."""
    try:
        record = json.loads(mark.read_text(encoding="utf-8"))
        ours = record["made_by"] == MAKER
    except (OSError, ValueError, KeyError, TypeError):
        return None
    inside = (name for name in record.get("files", []) if ".." not in Path(name).parts)
    return [name for name in inside if not Path(name).is_absolute()] if ours else None


def levels_of(study: Study) -> dict[str, Levels]:
    """Return trained parameters by configuration id, level and kind, of our own networks."""
    known: dict[str, Levels] = {}
    levels = {}
    for configuration in study.configurations:
        run = study.runs[next(iter(configuration.runs.values()))[0]]
        try:
            node = network_node(run)
            text = json.dumps(node, default=str)
            if node and text not in known:
                known[text] = count_levels(node)
        except ModelError as error:  # of an older version of the code, or of somebody else's
            log.warning(f"note: {run.folder}: parameters by level are left out: {error}")
        else:
            levels[configuration.id] = known.get(text, {})
    return levels


def network_node(run: RunRecord) -> dict[str, Any]:
    """Return how the network of a run is built, nothing if that is not recorded.

    Raises:
        ModelError: If its ``config.yaml`` cannot be used.
    """
    path = run.folder / "config.yaml"
    network = read_settings(path).get("network") if path.exists() else None
    if not isinstance(network, dict):
        return {}
    classes = {"num_classes": len(run.structures) + 1}
    return network | classes | {"in_channels": len(run.data.get("channels") or ["image"])}


def count_levels(node: Mapping[str, Any]) -> Levels:
    """Return trained parameters by level and kind; nothing for networks that have no levels.

    Raises:
        ModelError: If it names anything but our own networks and layers, or cannot be built.
    """
    if node.get("_target_") in BASELINES:  # which may need what is not installed here
        return {}
    with FakeTensorMode():  # shapes are enough
        network = build_network(node)
    if not isinstance(network, VNetDS):
        return {}
    blocks = {f"level {i}": [block] for i, block in enumerate(network.encoder)}
    for i, block in enumerate(network.decoder):
        blocks[f"level {i}"].append(block)
    blocks["right leg"] = [network.right_leg]
    return {level: add_up(map(parameter_counts, parts)) for level, parts in blocks.items()}


def add_up(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of counts, key by key."""
    total: dict[str, int] = {}
    for part in counts:
        for key, value in part.items():
            total[key] = total.get(key, 0) + value
    return total


def as_list(value: Any) -> list[str]:
    """Return a setting that may be one value or several as a list."""
    return [str(item) for item in value] if isinstance(value, ListConfig) else [str(value)]


def progress(items: list[Item], what: str) -> Iterator[Item]:
    """Yield items with a progress bar, if anybody is looking."""
    quiet = not rich.get_console().is_terminal
    yield from track(items, description=what, disable=quiet, transient=True)


def tell(results: Results, output: Path) -> None:
    """Say what was read, what is wrong, and where the report is."""
    study = results.study
    for problem in (*study.problems, *results.notes):
        log.warning(f"note: {problem}")
    waiting = len(study.unfinished) + len(study.missing)
    if waiting:
        log.info(f"{waiting} runs are not finished; the page lists them.")
    log.info(f"{len(study.runs)} finished runs of {len(study.configurations)} configurations.")
    log.info(f"Open {output / 'index.html'}")


if __name__ == "__main__":
    sys.argv[1:] = quote_values(sys.argv[1:], ("runs", "output", "title"))
    run_command(main)
