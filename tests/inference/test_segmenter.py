import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from distorted_cohort import CODES, Grid, phantom, random_grid
from gaborseg.data import zscore
from gaborseg.inference.segmenter import Segmenter, centred, mean_margin
from gaborseg.models import Model, ModelError, facts_of
from gaborseg.scans import labels_to_prepared
from tiny_model import description

LIMITS = {"field_of_view": [60.0, 120.0], "distances": [1.0], "quantiles": [[0.0] * 50]}


def model(scores: Any = None, fixed_size: Any = None, **data: Any) -> Model:
    facts = facts_of(description(**data)["data"])
    return Model(Path("model.ckpt"), facts, scores or by_brightness, unchanged, fixed_size)


def unchanged(logits: Tensor) -> Tensor:
    """Scores that are the logits."""
    return logits


def by_brightness(image: Tensor) -> Tensor:
    """Scores of four labels, the brighter voxels having the larger label."""
    levels = torch.tensor([-1.0, 0.0, 1.0, 2.0]).view(-1, 1, 1, 1)
    return -(image - levels).abs()


def perfect(segmenter: Segmenter, image: Tensor, labels: Tensor, grid: Grid) -> None:
    """Let the model know the truth on the prepared grid."""
    _, prepared, _ = segmenter.prepare(image, grid.affine)
    truth = labels_to_prepared(labels, prepared).long()
    onehot = F.one_hot(truth, 4).permute(3, 0, 1, 2).float()[None]
    object.__setattr__(segmenter.models[0], "logits", lambda image: onehot)


def dice(one: Tensor, other: Tensor, label: int) -> float:
    a, b = one == label, other == label
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("code", CODES)
def test_labels_come_back_where_they_were_and_left_stays_left(code: str) -> None:
    rng = np.random.default_rng(CODES.index(code))
    grid = random_grid(rng, code, (80, 90, 96), (1.5, 3.0), (20, 64))
    image, labels = (torch.from_numpy(volume) for volume in phantom(grid.world()))
    segmenter = Segmenter([model(size=64, appearance=LIMITS)])
    perfect(segmenter, image[None], labels, grid)
    found = segmenter(image[None], grid.affine)
    assert found.labels.shape == labels.shape
    for label in (1, 2, 3):
        assert dice(found.labels, labels, label) > 0.95
    ball = grid.affine[:3, :3] @ np.argwhere(found.labels.numpy() == 2).mean(axis=0)
    box = grid.affine[:3, :3] @ np.argwhere(found.labels.numpy() == 3).mean(axis=0)
    assert ball[0] < box[0] - 15, "the ball is left of the box"


def test_models_are_averaged() -> None:
    image = torch.rand(1, 8, 8, 8) * 100
    one, other = torch.rand(1, 4, 16, 16, 16), torch.rand(1, 4, 16, 16, 16)
    both = Segmenter([model(lambda image: one.clone()), model(lambda image: other.clone())])
    torch.testing.assert_close(both(image, np.diag([12.0, 12, 12, 1])).scores, (one + other)[0] / 2)


def test_flips_change_nothing_for_a_model_that_does_not_care() -> None:
    prepared = torch.randn(1, 16, 16, 16)
    plain = Segmenter([model()])
    flipped = Segmenter([model(structures=["a", "b", "c"])], flips=["x", "z"])
    torch.testing.assert_close(flipped.scores(prepared), plain.scores(prepared))


def test_flips_average_over_the_mirrored_scans() -> None:
    ramp = torch.arange(16.0).view(1, 1, 16, 1, 1).expand(1, 4, 16, 16, 16)
    unsided = model(lambda image: ramp.clone(), structures=["a", "b", "c"])
    scores = Segmenter([unsided], flips=["x"]).scores(torch.zeros(1, 16, 16, 16))
    torch.testing.assert_close(scores, torch.full((4, 16, 16, 16), 7.5))


def test_patches_change_nothing_for_a_voxelwise_model() -> None:
    prepared = torch.randn(1, 16, 16, 16)
    whole, patched = Segmenter([model()]), Segmenter([model()], patch_size=8)
    torch.testing.assert_close(patched.scores(prepared), whole.scores(prepared))


def test_logits_are_averaged_over_patches_and_then_decided_on() -> None:
    facts = facts_of(description(patch_size=8)["data"])
    place = torch.arange(512.0).view(1, 1, 8, 8, 8).expand(1, 4, 8, 8, 8)
    one = Model(Path("m"), facts, lambda image: place.clone(), torch.square)
    prepared = torch.randn(1, 16, 16, 16)
    logits = Segmenter([Model(Path("m"), facts, one.logits, unchanged)]).scores(prepared)
    torch.testing.assert_close(Segmenter([one]).scores(prepared), logits.square())


def test_a_model_of_patches_is_used_on_patches() -> None:
    sizes = []

    def scores(image: Tensor) -> Tensor:
        sizes.append(tuple(image.shape[2:]))
        return by_brightness(image)

    Segmenter([model(scores, patch_size=8)]).scores(torch.randn(1, 16, 16, 16))
    assert set(sizes) == {(8, 8, 8)}
    assert len(sizes) == 27


def test_volumes_that_are_no_cubes_are_seen_as_in_training() -> None:
    sizes = []

    def scores(image: Tensor) -> Tensor:
        sizes.append(tuple(image.shape))
        return by_brightness(image)

    told = description()["data"] | {"size": [16, 12, 8]}
    segmenter = Segmenter([Model(Path("m"), facts_of(told), scores, unchanged)])
    found = segmenter(torch.rand(1, 16, 12, 8) * 100, np.diag([6.0, 6, 6, 1]))
    assert sizes == [(1, 1, 16, 12, 8)]
    assert found.scores.shape == (4, 16, 16, 16)
    assert found.labels.shape == (16, 12, 8)


def test_volumes_that_are_no_cubes_are_normalised_as_in_training() -> None:
    told = description()["data"] | {"size": [16, 12, 8]}
    image = torch.rand(1, 16, 12, 8) * 100
    segmenter = Segmenter([Model(Path("m"), facts_of(told), by_brightness, unchanged)])
    prepared, *_ = segmenter.prepare(image, np.diag([6.0, 6, 6, 1]))
    torch.testing.assert_close(prepared[0], torch.from_numpy(zscore(image[0].numpy())))


def test_outside_the_cube_is_background() -> None:
    image = torch.rand(1, 40, 20, 20)
    always = torch.tensor([0.0, 1, 0, 0]).view(1, 4, 1, 1, 1).expand(1, 4, 16, 16, 16)
    found = Segmenter([model(lambda image: always.clone())])(image, np.diag([6.0, 6, 6, 1]))
    assert found.labels.shape == (40, 20, 20)
    assert int((found.labels == 1).sum()) == 16**3  # 96 mm of the 240 and the 120


@pytest.mark.parametrize(
    ("matching", "window", "matched"),
    [
        ("auto", None, True),
        ("never", None, False),
        ("auto", [0, 1], False),
        ("always", [0, 1], True),
    ],
)
def test_a_strange_scan_gets_the_histogram_of_the_training_scans(
    matching: str, window: list[int] | None, matched: bool
) -> None:
    told = description(size=16, appearance=LIMITS)["data"]
    told["preparation"] = {**(told.get("preparation") or {}), "window": window}
    seen = []

    def scores(image: Tensor) -> Tensor:
        seen.append(image[0].numpy())
        return by_brightness(image)

    one = Model(Path("m"), facts_of(told), scores, unchanged)
    image = torch.rand(1, 16, 16, 16, generator=torch.Generator().manual_seed(0)) ** 9
    segmenter = Segmenter([one], matching=matching)
    found = segmenter(image, np.diag([6.0, 6, 6, 1]))
    prepared = segmenter.prepare(image, np.diag([6.0, 6, 6, 1]))[0].numpy()
    assert found.matched is matched
    assert np.array_equal(seen[0], prepared) is not matched


def test_a_model_that_knows_no_histogram_cannot_always_match() -> None:
    with pytest.raises(
        ModelError, match=r"model\.ckpt does not tell the histogram of its training"
    ):
        Segmenter([model()], matching="always")
    assert Segmenter([model()], matching="auto").histograms.in_use is False


def test_an_unknown_matching_is_refused() -> None:
    with pytest.raises(ValueError, match="match_histograms must be one of auto, always, never"):
        Segmenter([model()], matching="sometimes")


def test_what_has_no_contrast_cannot_be_segmented() -> None:
    image = torch.zeros(1, 40, 20, 20)
    image[0, 0, 0, 0] = image[0, -1, -1, -1] = 1
    with pytest.raises(ValueError, match="there is but one intensity in the 96 mm seen"):
        Segmenter([model()])(image, np.diag([6.0, 6, 6, 1]))


def test_margin_is_the_lead_where_something_was_found() -> None:
    scores = torch.tensor([[0.9, 0.2, 0.1], [0.1, 0.7, 0.3], [0.0, 0.1, 0.6]]).view(3, 3, 1, 1)
    assert mean_margin(scores) == pytest.approx((0.5 + 0.3) / 2)
    assert math.isnan(mean_margin(torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)))


def warnings_of(image: Tensor, spacing: float, **data: Any) -> list[str]:
    return Segmenter([model(**data)])(image, np.diag([spacing] * 3 + [1.0])).warnings


def test_a_scan_like_those_of_training_warns_of_nothing() -> None:
    assert warnings_of(torch.rand(1, 16, 16, 16), 6.0) == []


def test_unlike_intensities_a_short_field_of_view_and_a_cut_are_told() -> None:
    far = LIMITS | {"quantiles": [[50.0] * 50]}
    (unlike,) = warnings_of(torch.rand(1, 16, 16, 16), 6.0, appearance=far)
    assert "intensities unlike the training scans" in unlike
    (short,) = warnings_of(torch.rand(1, 16, 16, 16), 3.0)
    assert "field of view of 48 mm, in training 96 to 96 mm" in short
    (cut,) = warnings_of(torch.rand(1, 16, 16, 16), 9.0)
    assert "48 mm of what it shows lie outside the 96 mm that fit" in cut


def test_finding_nothing_is_told() -> None:
    nothing = torch.zeros(1, 4, 16, 16, 16)
    segmenter = Segmenter([model(lambda image: nothing.clone())])
    found = segmenter(torch.rand(1, 16, 16, 16), np.diag([6.0, 6, 6, 1]))
    assert found.warnings == ["nothing was found"]
    assert math.isnan(found.confidence)


@pytest.mark.parametrize("size", [(5, 4, 3), (2, 6, 3), (4, 4, 4)])
def test_centring_is_undone_by_centring(size: tuple[int, int, int]) -> None:
    volume = torch.rand(2, 4, 4, 4)
    there = centred(volume, size)
    assert there.shape == (2, *size)
    kept = [min(a, 4) for a in size]
    torch.testing.assert_close(centred(centred(there, (4, 4, 4)), kept), centred(volume, kept))


def test_models_must_agree() -> None:
    with pytest.raises(ModelError, match="size must be those of"):
        Segmenter([model(), model(size=8)])
    with pytest.raises(ModelError, match="structures must be those of"):
        Segmenter([model(), model(structures=["a", "b", "c"])])
    with pytest.raises(ModelError, match="spacing must be that of"):
        Segmenter([model(), model(spacing=[3.0] * 3)])
    with pytest.raises(ModelError, match="forms must be those of"):
        Segmenter([model(), model(preparation={"forms": "qform"})])
    with pytest.raises(ModelError, match=r"window must be those of .*: \(-160.0, 240.0\)"):
        Segmenter([model(preparation={"window": [-160, 240]}), model()])


def test_patches_of_several_models_are_those_of_all_or_chosen() -> None:
    models = [model(patch_size=8), model()]
    with pytest.raises(ModelError, match=r"patch_size must be that of .*, 8, got None"):
        Segmenter(models)
    assert Segmenter(models, patch_size=8).patch_size == 8


def test_flips_must_not_swap_sides() -> None:
    with pytest.raises(ValueError, match="flips must not hold x: left_ball"):
        Segmenter([model()], flips=["y", "x"])
    with pytest.raises(ValueError, match="flips must be some of x, y, z, got q"):
        Segmenter([model()], flips=["q"])


def test_sides_are_seen_in_names_of_any_style() -> None:
    with pytest.raises(ValueError, match="flips must not hold x: LeftKidney"):
        Segmenter([model(structures=["LeftKidney", "RightKidney"])], flips=["x"])


def test_an_exported_model_takes_its_size_alone() -> None:
    assert Segmenter([model(fixed_size=(8, 8, 8))]).patch_size == 8
    assert Segmenter([model(fixed_size=(16, 16, 16))]).patch_size is None
    assert Segmenter([model(fixed_size=(16, 16, 16), patch_size=8)]).patch_size is None
    with pytest.raises(ValueError, match=r"takes volumes of \(16, 16, 16\) alone"):
        Segmenter([model(fixed_size=(16, 16, 16))], patch_size=8)
    with pytest.raises(ValueError, match="patch_size must be positive, got -1"):
        Segmenter([model()], patch_size=-1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_no_background(value: float) -> None:
    def broken(image: Tensor) -> Tensor:
        logits = by_brightness(image)
        logits[0, 2, 5, 5, 5] = value
        return logits

    with pytest.raises(ModelError, match=r"model\.ckpt: logits must be finite, got"):
        Segmenter([model(broken)]).scores(torch.randn(1, 16, 16, 16))
