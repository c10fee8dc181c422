import numpy as np
import pytest
import torch

from gaborseg.inference.framing import frame_for, visible_box

SPACING = np.array([2.0, 1.0, 4.0])


def scan(shape: tuple[int, int, int] = (40, 60, 20)) -> torch.Tensor:
    """An image that shows a box: voxels 20..29, 5..24, 4..9."""
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    image[20:30, 5:25, 4:10] += 50
    return image


def test_a_scan_as_large_as_those_of_training_is_seen_whole() -> None:
    frame = frame_for(scan(), SPACING, (70.0, 90.0))
    assert frame.field_of_view == 80
    assert frame.centre == (19.5, 29.5, 9.5)
    assert frame.cut == 0


def test_a_smaller_scan_is_padded_about_its_centre() -> None:
    frame = frame_for(scan(), SPACING, (100.0, 120.0))
    assert frame.field_of_view == 100
    assert frame.centre == (19.5, 29.5, 9.5)


def test_a_larger_scan_is_cropped_about_what_it_shows() -> None:
    frame = frame_for(scan(), SPACING, (30.0, 40.0))
    assert frame.field_of_view == 40
    assert frame.centre == pytest.approx((24.5, 19.5, 6.5), abs=1)  # nowhere beyond the border
    assert frame.cut == 0


def test_a_crop_does_not_leave_the_scan() -> None:
    frame = frame_for(scan(), SPACING, (30.0, 50.0))
    sides = np.array([80, 60, 80])
    start = (np.array(frame.centre) + 0.5) * SPACING - 25
    assert (start >= -1e-9).all()
    assert (start + 50 <= sides + 1e-9).all()


def test_what_does_not_fit_is_measured() -> None:
    image = torch.zeros(40, 60, 20)
    image[2:38] = 1
    assert frame_for(image, SPACING, (30.0, 50.0)).cut == pytest.approx(80 - 50, abs=4)


def test_an_axis_shorter_than_the_cube_keeps_its_centre() -> None:
    frame = frame_for(scan(), SPACING, (65.0, 65.0))
    assert frame.centre[1] == 29.5


def test_the_visible_box_is_found_on_a_coarser_sample_too() -> None:
    image = torch.zeros(256, 16, 16)
    image[100:200, 4:8, 2:14] = 100
    first, last = visible_box(image)
    assert first == pytest.approx([100, 4, 2], abs=4)
    assert last == pytest.approx([199, 7, 13], abs=4)


def test_an_image_without_contrast_has_some_box() -> None:
    first, last = visible_box(torch.zeros(8, 8, 8))
    assert (first <= last).all()
