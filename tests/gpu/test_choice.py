"""Choices that were measured on a card: kept, read, pinned, refused."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gaborseg.gpu import Choices, Convolution, choice, choices_for, keep, pin, precision_of, way

CARD = torch.device("cuda")
LAYER = Convolution(1, 36, 12, (128, 128, 128), 7, "bfloat16")
OTHER = Convolution(2, 36, 12, (128, 128, 128), 7, "bfloat16")


@pytest.fixture(autouse=True)
def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A card that torch can name, and a cache of its own."""
    monkeypatch.setenv("GABORSEG_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card 1/2")
    choice._measured.cache_clear()
    yield
    pin(None)
    choice._measured.cache_clear()


def test_what_was_not_measured_goes_the_plain_way() -> None:
    assert choices_for(CARD) == Choices({}, graphs=False)
    assert way(LAYER, CARD) == "direct"


def test_what_was_measured_is_kept() -> None:
    path = keep(Choices({str(LAYER): "spectral"}, graphs=True), CARD, {str(LAYER): {"direct": 2.0}})
    assert way(LAYER, CARD) == "spectral"
    assert way(OTHER, CARD) == "direct"
    assert choices_for(CARD).graphs
    assert path.name.startswith("Card-1-2-")
    assert json.loads(path.read_text())["milliseconds"] == {str(LAYER): {"direct": 2.0}}


def test_a_second_measurement_keeps_the_first() -> None:
    keep(Choices({str(LAYER): "spectral"}), CARD, {})
    keep(Choices({str(OTHER): "spectral"}), CARD, {})
    assert way(LAYER, CARD) == way(OTHER, CARD) == "spectral"


def test_another_driver_of_the_card_has_choices_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(Choices({str(LAYER): "spectral"}), CARD, {})
    monkeypatch.setattr(torch, "__version__", "3.0")
    choice._measured.cache_clear()
    assert way(LAYER, CARD) == "direct"


def test_a_run_keeps_to_the_choices_it_began_with() -> None:
    began = choices_for(CARD).as_record()
    keep(Choices({str(LAYER): "spectral"}), CARD, {})
    pin(Choices.read(began))
    assert way(LAYER, CARD) == "direct"
    pin(None)
    assert way(LAYER, CARD) == "spectral"


def test_a_way_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be direct or spectral, got 'crooked'"):
        Choices.read({"ways": {str(LAYER): "crooked"}, "graphs": False})


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '"spectral"', '{"ways": [], "graphs": true}', '{"ways": {}}', "{"),
        '{"ways": {}, "graphs": true, "milliseconds": [1]}',
    ],
)
def test_a_damaged_file_is_named_with_the_remedy(text: str) -> None:
    path = keep(Choices({}), CARD, {})
    path.write_text(text)
    choice._measured.cache_clear()
    with pytest.raises(ValueError, match=re.escape(str(path)) + ".*; delete it, and measure again"):
        choices_for(CARD)


def test_a_convolution_is_named_by_all_that_its_time_depends_on() -> None:
    assert str(LAYER) == "1 x 36 -> 12, 7^3 on 128 x 128 x 128, bfloat16"


@pytest.mark.parametrize(("tf32", "name"), [(True, "tf32"), (False, "float32")])
def test_float32_is_of_full_width_or_of_tf32(
    tf32: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    assert precision_of(torch.zeros(1)) == name
    assert precision_of(torch.zeros(1, dtype=torch.bfloat16)) == "bfloat16"
