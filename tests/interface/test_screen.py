import logging
from pathlib import Path

import pytest
from rich.table import Table

from gaborseg.interface import ConsoleHandler, LogFile, show
from warm import run_command

NAME = "a[/red]\x1b[2J:smile:\udcff\u202e"
SHOWN = r"a[/red]\x1b[2J:smile:\udcff\u202e"


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("name", logging.INFO, "", 0, message, None, None)


def test_a_log_on_disk_is_added_to(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("before\n")
    handler = LogFile(str(tmp_path / "train.log"))
    handler.emit(record("grüße"))
    handler.close()
    assert (tmp_path / "train.log").read_text(encoding="utf-8") == "before\ngrüße\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train.log", ".lock"])
def test_a_run_whose_log_or_lock_is_a_link_is_refused_in_one_line(
    tmp_path: Path, name: str
) -> None:
    thesis, folder = tmp_path / "thesis.txt", tmp_path / "run"
    thesis.write_text("mine\n")
    folder.mkdir()
    (folder / name).symlink_to(thesis)
    words = ["experiment=smoke", "logger=csv", f"hydra.run.dir={folder}"]
    done = run_command("src.train", *words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert f"{folder / name} is a link, and nothing is written through it: remove it" in line
    assert thesis.read_text() == "mine\n"


def test_names_in_a_table_are_shown_letter_by_letter(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(NAME, title=NAME, caption=NAME)
    table.add_row(NAME)
    show(table)
    out = capsys.readouterr().out
    assert out.count(SHOWN) == 4
    assert "\x1b" not in out


def test_names_in_log_lines_are_shown_letter_by_letter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for handler in (ConsoleHandler(), LogFile(str(tmp_path / "log"))):
        handler.emit(record(f"first {NAME}\nsecond"))
    assert capsys.readouterr().err == f"first {SHOWN}\nsecond\n"
    assert (tmp_path / "log").read_text(encoding="utf-8") == f"first {SHOWN}\nsecond\n"
