import os
import re
from pathlib import Path

import pytest

from config import PROJECT
from gaborseg.machine import (
    open_unlinked,
    refuse_links_to,
    remove_partials,
    whole_file,
    write_text,
)
from gaborseg.machine.files import PARTIAL

_WRITES = re.compile(r"""\bopen\([^)]*["'][wax][bt+]*["']|\.write_(text|bytes)\(|\.touch\(""")


@pytest.fixture
def thesis(tmp_path: Path) -> Path:
    path = tmp_path / "thesis.txt"
    path.write_text("mine\n")
    return path


def test_a_link_gives_way_to_a_whole_file(tmp_path: Path, thesis: Path) -> None:
    (tmp_path / "link").symlink_to(thesis)
    write_text(tmp_path / "link", "new")
    assert (thesis.read_text(), (tmp_path / "link").read_text()) == ("mine\n", "new")
    assert not (tmp_path / "link").is_symlink()


def test_a_link_in_the_place_of_the_half_written_file_gives_way_too(
    tmp_path: Path, thesis: Path
) -> None:
    (tmp_path / f"{PARTIAL}{os.getpid()}-a.png").symlink_to(thesis)
    with whole_file(tmp_path / "a.png") as partial:
        partial.write_bytes(b"picture")
    assert (thesis.read_text(), (tmp_path / "a.png").read_bytes()) == ("mine\n", b"picture")


@pytest.mark.parametrize("letter", ["a", "\N{HANGUL SYLLABLE HAN}"])
def test_a_name_may_have_as_many_bytes_as_the_system_lets(tmp_path: Path, letter: str) -> None:
    path = tmp_path / (letter * (251 // len(letter.encode())) + ".csv")
    write_text(path, "text")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_file_may_be_read_by_whom_the_user_lets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_what_a_link_among_half_written_files_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / f"{PARTIAL}1").symlink_to(tmp_path / "data")
    remove_partials(tmp_path / "run")
    assert (tmp_path / "data").is_dir()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_log_is_added_to_but_not_through_a_link(tmp_path: Path, thesis: Path) -> None:
    for text in (b"a", b"b"):
        with os.fdopen(open_unlinked(tmp_path / "log", os.O_WRONLY | os.O_APPEND), "ab") as file:
            file.write(text)
    assert (tmp_path / "log").read_bytes() == b"ab"
    (tmp_path / "link").symlink_to(thesis)
    with pytest.raises(FileExistsError, match=r"link is a link, .* remove it"):
        open_unlinked(tmp_path / "link", os.O_WRONLY | os.O_APPEND)
    assert thesis.read_text() == "mine\n"


def test_no_folder_on_the_way_to_a_file_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "out" / "a").mkdir(parents=True)
    refuse_links_to(tmp_path / "out", "a/b/c.nii.gz")
    (tmp_path / "out" / "a" / "b").symlink_to(tmp_path)
    with pytest.raises(FileExistsError, match=r"a/b is a link, .* remove it"):
        refuse_links_to(tmp_path / "out", "a/b/c.nii.gz")


def test_nothing_but_the_functions_for_whole_files_and_logs_writes_files() -> None:
    found = {
        f"{path.relative_to(PROJECT / 'src/gaborseg')}: {line.strip()}"
        for path in (PROJECT / "src").rglob("*.py")
        if path.parts[-2:] != ("machine", "files.py")
        for line in path.read_text().splitlines()
        if _WRITES.search(line)
    }
    assert found == {
        # Linux's own
        'benchmarks/memory.py: (_PROCESS / "clear_refs").write_text(_RESET_PEAK)',
        # to the partial file of an export
        "models/exporting.py: path.write_bytes(content.getbuffer())",
        "models/exporting.py: path.write_bytes(content + onnx_seal(content))",
        # in a folder that takes its place when it is whole
        'preparation/writing.py: (folder / SOURCE).write_text(json.dumps(record) + "\\n", '
        'encoding="utf-8")',
    }
