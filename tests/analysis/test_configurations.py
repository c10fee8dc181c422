from pathlib import Path
from typing import Any

import pytest

from src.analysis import Configuration, find_configurations, read_run
from synthetic_runs import write_small_run


def configurations(
    folder: Path, *runs: dict[str, Any], ignored: list[str] | None = None
) -> list[Configuration]:
    records = [
        read_run(write_small_run(folder / str(number), **run)) for number, run in enumerate(runs)
    ]
    return find_configurations(records, ignored or [])


def test_splits_and_seeds_repeat_a_configuration(tmp_path: Path) -> None:
    runs = [{"split": split, "seed": seed} for split in (0, 1) for seed in (0, 1)]
    (found,) = configurations(tmp_path, *runs)
    assert found.runs == {1e-3: (0, 1, 2, 3)}


def test_learning_rates_are_an_axis_of_a_configuration(tmp_path: Path) -> None:
    (found,) = configurations(tmp_path, {"rate": 1e-2}, {"rate": 1e-4}, {"rate": 1e-2, "seed": 1})
    assert found.runs == {1e-4: (1,), 1e-2: (0, 2)}


def test_technical_settings_make_no_configuration(tmp_path: Path) -> None:
    keys = ("data.num_workers", "logger.csv.x", "trainer.enable_progress_bar", "data.root")
    (found,) = configurations(tmp_path, {}, {"settings": dict.fromkeys(keys, 7), "seed": 1})
    assert found.label == "mixed · PCC"


@pytest.mark.parametrize(
    ("key", "value", "label"),
    [
        ("trainer.max_epochs", 300, "mixed · PCC · max_epochs 300"),
        ("data.source.size", 128, "mixed · PCC · size 128"),
        ("augmentation.probability", 0.8, "mixed · PCC · probability 0.8"),
    ],
)
def test_any_other_setting_makes_another_configuration(
    tmp_path: Path, key: str, value: object, label: str
) -> None:
    usual = {"augmentation.probability": 0.0}
    found = configurations(tmp_path, {"settings": usual}, {"settings": usual | {key: value}})
    assert len(found) == 2
    assert label in [c.label for c in found]


def test_an_option_names_what_it_sets(tmp_path: Path) -> None:
    found = configurations(tmp_path, {"decision": "argmax"}, {"decision": "calibrated"})
    assert [c.label for c in found] == ["mixed · PCC · argmax", "mixed · PCC · calibrated"]
    assert [c.id for c in found] == ["mixed-pcc-argmax", "mixed-pcc-calibrated"]


def test_a_setting_that_only_newer_runs_record_splits_nothing(tmp_path: Path) -> None:
    (found,) = configurations(
        tmp_path, {}, {"seed": 1, "settings": {"loss.include_background": True}}
    )
    assert len(found.runs[1e-3]) == 2


def test_the_user_can_ignore_a_setting(tmp_path: Path) -> None:
    runs = [
        {"settings": {"trainer.accelerator": "cpu"}},
        {"settings": {"trainer.accelerator": "gpu"}, "seed": 1},
    ]
    assert len(configurations(tmp_path / "a", *runs)) == 2
    (found,) = configurations(tmp_path / "b", *runs, ignored=["trainer.accelerator"])
    assert found.label == "mixed · PCC"


def test_two_kernel_sizes_of_one_kernel_are_told_apart(tmp_path: Path) -> None:
    key = "kernel.conventional.kernel_size"
    found = configurations(
        tmp_path,
        {"settings": {key: 3}},
        {"settings": {key: 5}},
        {"kernel": "gabor", "settings": {}},
    )
    assert [c.label for c in found] == [
        "Gabor · PCC",
        "mixed · PCC · kernel_size 3",
        "mixed · PCC · kernel_size 5",
    ]


def test_the_order_is_that_of_the_paper(tmp_path: Path) -> None:
    pairs = [
        ("mixed", "dice"),
        ("gabor", "cross_entropy"),
        ("conventional", "pcc"),
        ("mixed", "pcc"),
    ]
    found = configurations(tmp_path, *({"kernel": kernel, "loss": loss} for kernel, loss in pairs))
    assert [c.label for c in found] == [
        "conventional · PCC",
        "Gabor · cross-entropy",
        "mixed · PCC",
        "mixed · Dice",
    ]


def test_tables_without_settings_are_never_mixed_with_recorded_runs(tmp_path: Path) -> None:
    recorded = write_small_run(tmp_path / "run")
    bare = write_small_run(tmp_path / "h100_mixed_pcc")
    for name in ("config.yaml", "run.json", "done.json"):
        (bare / name).unlink()
    found = find_configurations([read_run(recorded), read_run(bare)])
    assert sorted(c.label for c in found) == ["mixed · PCC", "mixed · PCC · h100"]
