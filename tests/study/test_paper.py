import pytest

from gaborseg.study import paper_sizes
from gaborseg.study.names import STRUCTURES
from gaborseg.study.paper import paper_dice
from synthetic_runs import STRUCTURES as NINETEEN


def test_table_1b_has_six_columns_of_nineteen_structures_and_their_average() -> None:
    published = paper_dice()
    assert len(published) == 6 * 20
    assert {(kernel, loss) for kernel, loss, _ in published} == {
        (kernel, loss) for kernel in ("conventional", "gabor", "mixed") for loss in ("pcc", "dice")
    }
    assert published["mixed", "pcc", "average"] == (0.83, 0.0)


@pytest.mark.parametrize("kernel", ["conventional", "gabor", "mixed"])
@pytest.mark.parametrize("loss", ["pcc", "dice"])
def test_every_average_is_that_of_its_column_up_to_rounding(kernel: str, loss: str) -> None:
    column = [paper_dice()[kernel, loss, structure].mean for structure in NINETEEN]
    average = paper_dice()[kernel, loss, "average"].mean
    assert sum(column) / 19 == pytest.approx(average, abs=0.0101)


def test_relative_sizes_are_shares_of_the_whole() -> None:
    assert list(paper_sizes()) == NINETEEN
    assert sum(paper_sizes().values()) == pytest.approx(100, abs=0.1)


def test_names_for_the_reader_are_of_structures_of_the_paper() -> None:
    assert set(STRUCTURES) <= set(NINETEEN)
