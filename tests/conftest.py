import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Let every test draw the same numbers in every run."""
    torch.manual_seed(0)
