import sys

import pytest
from rich.console import Console

from gaborseg.commands import parameters
from gaborseg.commands.parameters import (
    BASELINES,
    MONAI_BASELINES,
    PAPER,
    count,
    main,
    shown,
    table_of,
)


def test_every_row_has_the_papers_number_or_is_a_baseline() -> None:
    assert shown(()) == [*PAPER, *BASELINES, *MONAI_BASELINES]


def test_overrides_that_baselines_may_not_know_leave_them_out() -> None:
    assert shown(("network.dropout=0.1",)) == [*PAPER]


def test_without_monai_what_it_builds_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "find_spec", lambda name: None)
    assert shown(()) == [*PAPER, *BASELINES]


@pytest.mark.parametrize(
    ("overrides", "total"),
    [
        (["network=nnunet"], 5_601_524),
        (["network=nnunet", "network.size=[64,64,64]"], 16_544_244),
        (["network=nnunet", "data=atlas_128", "data.patch_size=48"], 5_601_524),
    ],
)
def test_the_unet_is_planned_for_the_size_of_what_it_is_trained_on(
    overrides: list[str], total: int
) -> None:
    assert sum(count(overrides).values()) == total


def test_a_baseline_has_a_row_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["parameters", "network=nnunet"])
    main()
    told = capsys.readouterr().out
    assert told.count("network=nnunet") == 1
    assert "5,601,524" in told
    assert "kernel=" not in told


def test_eighty_columns_hold_every_configuration_and_its_total() -> None:
    kinds = ("gabor", "conventional", "pointwise", "normalisation")
    counts = dict.fromkeys(PAPER, dict.fromkeys(kinds, 5_000_000))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table_of(counts, ()))
    lines = [line.strip() for line in capture.get().splitlines()]
    for row in PAPER:
        assert all(any(line.startswith(word) for line in lines) for word in row)
    assert lines[1].split() == ["configuration", "gabor", "conventional", "total", "paper"]
    assert sum("20,000,000" in line for line in lines) == len(PAPER)
    assert lines[-1] == "Left out for want of room: normalisation, pointwise"
