import io
from pathlib import Path

import pytest
from rich.console import Console

from gaborseg.runs import RunState, Stage
from gaborseg.sweeps import Cell
from gaborseg.sweeps.display import (
    LiveDisplay,
    PlainDisplay,
    cells_table,
    counts,
    display_on,
    print_summary,
    seconds_to_come,
    summary_line,
)
from gaborseg.sweeps.sweep import Entry


def entry(name: str, stage: Stage, **state: object) -> Entry:
    return Entry(Cell(name, Path("sweep") / name, ()), RunState(stage, **state))  # type: ignore[arg-type]


def text(*shown: object, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    for one in shown:
        console.print(one)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_row_says_how_far_a_run_is() -> None:
    row = entry("kernel=gabor", Stage.RUNNING, epoch=12, epochs=300, dice=0.8123, seconds_left=700)
    assert text(cells_table([row], 5)).splitlines()[-1].split() == [
        "kernel=gabor", "running", "12/300", "81.2", "12", "min",
    ]  # fmt: skip


def test_a_long_table_keeps_what_needs_attention() -> None:
    rows = [entry(f"done{i}", Stage.DONE) for i in range(200)]
    rows += [entry("bad", Stage.FAILED), entry("busy", Stage.RUNNING)]
    shown = text(cells_table(rows, 4))
    assert "bad" in shown
    assert "busy" in shown
    assert "... and 198 more" in shown
    assert len(shown.splitlines()) == 6


def test_counts_name_the_stages_that_there_are() -> None:
    rows = [entry("a", Stage.DONE), entry("b", Stage.DONE), entry("c", Stage.FAILED)]
    assert counts(rows) == "2 of 3 done, 1 failed"


def test_the_time_to_come_is_that_of_the_waiting_and_the_running() -> None:
    done = entry("a", Stage.DONE)
    done.seconds = 100
    running = entry("b", Stage.RUNNING, seconds_left=40)
    waiting = [entry("c", Stage.WAITING), entry("d", Stage.WAITING)]
    assert seconds_to_come([done, running, *waiting]) == pytest.approx(240)
    assert seconds_to_come(waiting) is None
    assert summary_line([done], 7) == "1 of 1 done; 7 s so far"


def test_a_cell_that_has_all_its_epochs_is_testing() -> None:
    running = entry("a", Stage.RUNNING, epoch=40, epochs=40, dice=0.8, seconds_left=0.0)
    assert text(cells_table([running], 5)).splitlines()[-1].split()[-1] == "testing"
    assert summary_line([running], 7) == "0 of 1 done, 1 running; 7 s so far"


def test_a_test_takes_as_long_as_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    done = entry("a", Stage.DONE)
    done.seconds = 100
    testing = entry("b", Stage.RUNNING, seconds_left=0.0)
    testing.began = 920.0
    assert seconds_to_come([done, testing]) == pytest.approx(20)
    testing.began = 890.0
    assert seconds_to_come([done, testing]) is None


def test_a_file_gets_lines_and_a_terminal_a_table() -> None:
    assert isinstance(display_on(Console(file=io.StringIO())), PlainDisplay)
    assert isinstance(display_on(Console(file=io.StringIO(), force_terminal=True)), LiveDisplay)


def test_a_failed_cell_shows_its_lines_on_both() -> None:
    for terminal in (False, True):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
        display = display_on(console)
        with display:
            display.update([entry("a", Stage.RUNNING)])
            display.event(entry("a", Stage.FAILED), "failed", ["Traceback", "[bold]: no memory"])
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        assert "[bold]: no memory" in shown


def test_the_summary_says_what_failed_and_how_to_go_on() -> None:
    console = Console(file=io.StringIO(), width=200)
    rows = [entry("a", Stage.DONE, dice=0.5), entry("b", Stage.FAILED, message="no memory")]
    print_summary(console, rows, Path("outputs/sweeps/x"))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "failed: sweep/b: no memory" in lines
    assert "1 of 2 done, 1 failed, in outputs/sweeps/x" in lines
    assert lines[-1].startswith("The same command goes on")


@pytest.mark.parametrize("stage", [Stage.DONE, Stage.FAILED])
def test_the_summary_says_what_to_do_when_all_are_done(stage: Stage) -> None:
    console = Console(file=io.StringIO(), width=200)
    print_summary(console, [entry("a", stage)], Path("x"), "Report with: it")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("Report with: it" in shown) == (stage == Stage.DONE)


def test_the_summary_says_which_runs_are_of_other_code() -> None:
    console = Console(file=io.StringIO(), width=200)
    cell = Cell("a", Path("a"), (), remark="torch: 1 -> 2")
    print_summary(console, [Entry(cell, RunState(Stage.DONE))], Path("x"))
    assert "1 done with other code (torch: 1 -> 2), among them a" in console.file.getvalue()  # type: ignore[attr-defined]


def test_names_of_runs_are_shown_letter_by_letter() -> None:
    row = entry("a[/red]\x1b[2J:smile:", Stage.FAILED, message="\x1b]0;x\x07")
    console = Console(file=io.StringIO(), width=100)
    print_summary(console, [row], Path("sweep"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.count(r"a[/red]\x1b[2J:smile:") == 2
    assert r"\x1b]0;x\x07" in shown
    assert "\x1b" not in shown
