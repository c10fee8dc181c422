from pathlib import Path

from gaborseg.sweeps import Cell, read_plan, write_plan


def test_a_plan_is_read_back_also_where_the_folder_was_moved(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    cells = [Cell(name, folder / name, ("true",)) for name in ("b", "a/c")]
    write_plan(folder, cells, ["src.train", "-m"])
    moved = folder.rename(tmp_path / "there")
    assert read_plan(moved) == {moved / "b": "b", moved / "a/c": "a/c"}


def test_without_a_plan_there_is_none(tmp_path: Path) -> None:
    assert read_plan(tmp_path) == {}
    (tmp_path / "sweep.json").write_text("{")
    assert read_plan(tmp_path) == {}
