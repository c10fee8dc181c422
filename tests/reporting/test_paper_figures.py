import csv
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from config import settings_of
from gaborseg.reporting import write_paper_figures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "figures"
    write_paper_figures(folder, [5, 50], steps=3, seed=0)
    return folder


def numbers(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="") as file:
        names, *rows = csv.reader(file)
    return dict(zip(names, np.array(rows, dtype=float).T, strict=True))


def test_both_parts_are_written_as_pictures_and_numbers(folder: Path) -> None:
    names = {f"{stem}.{kind}" for stem in ("sinusoids", "losses") for kind in ("svg", "png", "csv")}
    assert {path.name for path in folder.iterdir()} == names


@pytest.mark.parametrize("stem", ["sinusoids", "losses"])
def test_pictures_can_be_opened_and_are_not_blank(folder: Path, stem: str) -> None:
    assert matplotlib.image.imread(folder / f"{stem}.png").std() > 0.01
    assert ET.parse(folder / f"{stem}.svg").getroot().tag.endswith("svg")


def test_the_configuration_asks_for_the_papers_figure() -> None:
    config = settings_of("figures")
    assert config.object_sides[0] == 5
    assert (config.steps, config.seed, config.output) == (101, 0, "outputs/figures")


def test_the_losses_have_a_column_for_each_loss_and_object(folder: Path) -> None:
    table = numbers(folder / "losses.csv")
    assert list(table) == ["mean_score", "pcc_m5", "pcc_m50", "dice_m5", "dice_m50"]
    np.testing.assert_allclose(table["mean_score"], [0.5, 0.75, 1])
    np.testing.assert_allclose([column[-1] for column in table.values()], [1, 0, 0, 0, 0])


def test_the_sinusoids_have_a_column_each(folder: Path) -> None:
    table = numbers(folder / "sinusoids.csv")
    assert list(table) == [
        "offset",
        "equal_A_equal_f",
        "different_A_equal_f",
        "equal_A_different_f",
        "different_A_different_f",
    ]
    centre = len(table["offset"]) // 2
    np.testing.assert_allclose([column[centre] for column in table.values()], [0, 1, 1, 1, 1])
