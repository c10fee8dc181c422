"""What is left of a run that is refused before it has begun."""

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from gaborseg.interface import LogFile, UserError, errors_in_log, quote_values


@pytest.fixture(autouse=True)
def single_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig, "get", lambda: SimpleNamespace(mode=RunMode.RUN))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder as Hydra makes it."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def begin(folder: Path) -> Iterator[None]:
    handler = LogFile(str(folder / "train.log"))
    logging.getLogger().addHandler(handler)
    yield
    logging.getLogger().removeHandler(handler)
    handler.close()


def end_with(error: Exception) -> None:
    with pytest.raises(SystemExit), errors_in_log():
        raise error


@pytest.mark.usefixtures("begin")
def test_a_refused_run_leaves_no_folder(folder: Path) -> None:
    (folder / "failed.json").write_text("{}")
    end_with(UserError("seed must be an integer"))
    assert not folder.exists()
    assert folder.parent.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("begin")
@pytest.mark.parametrize("name", ["config.yaml", "mine.txt"])
def test_a_folder_that_holds_more_stays(folder: Path, name: str) -> None:
    (folder / name).touch()
    end_with(UserError("seed must be an integer"))
    assert {path.name for path in folder.iterdir()} == {"train.log", name}


@pytest.mark.usefixtures("begin")
def test_the_folder_of_a_run_that_breaks_stays(folder: Path) -> None:
    end_with(RuntimeError("no mistake of the user's"))
    assert "no mistake" in (folder / "train.log").read_text()


def test_a_log_of_before_stays(folder: Path) -> None:
    (folder / "train.log").write_text("an earlier session\n")
    handler = LogFile(str(folder / "train.log"))
    logging.getLogger().addHandler(handler)
    end_with(UserError("seed must be an integer"))
    logging.getLogger().removeHandler(handler)
    handler.close()
    assert (folder / "train.log").read_text().startswith("an earlier session\n")


def test_a_home_folder_is_one_in_the_run_folders_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert quote_values(["hydra.run.dir=~/a"], []) == ["hydra.run.dir='/home/anna/a'"]
