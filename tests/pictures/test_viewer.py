import json
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaborseg.pictures import viewer_book, viewer_case, viewer_page
from packed_volumes import grey_of, labels_of

SHAPE = (5, 4, 3)
AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])


def scan() -> NDArray[np.float64]:
    return np.arange(60.0).reshape(SHAPE)


def labels(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 3, SHAPE, dtype=np.uint8)


def test_a_label_map_comes_back_from_its_runs() -> None:
    case = viewer_case("a", scan(), {"truth": labels(), "model": labels(1)}, AFFINE)
    assert [own["name"] for own in case["maps"]] == ["truth", "model"]
    np.testing.assert_array_equal(labels_of(case), labels())
    np.testing.assert_array_equal(labels_of(case, 1), labels(1))


def test_runs_longer_than_a_byte_are_cut() -> None:
    whole = np.full((10, 10, 10), 7, np.uint8)
    case = viewer_case("a", whole, {"map": whole}, AFFINE)
    np.testing.assert_array_equal(labels_of(case), whole)


def test_a_scan_has_eight_bit_between_its_darkest_percent_and_its_brightest_half() -> None:
    low, high = np.percentile(scan(), [1, 99.5])
    expected = np.rint(255 * np.clip((scan() - low) / (high - low), 0, 1))
    np.testing.assert_allclose(grey_of(viewer_case("a", scan(), {}, AFFINE)), expected, atol=1)


def test_volumes_are_turned_to_right_anterior_superior() -> None:
    turn = np.array([[0, 0, -2.0, 8], [-3.0, 0, 0, 9], [0, 4.0, 0, 0], [0, 0, 0, 1]])
    case = viewer_case("a", scan(), {"map": labels()}, turn)
    assert case["spacing"] == [2.0, 3.0, 4.0]
    np.testing.assert_array_equal(labels_of(case), labels().transpose(2, 0, 1)[::-1, ::-1])


def test_of_a_large_volume_every_second_voxel_is_kept() -> None:
    image = np.zeros((200, 4, 4))
    image[101::2] = 1
    case = viewer_case("a", image, {}, AFFINE)
    assert (case["shape"], case["step"], case["spacing"][0]) == ([100, 2, 2], 2, 4.0)
    assert (grey_of(case)[50:] == 255).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((2, 2, 2), np.uint8), "map must have the image's shape"),
        (np.full(SHAPE, 256), "map must hold labels 0..255, got 256..256"),
    ],
)
def test_a_map_that_cannot_be_shown_is_refused(wrong: NDArray[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viewer_case("a", scan(), {"map": wrong}, AFFINE)


def test_the_page_holds_its_book_and_nothing_that_ends_its_script() -> None:
    case = viewer_case("</script>", scan(), {"map": labels()}, AFFINE)
    page = viewer_page("<b>", viewer_book(["third_ventricle", "cerebral_white"], [case]))
    assert "&lt;b&gt;" in page
    found = re.search(r'id="book">(.*?)</script>', page)
    assert found is not None
    told = json.loads(found[1])
    assert told["structures"] == ["3rd ventricle", "cerebral white"]
    assert told["hidden"] == [2]
    assert told["cases"][0]["name"] == "</script>"
    assert len(set(told["colors"])) == 2
    assert not re.search(r"(src|href)=", page)
