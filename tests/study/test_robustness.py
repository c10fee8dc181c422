from pathlib import Path

import numpy as np
import pytest

from gaborseg.study import Configuration
from gaborseg.study.robustness import Curve, area, curve_of, robustness, tolerated_range
from synthetic_runs import NUM_TESTED, study_of, write_small_run

CONFIGURATION = Configuration("id", "label", "mixed", "pcc", "", {}, None)


def curve(rates: list[float], values: list[list[float]]) -> Curve:
    table = np.array(values)
    names = tuple(map(str, range(table.shape[1])))
    tested = ~np.isnan(table)[..., None] & (np.arange(len(names))[:, None] == np.arange(len(names)))
    runs = (len(names),) * len(rates)
    return Curve(CONFIGURATION, "split", tuple(rates), names, table, tested, runs)


def test_the_area_of_a_constant_is_the_constant() -> None:
    assert area(np.array([-4.0, -3.9, -2.0]), np.full(3, 0.7)) == pytest.approx(0.7)


def test_the_area_of_a_straight_line_is_its_middle_whatever_the_rates() -> None:
    decades = np.array([-4.0, -3.2, -3.0, -2.0])
    assert area(decades, 0.5 + 0.1 * (decades + 3)) == pytest.approx(0.5)


def test_the_area_of_a_tent_is_half_its_height() -> None:
    assert area(np.array([-4.0, -3.0, -2.0]), np.array([0, 1, 0])) == pytest.approx(0.5)


def test_the_width_is_where_the_lines_cross_one_point_below_the_best() -> None:
    low, high = tolerated_range(np.array([-4.0, -3.0, -2.0]), np.array([0.76, 0.80, 0.78]))
    assert (low, high) == (pytest.approx(-3.25), pytest.approx(-2.5))


def test_a_second_peak_does_not_count() -> None:
    decades, values = np.arange(-5.0, 0), np.array([0.795, 0.70, 0.80, 0.70, 0.799])
    low, high = tolerated_range(decades, values)
    assert (low, high) == (pytest.approx(-3.1), pytest.approx(-2.9))


def test_a_range_that_reaches_the_end_is_open() -> None:
    found = robustness(curve([1e-4, 1e-3, 1e-2], [[0.5], [0.8], [0.795]]))
    assert found is not None
    assert found.open_end
    assert found.best == 1e-3
    assert found.drop == pytest.approx(0.3)
    assert found.width == pytest.approx(1 + 0.01 / 0.3)


def test_the_area_has_the_spread_of_the_replicates_that_have_all_rates() -> None:
    found = robustness(curve([1e-4, 1e-2], [[0.6, 0.8, np.nan], [0.6, 0.8, 0.9]]))
    assert found is not None
    assert found.area_std == pytest.approx(np.std([0.6, 0.8], ddof=1))


def test_all_numbers_are_of_the_replicates_that_have_all_rates() -> None:
    found = robustness(curve([1e-4, 1e-3], [[0.6, 0.1, np.nan], [0.8, 0.7, 0.2]]))
    assert found is not None
    assert (found.names, found.subjects) == (("0", "1"), 2)
    assert found.area == pytest.approx((0.35 + 0.75) / 2)
    assert (found.best, found.drop) == (1e-3, pytest.approx(0.4))
    assert robustness(curve([1e-4, 1e-3], [[0.6, np.nan], [np.nan, 0.7]])) is None


def test_a_seed_is_never_taken_for_the_split_of_the_same_name(tmp_path: Path) -> None:
    for split in (0, 1):
        write_small_run(tmp_path / f"a{split}", dice=0.5, split=split)
        write_small_run(tmp_path / f"b{split}", dice=0.7 + split / 10, seed=split, rate=1e-2)
    study = study_of(tmp_path)
    found = curve_of(study, study.configurations[0])
    assert (found.kind, found.names) == ("split", ("0", "1"))
    assert found.values[1].tolist() == pytest.approx([0.75, np.nan], nan_ok=True)
    assert found.shared.names == ("0",)
    assert found.shared.subjects == [NUM_TESTED] * 2


def test_one_rate_has_no_robustness() -> None:
    assert robustness(curve([1e-3], [[0.5, 0.6]])) is None
