import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from src.layers import native as module
from src.layers.native import cache_folder, library, native


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty cache folder, and a native() that has not been called."""
    monkeypatch.setenv("GABORSEG_CACHE", str(tmp_path))
    native.cache_clear()
    yield tmp_path
    native.cache_clear()


def pretend_to_compile(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replace the compiler: it writes an empty library, and the paths are remembered."""
    compiled: list[Path] = []

    def load(name: str, build_directory: str, **options: object) -> None:
        path = Path(build_directory) / f"{name}.so"
        path.touch()
        compiled.append(path)

    monkeypatch.setattr("torch.utils.cpp_extension.load", load)
    return compiled


def test_the_cache_folder_can_be_moved(fresh: Path) -> None:
    assert cache_folder() == fresh / "native"


def test_the_second_use_compiles_nothing(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = pretend_to_compile(monkeypatch)
    first, second = library(), library()
    assert first == second
    assert first.exists()
    assert len(compiled) == 1


@pytest.mark.parametrize("change", ["flags", "torch", "processor"])
def test_what_matters_gets_its_own_library(
    change: str, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = module.fingerprint()
    if change == "flags":
        monkeypatch.setattr(module, "FLAGS", (*module.FLAGS, "-g"))
    elif change == "torch":
        monkeypatch.setattr(torch, "__version__", "0.0")
    else:
        monkeypatch.setattr(module, "processor", lambda: "another")
    assert module.fingerprint() != before


def test_changed_sources_get_their_own_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = module.fingerprint()
    (tmp_path / "gabor.cpp").write_text("int x;")
    monkeypatch.setattr(module, "SOURCES", tmp_path)
    assert module.fingerprint() != before


def test_leavings_of_a_killed_process_are_cleared(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = cache_folder() / module.fingerprint() / "build"
    build.mkdir(parents=True)
    (build / "lock").touch()  # the baton that torch's own loader would wait for, for ever
    (build / f"{module.NAME}.so").write_text("half a library")
    compiled = pretend_to_compile(monkeypatch)
    assert library().read_bytes() == b""
    assert len(compiled) == 1


def test_a_compiler_that_knows_few_flags_still_serves(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[list[str]] = []

    def load(name: str, build_directory: str, extra_cflags: list[str], **options: object) -> None:
        tried.append(extra_cflags)
        if "-march=native" in extra_cflags:
            raise RuntimeError("unknown value for -march")
        (Path(build_directory) / f"{name}.so").touch()

    monkeypatch.setattr("torch.utils.cpp_extension.load", load)
    assert library().exists()
    assert len(tried) == 2


def test_without_a_compiler_there_is_one_warning(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def load(**options: object) -> None:
        raise RuntimeError("no compiler here\nand a long story")

    monkeypatch.setattr("torch.utils.cpp_extension.load", load)
    assert native() is None
    assert native() is None
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "no compiler here" in warning.getMessage()
    assert "story" not in warning.getMessage()


def test_native_code_can_be_declined(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GABORSEG_NATIVE", "0")
    assert native() is None
    assert len(caplog.records) == 1
    assert not any(fresh.iterdir())


def test_the_search_path_is_left_as_it_was(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.environ["PATH"]
    pretend_to_compile(monkeypatch)
    library()
    assert os.environ["PATH"] == before


@pytest.mark.slow
def test_two_processes_share_one_compilation(tmp_path: Path) -> None:
    code = (
        "import logging; logging.basicConfig(level=logging.INFO);"
        "from src.layers.native import native; assert native() is not None"
    )
    environment = os.environ | {"GABORSEG_CACHE": str(tmp_path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert sum("compiling" in text for text in errors) == 1
