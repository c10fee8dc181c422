import csv
import io
import math

import pytest

from gaborseg.reporting.tables import Column, Spread, Table, best_cells, latex, written

TABLE = Table(
    name="t",
    title="A title with 50 %",
    columns=(Column("name_1"), Column("Dice [%]", 100, 1), Column("p"), Column("count")),
    rows=(("a|b", Spread(0.81234, 0.0156), 0.000123, 1_000), ("c", Spread(0.5, math.nan), None, 2)),
    best=frozenset({(0, 1)}),
    note="A note.",
)


def test_csv_has_full_precision_and_two_columns_for_a_spread() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.csv())))
    assert rows[0] == {
        "name_1": "a|b",
        "Dice [%] mean": "81.234",
        "Dice [%] std": "1.56",
        "p": "0.000123",
        "count": "1000",
    }
    assert (rows[1]["Dice [%] std"], rows[1]["p"]) == ("", "")


def test_markdown_is_aligned_marks_the_best_and_escapes_bars() -> None:
    lines = TABLE.markdown().splitlines()
    assert lines[0] == "**A title with 50 %**"
    assert lines[2].split(" | ")[1].strip() == "Dice [%]"
    assert "| a\\|b" in lines[4]
    assert "**81.2 ± 1.6**" in lines[4]
    assert len({len(line) for line in lines[2:6]}) == 1
    assert lines[-1] == "A note."


def test_latex_is_escaped_balanced_and_bold_where_best() -> None:
    text = TABLE.latex()
    assert r"\textbf{81.2 $\pm$ 1.6}" in text
    assert r"A title with 50 \%" in text
    assert r"name\_1" in text
    assert text.count(r"\begin") == text.count(r"\end") == 2
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in rows} == {3}


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (0.0, Column("d", 100, 1), "0.0"),
        (-0.0001, Column("d", 100, 1), "0.0"),
        (-0.05, Column("d", 100, 1), "-5.0"),
        (math.nan, Column("d"), "-"),
        (1_598_900, Column("n"), "1,598,900"),
        (0.0001234, Column("p"), "0.000123"),
        ("text", Column("t"), "text"),
        (None, Column("t"), "-"),
    ],
)
def test_values_are_written_for_the_reader(
    value: float | str | None, column: Column, text: str
) -> None:
    assert written(value, column) == text


def test_the_best_is_decided_by_the_shown_digits() -> None:
    shown = Column("d", 100, 1)
    assert best_cells([[0.8123, 0.8121, 0.80]], [1, 2, 3], shown, 1) == {(0, 1), (0, 2)}
    assert best_cells([[0.8123, 0.8121, 0.80]], [1, 2, 3], shown, -1) == {(0, 3)}
    assert best_cells([[0.8, math.nan]], [1, 2], shown, 1) == frozenset()
    assert best_cells([[0.8, 0.7]], [1, 2], shown, 0) == frozenset()
    assert best_cells([[0.8001, 0.8, math.nan]], [1, 2, 3], shown, 1) == frozenset()


def test_every_special_character_of_latex_is_escaped() -> None:
    assert latex(r"\&%$#_{}~^") == (
        r"\textbackslash{}\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}"
    )


def test_names_are_no_formulas_in_csv_and_nothing_but_text_in_markdown() -> None:
    name = "=<b>![x](http://y)\x1b[2J\n# z"
    table = Table("t", name, (Column(name), Column("d")), ((name, -0.5),), note=name)
    heading, row = csv.reader(io.StringIO(table.csv()))
    assert heading == [f"'{name}", "d"]
    assert row == [f"'{name}", "-0.5"]
    title, _, head, _, body, _, note = table.markdown().splitlines()
    text = r"=\<b>![x\](http://y)\x1b[2J # z"
    assert (title, note) == (f"**{text}**", text)
    assert head.split(" | ")[0] == f"| {text}"
    assert body == f"| {text} | -0.5 |"
