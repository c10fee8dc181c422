"""Where run folders lie below the folders that a user names."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from gaborseg.runs.files import RunFile
from gaborseg.runs.tidy import is_tidy

REPORT_MARK = "report.json"
_NO_RUN = {REPORT_MARK, RunFile.EVALUATION}  # folders of reports and of evaluations


def find_run_folders(roots: Iterable[Path]) -> Iterator[Path]:
    """Yield all run folders and tidy tables of runs in or below the given folders, each once.

    Args:
        roots: Folders, or tidy tables themselves; each is searched in the order of its paths.

    Raises:
        FileNotFoundError: If one of them does not exist.
    """
    seen = set()
    for root in roots:
        if not root.is_dir() and not is_tidy(root):
            raise FileNotFoundError(
                f"runs must be folders that exist, or tidy tables of runs, got {root}"
            )
        for path in _below(root) if root.is_dir() else [root]:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _below(root: Path) -> Iterator[Path]:
    """Yield what is in a folder, and then the folders that cannot be looked into.

    Links are followed once: in a loop of them, paths without number lead to the same folder.
    """
    shut: list[Path] = []
    seen: set[str] = set()

    def note(error: OSError) -> None:
        shut.append(Path(error.filename))

    for path, folders, files in os.walk(root, onerror=note, followlinks=True):
        names, real = set(files), os.path.realpath(path)
        if names & _NO_RUN or real in seen:
            folders.clear()
        elif _is_run_folder(names):
            folders.clear()
            yield Path(path)
        else:
            yield from filter(is_tidy, (Path(path) / name for name in sorted(names)))
        seen.add(real)
        folders[:] = sorted(set(folders) - {"wandb"} - {f for f in folders if f[0] == "."})
    yield from shut


def _is_run_folder(files: set[str]) -> bool:
    if RunFile.SETTINGS in files:
        begun = {RunFile.RECORD, RunFile.CURVES, RunFile.LOG, RunFile.SCORES}
        return bool(files & begun)
    return bool(files & {RunFile.RECORD, RunFile.SCORES, RunFile.OUTCOME})
