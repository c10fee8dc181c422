"""From scans of any size, spacing and orientation to a data set that can be trained on.

    python -m src.prepare input=scans output=prepared labels=freesurfer
    python -m src.train data=folder data.root=prepared

Every file is checked before anything is written, and all problems are shown in one table.
"""

import logging
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig
from rich.table import Table

from src.command import (
    UserError,
    errors_in_log,
    mistakes_as_user_errors,
    quote_values,
    run_command,
    show,
)
from src.data.folder import case_of
from src.data.preparation import (
    Problem,
    Recipe,
    Survey,
    check_choices,
    check_output,
    contact_sheets,
    discover,
    inspect_all,
    lost_structures,
    read_mapping,
    take_stock,
    write_description,
    write_problems,
    write_subjects,
)

log = logging.getLogger(__name__)

PATHS = ("input", "output", "labels", "problems")
EXCLUDED = "excluded.csv"


@hydra.main(version_base="1.3", config_path="../conf", config_name="prepare")
def main(config: DictConfig) -> None:
    """Prepare as configured."""
    with errors_in_log(), mistakes_as_user_errors():
        try:
            prepare(config)
        except KeyboardInterrupt:
            sys.exit("interrupted: the same command goes on with the scans that are not written")


def prepare(config: DictConfig) -> None:
    """Find, inspect and write all scans.

    Raises:
        UserError: There are problems that are not to be skipped; nothing was written.
        DataError: A setting, the input or the output cannot be used.
    """
    check_choices(config.size, config.forms)
    source, output = (Path(path).expanduser().absolute() for path in (config.input, config.output))
    check_output(output, {"size": config.size, "forms": config.forms})
    mapping = None if config.labels is None else read_mapping(str(config.labels))
    found = discover(source, list(config.channels), config.label, output)
    log.info(f"Found {len(found.cases)} scans with {' and '.join(found.channels)} and labels.")
    inspections = inspect_all(found.cases, output, config.forms, config.processes)
    survey = take_stock(found, inspections, mapping)
    problems = [problem.within(source) for problem in survey.problems]
    if problems:
        tell(problems, config)
    if problems and not config.skip_faulty:
        raise UserError(
            f"{len(problems)} problems, see the table; nothing was written. Mend them, or go on "
            "without those scans: skip_faulty=true"
        )
    if survey.mapping is None or not survey.cases:
        raise UserError("no scan is left that can be used; nothing was written")
    recipe = Recipe(config.size, found.channels, survey.mapping, config.forms)
    check_output(output, recipe.as_json())
    write(config, output, recipe, survey, problems)


def tell(problems: Sequence[Problem], config: DictConfig) -> None:
    """Show all problems in a table, and write it down where that is wanted."""
    table = Table(title="Problems")
    for heading in ("file", "problem", "what to do"):
        table.add_column(heading, overflow="fold")
    for problem in problems:
        table.add_row(problem.file, problem.problem, problem.remedy)
    show(table)
    if config.problems:
        write_problems(Path(config.problems).expanduser(), problems)


def write(
    config: DictConfig,
    output: Path,
    recipe: Recipe,
    survey: Survey,
    problems: Sequence[Problem],
) -> None:
    """Write the data set and say where everything is.

    Raises:
        UserError: A file has become unusable since it was inspected.
        DataError: The output cannot be written to.
    """
    failed = write_subjects(output, recipe, survey.cases, survey.inspections, config.processes)
    if failed:
        tell(failed, config)
        raise UserError("files have changed since they were checked; start the command again")
    cases = [
        case_of(output, case.subject, recipe.channels, case.participant) for case in survey.cases
    ]
    sheets = contact_sheets(output, cases, config.processes)
    if problems:
        write_problems(output / EXCLUDED, problems)
    about = {"name": config.name or Path(config.input).stem or "scans"}
    about |= {"credit": config.credit, "licence": config.licence}
    write_description(output, recipe, survey.cases, survey.inspections, about)
    for name, subjects in lost_structures(output, survey.cases).items():
        log.warning(
            f"note: {name} is too small for {recipe.size}³ voxels in {len(subjects)} scans, "
            f"{subjects[0]} first: a larger size= keeps it"
        )
    for note in survey.notes():
        log.warning(f"note: {note}")
    log.info(
        f"Wrote {len(cases)} scans of {len({case.participant for case in cases})} people, "
        f"{recipe.size}³ voxels, {len(recipe.mapping.names)} structures, to {output}"
    )
    log.info(f"Look at {sheets[0]} before you train.")
    log.info(f"Train with: python -m src.train data=folder {setting('data.root', config.output)}")


def setting(key: str, path: str) -> str:
    """A setting as it is typed in a shell, quoted where Hydra or the shell need it.

    >>> setting("data.root", "out/a")
    'data.root=out/a'
    """
    plain = f"{key}={path}"
    if re.fullmatch(r"[\w./-]+", path):
        return plain
    return shlex.quote(*quote_values([plain], [key]))


if __name__ == "__main__":
    sys.argv[1:] = quote_values(sys.argv[1:], PATHS)
    run_command(main)
