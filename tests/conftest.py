import ctypes
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gaborseg.interface import each_interpolation_parsed_once
from gaborseg.machine import large_imports

with large_imports():
    import torch

    from gaborseg.data import SegmentationData
    from gaborseg.data.folder import Folder
    from gaborseg.training import testing
    from tiny_cohort import write_cohort

collect_ignore = ["support/train_nnunet.py"]  # a program that a test starts, with nnU-Net


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Accept the options in pyproject.toml that need pytest-xdist where it is switched off."""
    if not pluginmanager.hasplugin("xdist"):
        for option in ("--numprocesses", "--maxprocesses", "--dist"):
            parser.addoption(option)


def pytest_configure() -> None:
    """Give every worker, and every process that a test starts, one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """Leave libraries and tests out of the searches for garbage: a fifth of the time of most."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Let every test draw the same numbers in every run."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _small_process() -> Iterator[None]:
    """Return the memory that trainings keep: to fork a large process takes long."""
    yield
    with suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(autouse=True, scope="session")
def _no_example_is_drawn() -> Iterator[None]:
    """Leave the example of a training empty: to draw it takes half of a tiny training's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testing, "draw_example", lambda path, *_: path.touch())
        yield


@pytest.fixture(autouse=True, scope="session")
def _each_interpolation_is_parsed_once() -> Iterator[None]:
    """Compose as the commands do, in half of the time."""
    with each_interpolation_parsed_once():
        yield


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    return write_cohort(tmp_path / "cohort")


@pytest.fixture
def tiny_data(cohort: Path, tmp_path: Path) -> Callable[..., SegmentationData]:
    def build(**options: object) -> SegmentationData:
        data = SegmentationData(Folder(cohort, tmp_path / "cache"), **options)
        data.prepare()
        return data

    return build
