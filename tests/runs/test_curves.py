from pathlib import Path

from gaborseg.runs import read_curves, write_curves


def test_a_row_that_is_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_curves(path, {0: {"a": 0.25, "b": 1}, 1: {"a": 0.5, "b": 2}})
    path.write_bytes(path.read_bytes()[: -len("5,2\r\n")])
    assert read_curves(path) == {0: {"epoch": "0", "a": "0.25", "b": "1"}}
