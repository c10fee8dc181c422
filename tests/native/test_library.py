import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gaborseg.machine import cache_folder
from gaborseg.native import library, native_library
from gaborseg.native.library import fingerprint, library_file

COMPILER = os.environ.get("CXX") or shutil.which("c++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no compiler")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty cache folder, and no library that was asked for before."""
    monkeypatch.setenv("GABORSEG_CACHE", str(tmp_path / "cache"))
    remembering = (native_library, library.warn)
    for function in remembering:
        function.cache_clear()
    yield tmp_path / "cache"
    for function in remembering:
        function.cache_clear()


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder of C++ that returns what it is given."""
    folder = tmp_path / "csrc"
    folder.mkdir()
    (folder / "same.h").write_text("inline int same(int x) { return x; }")
    (folder / "same.cpp").write_text(
        '#include "same.h"\n'
        'extern "C" __attribute__((visibility("default"))) int f(int x) { return same(x); }'
    )
    return folder


def pretend_to_compile(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replace the compiler: it writes a few bytes, and the paths are remembered."""
    compiled: list[Path] = []

    def build(name: str, sources: Path, workshop: Path, optional: tuple[str, ...]) -> Path:
        path = workshop / f"gaborseg_{name}.so"
        path.write_bytes(b"a library")
        compiled.append(path)
        return path

    monkeypatch.setattr(library, "build", build)
    return compiled


def test_the_cache_folder_can_be_moved(fresh: Path) -> None:
    assert cache_folder() == fresh


def test_the_second_use_compiles_nothing(
    fresh: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = pretend_to_compile(monkeypatch)
    first, second = library_file("same", sources), library_file("same", sources)
    assert first == second
    assert first.exists()
    assert len(compiled) == 1


@pytest.mark.parametrize("change", ["flags", "torch", "processor"])
def test_what_matters_gets_its_own_library(
    change: str, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(sources)
    if change == "flags":
        monkeypatch.setattr(library, "FLAGS", (*library.FLAGS, "-g"))
    elif change == "torch":
        monkeypatch.setattr(torch, "__version__", "0.0")
    else:
        monkeypatch.setattr(library, "processor", lambda: "another")
    assert fingerprint(sources) != before


def test_a_changed_header_gets_its_own_library(sources: Path) -> None:
    before = fingerprint(sources)
    (sources / "same.h").write_text("inline int same(int x) { return x + 0; }")
    assert fingerprint(sources) != before


def test_leavings_of_a_killed_process_are_cleared(
    fresh: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = cache_folder() / "native" / fingerprint(sources) / "build"
    build.mkdir(parents=True)
    (build / "gaborseg_same.so").write_text("half a library")
    compiled = pretend_to_compile(monkeypatch)
    assert library_file("same", sources).read_bytes() == b"a library"
    assert len(compiled) == 1


@needs_compiler
def test_a_library_is_compiled_and_called(fresh: Path, sources: Path) -> None:
    built = native_library("same", sources)
    assert built is not None
    assert built.f(7) == 7


@needs_compiler
def test_a_compiler_that_knows_few_flags_still_serves(
    fresh: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "old-compiler"
    compiler.write_text(
        f'#!/bin/sh\ncase "$*" in *-march=native*) exit 1;; esac\nexec {COMPILER} "$@"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    built = native_library("same", sources)
    assert built is not None
    assert built.f(7) == 7


def test_without_a_compiler_there_is_one_warning(
    fresh: Path, sources: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    assert native_library("same", sources) is None
    assert native_library("same", sources) is None
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "/nowhere/c++" in warning.getMessage()
    assert "\n" not in warning.getMessage()


@needs_compiler
def test_an_error_of_the_compiler_is_one_line(fresh: Path, sources: Path) -> None:
    (sources / "same.cpp").write_text("int f( { }")
    with pytest.raises(RuntimeError, match=r"failed: .*error: .*") as error:
        library_file("same", sources)
    assert str(error.value).count("\n") == 0


def test_a_compiler_that_hangs_is_ended(
    fresh: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "slow-compiler"
    compiler.write_text("#!/bin/sh\nsleep 600\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(library, "LONGEST_COMPILATION", 0.2)
    with pytest.raises(TimeoutError, match=r"slow-compiler was ended after 0\.2 seconds"):
        library_file("same", sources)


def test_a_compiler_that_hung_is_not_waited_for_again(
    fresh: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_: object) -> Path:
        waited.append(1)
        raise TimeoutError("c++ was ended")

    waited: list[int] = []
    monkeypatch.setattr(library, "build", hang)
    with pytest.raises(TimeoutError, match=r"c\+\+ was ended"):
        library_file("same", sources)
    note = fresh / "native" / "hung.json"
    for name in ("same", "another"):
        with pytest.raises(TimeoutError, match=f"took too long before: .* delete {note}"):
            library_file(name, sources)
    assert len(waited) == 1
    assert note.stat().st_mode & 0o077 == 0
    compiled = pretend_to_compile(monkeypatch)
    day = 24 * 3600
    for other_day, name in ((time.time() - 2 * day, "same"), (time.time() + 2 * day, "third")):
        os.utime(note, (other_day, other_day))
        library_file(name, sources)
    monkeypatch.setenv("CXX", "another-compiler")
    os.utime(note)
    library_file("another", sources)
    assert len(compiled) == 3


@pytest.mark.parametrize("damage", [b"", b"a lib", bytes(9), b"another one"])
def test_a_damaged_library_is_compiled_again(
    damage: bytes, fresh: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = pretend_to_compile(monkeypatch)
    path = library_file("same", sources)
    path.write_bytes(damage)
    assert library_file("same", sources).read_bytes() == b"a library"
    assert len(compiled) == 2


@pytest.mark.parametrize("note", [None, "", "[]", "{}", '{"sha256": "0"}'])
def test_a_library_without_its_digest_is_compiled_again(
    note: str | None, fresh: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = pretend_to_compile(monkeypatch)
    beside = library_file("same", sources).with_suffix(".json")
    beside.unlink() if note is None else beside.write_text(note)
    library_file("same", sources)
    assert len(compiled) == 2


@pytest.mark.parametrize("place", ["same.so", "same.json"])
def test_what_others_may_write_is_refused(
    place: str, fresh: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_to_compile(monkeypatch)
    path = (library_file("same", sources).parent / place).resolve()
    path.chmod(path.stat().st_mode | 0o002)
    with pytest.raises(PermissionError, match=r"others may write to .*: delete it, or set"):
        library_file("same", sources)


@pytest.mark.parametrize("place", [".", ".."])
def test_a_folder_of_ours_is_closed_to_others(
    place: str, fresh: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = pretend_to_compile(monkeypatch)
    folder = (library_file("same", sources).parent / place).resolve()
    folder.chmod(0o777)
    library_file("same", sources)
    assert folder.stat().st_mode & 0o022 == 0
    assert len(compiled) == 1


def test_a_link_in_the_cache_is_refused(
    fresh: Path, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_to_compile(monkeypatch)
    path = library_file("same", sources)
    path.rename(tmp_path / "elsewhere.so")
    path.symlink_to(tmp_path / "elsewhere.so")
    with pytest.raises(PermissionError, match=r"is not this user's own"):
        library_file("same", sources)


def test_the_cache_is_ours_alone_under_any_umask(
    fresh: Path, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_to_compile(monkeypatch)
    before = os.umask(0)
    try:
        path = library_file("same", sources)
    finally:
        os.umask(before)
    for own in (path.parents[1], path.parent, *path.parent.iterdir()):
        assert own.stat().st_mode & 0o077 == 0, own


def test_native_code_can_be_declined(
    fresh: Path, sources: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GABORSEG_NATIVE", "0")
    assert native_library("same", sources) is None
    assert len(caplog.records) == 1
    assert not fresh.exists()


@pytest.mark.slow
@needs_compiler
def test_two_processes_share_one_compilation(sources: Path, tmp_path: Path) -> None:
    code = (
        "import logging, pathlib, sys; logging.basicConfig(level=logging.INFO);"
        "from gaborseg.native import native_library;"
        "assert native_library('same', pathlib.Path(sys.argv[1])).f(7) == 7"
    )
    environment = os.environ | {"GABORSEG_CACHE": str(tmp_path / "cache")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, sources],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert sum("compiling" in text for text in errors) == 1
