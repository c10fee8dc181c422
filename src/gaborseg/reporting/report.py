"""The work of `report`: read the runs, compute, and write the report."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from gaborseg.interface import as_list, mistakes_as_user_errors
from gaborseg.machine import progress
from gaborseg.reporting.figures import write_figures
from gaborseg.reporting.folder import ReportFolder
from gaborseg.reporting.page.page import make_page
from gaborseg.reporting.parameters import levels_of
from gaborseg.reporting.pictures import choose_subject
from gaborseg.reporting.report_tables import all_tables
from gaborseg.reporting.run_tables import edge_notes
from gaborseg.reporting.subjects.confusion import confusion_tables, confusions
from gaborseg.reporting.subjects.groups import group_tables
from gaborseg.reporting.subjects.repeatability import repeatability_tables
from gaborseg.reporting.subjects.viewer import check_viewer, told_size, viewer_subjects
from gaborseg.reporting.wandb_summary import NONE, check_mode, log_summary
from gaborseg.runs import TECHNICAL, find_run_folders, locked, tidy_texts
from gaborseg.study import (
    Results,
    Study,
    compute,
    make_study,
    read_runs,
    tidy_runs,
)
from gaborseg.sweeps import PLAN, read_plan

log = logging.getLogger(__name__)


def make_report(settings: SimpleNamespace) -> None:
    """Read the runs, compute, and write the report.

    Raises:
        UserError: If there are no runs, a setting makes no sense, or the output folder holds
            something else than a report.
    """
    with contextlib.ExitStack() as held:
        with mistakes_as_user_errors():
            check_mode(settings.wandb)
            check_viewer(settings.viewer)
            folder = ReportFolder(Path(settings.output).expanduser())
            held.enter_context(locked(folder.path))
            roots = [Path(root).expanduser() for root in as_list(settings.runs)]
            ignored = [*TECHNICAL, *as_list(settings.ignore)]
            study = _read_study(roots, ignored)
            results = compute(study, settings.rate, levels_of(study, settings.trust))
            subject = choose_subject(results, settings.subject)
        folder.begin()
        tables = all_tables(results)
        images, galleries = write_figures(folder, results, subject, tables, settings.trust)
        confused = confusions(results)
        tables += [*group_tables(results), *repeatability_tables(results)]
        tables += confusion_tables(results, confused)
        book = viewer_subjects(results, settings.viewer, settings.subject)
        for table in tables:
            folder.write(f"tables/{table.name}.csv", table.csv())
            folder.write(f"tables/{table.name}.md", table.markdown())
            folder.write(f"tables/{table.name}.tex", table.latex())
        for name, text in tidy_texts(tidy_runs(study, ignored), "study").items():
            folder.write(name, text)
        title = settings.title or f"Report on {', '.join(root.resolve().name for root in roots)}"
        page = make_page(
            results,
            tables,
            galleries,
            title,
            confused=confused,
            book=book,
            figures=list(images),
        )
        folder.write("index.html", page)
        folder.finish()
        if settings.wandb != NONE:
            where = {"project": settings.project, "entity": settings.entity, "mode": settings.wandb}
            log_summary(folder.path, results, tables, images, title=title, **where)
        tell(results, folder.path, f"; in its viewer: {told_size(book)}" if book else "")


def _read_study(roots: list[Path], ignored: list[str]) -> Study:
    """Return all runs below the folders, with a progress bar."""
    folders = list(find_run_folders(roots))
    if not folders:
        raise ValueError(f"runs must hold run folders, got none in {', '.join(map(str, roots))}")
    records, problems = read_runs(progress(folders, "Reading runs"))
    return make_study(records, problems, ignored, _planned_runs(roots))


def _planned_runs(roots: list[Path]) -> Iterator[Path]:
    """Yield the folders of all runs of the sweeps in or below the folders, begun or not."""
    for root in roots:
        for plan in sorted(root.rglob(PLAN)) if root.is_dir() else ():
            yield from read_plan(plan.parent)


def tell(results: Results, output: Path, more: str = "") -> None:
    """Say what was read, what is wrong, where the report is, and more about its page."""
    study = results.study
    for problem in (*study.problems, *results.notes):
        log.warning(f"note: {problem}")
    waiting = len(study.unfinished) + len(study.missing)
    if waiting:
        log.info(f"{waiting} runs are not finished; the page lists them.")
    runs, configurations = len(study.runs), len(study.configurations)
    log.info(f"Finished runs: {runs}, of different configurations: {configurations}.")
    for line in edge_notes(results):
        log.info(line)
    log.info(f"Open {output / 'index.html'}{more}")
