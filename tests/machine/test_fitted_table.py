import pytest
from rich.console import Console

from gaborseg.machine import FittedTable


def shown(width: int, name: str = "left lung", caption: str | None = None) -> list[str]:
    table = FittedTable("organ", spare=["n", "std"], caption=caption, box=None, pad_edge=False)
    for heading in ("mean", "std", "n"):
        table.add_column(heading, justify="right")
    table.add_row(name, "0.91", "0.12", "13")
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_table_that_fits_is_whole() -> None:
    assert shown(26) == ["organ      mean   std   n", "left lung  0.91  0.12  13"]


@pytest.mark.parametrize(
    ("width", "columns"), [(24, ["organ", "mean", "std"]), (18, ["organ", "mean"])]
)
def test_the_least_important_columns_go_first(width: int, columns: list[str]) -> None:
    heading, row, *caption = shown(width)
    assert heading.split() == columns
    assert row.startswith("left lung  0.91")
    gone = ", ".join(["n", "std"][: 4 - len(columns)])
    assert " ".join(" ".join(caption).split()) == f"Left out for want of room: {gone}"


def test_a_caption_stays_above_what_is_left_out() -> None:
    assert [line.strip() for line in shown(24, caption="of 13")][2] == "of 13"


def test_a_name_is_wrapped_and_never_cut() -> None:
    lines = shown(12, name="left_ventricle")
    assert "".join(line[:6].strip() for line in lines[1:4]) == "left_ventricle"
