import numpy as np
import pytest
from numpy.typing import NDArray

from gaborseg.pictures.scene import Frame, Mesh, View, frame_of, render, structure_mesh

RED, BLUE = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
FROM_THE_RIGHT = View(azimuth=0, elevation=0)


def ball(radius: float = 6, side: int = 20) -> NDArray[np.bool_]:
    grid = np.indices((side,) * 3) - (side - 1) / 2
    return (grid**2).sum(axis=0) <= radius**2


def volume(mesh: Mesh) -> float:
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    return abs(np.einsum("ij,ij->i", a, np.cross(b, c)).sum()) / 6


def square(x: float) -> Mesh:
    """A square of 2 mm that faces the right, x mm to the right."""
    vertices = np.array([[x, -1, -1], [x, 1, -1], [x, 1, 1], [x, -1, 1]])
    normals = np.tile([1.0, 0, 0], (4, 1))
    return Mesh(vertices, normals, np.array([[0, 1, 2], [0, 2, 3]], np.int32))


def picture(*meshes: Mesh, colors: list[NDArray], side: float = 4) -> NDArray[np.float64]:
    frame = Frame(np.array([-side / 2, -side / 2]), side)
    return render(list(meshes), np.array(colors), frame, FROM_THE_RIGHT, pixels=40)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 2.0, 4.5)])
def test_a_surface_keeps_volume_and_place(spacing: tuple[float, float, float]) -> None:
    mesh = structure_mesh(ball(), spacing)
    assert volume(mesh) == pytest.approx(ball().sum() * np.prod(spacing), rel=0.05)
    middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    np.testing.assert_allclose(middle, 9.5 * np.array(spacing), atol=0.3)


def test_normals_point_outwards() -> None:
    mesh = structure_mesh(ball(), (1.0, 1.0, 1.0))
    outwards = mesh.vertices - 9.5
    assert (np.einsum("ij,ij->i", outwards, mesh.normals) > 0).all()


def test_thin_and_tiny_structures_have_a_surface() -> None:
    mask = np.zeros((8, 8, 8), dtype=bool)
    mask[3, 3, 3] = True
    assert len(structure_mesh(mask, (4.3, 4.3, 4.3)).faces)
    mask[:, 3, :] = True
    assert len(structure_mesh(mask, (1.0, 1.0, 1.0)).faces)


def test_a_structure_that_fills_the_image_has_a_closed_surface() -> None:
    mesh = structure_mesh(np.ones((6, 6, 6), dtype=bool), (2.0, 2.0, 2.0))
    edges = np.sort(mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, faces = np.unique(edges, axis=0, return_counts=True)
    assert (faces == 2).all()


def test_the_axes_of_a_view_are_at_right_angles() -> None:
    for view in (View(), View(33, 70), FROM_THE_RIGHT):
        np.testing.assert_allclose(view.axes @ view.axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(view.axes) == pytest.approx(1)


def test_from_the_front_the_left_of_the_subject_is_on_the_right() -> None:
    right, up, towards = View(azimuth=90, elevation=0).axes
    np.testing.assert_allclose(right, [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(up, [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(towards, [0, 1, 0], atol=1e-12)


def test_a_square_covers_its_pixels_and_nothing_else() -> None:
    shown = picture(square(0), colors=[RED])
    want = np.zeros((40, 40))
    want[10:30, 10:30] = 1
    np.testing.assert_array_equal(shown[..., 3], want)
    assert (shown[15:25, 15:25, 0] > 0.4).all()


@pytest.mark.parametrize("order", [1, -1])
def test_the_nearer_surface_hides_the_farther_one(order: int) -> None:
    meshes, colors = [square(1), square(-1)][::order], [RED, BLUE][::order]
    shown = picture(*meshes, colors=colors)
    assert (shown[11:29, 11:29, 0] > shown[11:29, 11:29, 2]).all()


def test_what_faces_away_is_not_drawn() -> None:
    behind = square(0)._replace(normals=np.tile([-1.0, 0, 0], (4, 1)))
    assert not picture(behind, colors=[RED]).any()


def test_the_picture_stands_upright() -> None:
    above = square(0)._replace(vertices=square(0).vertices + np.array([0, 0, 1]))
    rows = np.flatnonzero(picture(above, colors=[RED])[..., 3].any(axis=1))
    assert rows[0] == 0


def test_what_is_outside_the_frame_is_cut_off() -> None:
    shown = picture(square(0), colors=[RED], side=1)
    assert (shown[..., 3] == 1).all()


def test_nothing_gives_an_empty_picture() -> None:
    assert not picture(colors=[]).any()


def test_the_frame_holds_the_meshes() -> None:
    frame = frame_of([square(0)], FROM_THE_RIGHT, margin=0.25)
    assert frame.side == pytest.approx(3, rel=1e-2)
    np.testing.assert_allclose(frame.corner, [-1.5, -1.5], atol=0.02)


def test_surfaces_towards_the_light_are_brighter() -> None:
    mesh = structure_mesh(ball(), (1.0, 1.0, 1.0))
    frame = frame_of([mesh], FROM_THE_RIGHT)
    shown = render([mesh], np.array([[0.5, 0.5, 0.5]]), frame, FROM_THE_RIGHT, pixels=60)
    assert shown[15, 20, :3].mean() > shown[45, 40, :3].mean() + 0.1
