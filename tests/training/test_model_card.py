import copy
import math
import re
from typing import Any

import pytest

from gaborseg.runs import Score
from gaborseg.training.model_card import model_card

CONFIG = {
    "trainer": {"max_epochs": 20},
    "decision": {"_target_": "gaborseg.decisions.Calibrated"},
    "seed": 0,
    "split": 2,
}
DATA: dict[str, Any] = {
    "name": "mine",
    "structures": ["liver", "spleen"],
    "channels": ["T1w", "T2w"],
    "size": [48, 48, 48],
    "credit": "the scanner's owner",
    "licence": "CC BY-NC",
    "appearance": {"field_of_view": [200.0, 240.0]},
}
RECORD = {
    "name": "mixed-pcc",
    "choices": {"network": "vnet_ds", "kernel": "mixed", "loss": "pcc"},
    "parameters": {"total": 1598900},
    "sessions": [{"started": "2026-11-22T10:00:00", "torch": "2.13", "git_commit": "abc-dirty"}],
    "data": DATA | {"split": {"train": ["a", "b"], "validation": ["c"], "test": ["d", "e"]}},
}
ROWS = [
    Score("d", "liver", 0.8, 2.0),
    Score("e", "liver", 0.6, 4.0),
    Score("d", "spleen", 0.5, 1.0),
    Score("e", "spleen", math.nan, math.nan),
]


def card(**data: Any) -> str:
    checkpoint = {"epoch": 16, "description": {"data": DATA | data}}
    return model_card(CONFIG, RECORD, checkpoint, ROWS)


def test_a_card_says_by_what_the_epoch_was_chosen_unless_by_dice() -> None:
    chosen = RECORD | {"monitor": {"name": "val/loss", "mode": "min"}}
    checkpoint = {"epoch": 16, "description": {"data": DATA}}
    told = model_card(CONFIG, chosen, checkpoint, ROWS)
    assert "epoch 17 of 20, the best on the validation subjects by val/loss\n" in told
    assert "epoch 17 of 20, the best on the validation subjects\n" in card()


@pytest.mark.parametrize(
    "text",
    [
        "# Model card: mixed-pcc",
        "Segments 2 structures in T1w + T2w volumes",
        "kernel `mixed`, loss `pcc`; 1,598,900 trained parameters",
        "epoch 17 of 20",
        "`Calibrated`; seed 0, split 2",
        "commit abc-dirty",
        "48x48x48 voxels with a field of view of 200 to 240 mm",
        "mine; 2 train, 1 validation, 2 test subjects",
        "Licence of the data: CC BY-NC",
        "Credit: the scanner's owner",
        "| liver | 0.700 | 0.141 | 3.00 | 2 |",
        "| spleen | 0.500 | - | 1.00 | 1 |",
        "arxiv.org/abs/2201.03644",
        "The data: the scanner's owner.",
    ],
)
def test_the_card_says(text: str) -> None:
    assert text in re.sub(" +", " ", card())  # without the padding of the table


def test_a_card_says_what_intensities_were_clipped_to() -> None:
    assert "mm, clipped to intensities of -160 to 240.5, z-scored over" in card(
        preparation={"window": [-160, 240.5]}
    )
    assert "240 mm, z-scored over" in card(preparation={"window": None})


def test_a_network_with_kernels_of_its_own_is_named_alone() -> None:
    record = RECORD | {"choices": {"network": "vnet", "loss": "dice_ce"}}
    text = model_card(CONFIG, record, {"epoch": 0, "description": {"data": DATA}}, ROWS)
    assert "volumes: network `vnet`, loss `dice_ce`;" in text


def test_weights_that_the_training_started_from_are_named() -> None:
    weights = {"path": "runs/*", "digest": "ab12", "loaded": 1598880, "new": 20, "left_out": 0}
    record = RECORD | {"weights": weights}
    text = model_card(CONFIG, record, {"epoch": 0, "description": {"data": DATA}}, ROWS)
    assert "- Started from: the weights of runs/\\*, digest `ab12`; 1,598,880 param" in text
    assert "loaded, 20 new\n" in text


def test_an_unknown_licence_is_not_passed_over() -> None:
    assert "Licence of the data: not stated" in card(licence=None)


def test_the_mean_is_that_of_the_subjects() -> None:
    (line,) = (line for line in card().splitlines() if line.startswith("| **mean**"))
    assert line.split()[3] == f"**{(0.65 + 0.6) / 2:.3f}**"


def test_a_checkpoint_without_a_description_has_a_card_too() -> None:
    text = model_card(CONFIG, copy.deepcopy(RECORD), {"epoch": 0, "description": None}, ROWS)
    assert "epoch 1 of 20" in text


def test_what_the_data_set_calls_itself_is_nothing_but_text() -> None:
    text = "a\n# b <img src=x> [c](http://d) `e` \x1b[2J"
    found = card(name=text, credit=text, licence=text, channels=[text])
    assert found.count(r"a # b \<img src=x> [c\](http://d) \`e\` \x1b[2J") == 5
    assert "\n# b" not in found
