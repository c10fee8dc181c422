from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gaborseg.data import SegmentationData
from gaborseg.data.folder import Folder
from tiny_cohort import write_cohort


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Let every test draw the same numbers in every run."""
    torch.manual_seed(0)


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
