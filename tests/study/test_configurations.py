from pathlib import Path
from typing import Any

import pytest

from gaborseg.runs import TECHNICAL
from gaborseg.study import Configuration
from gaborseg.study.configurations import find_configurations
from gaborseg.study.run_folders import read_run
from synthetic_runs import study_of, tidied, write_small_run


def configurations(
    folder: Path, *runs: dict[str, Any], ignored: list[str] | None = None
) -> list[Configuration]:
    records = [
        read_run(write_small_run(folder / str(number), **run)) for number, run in enumerate(runs)
    ]
    return find_configurations(records, [*TECHNICAL, *(ignored or [])])


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


WEIGHTS = {"weights.path": "outputs/runs/default", "weights.freeze": [], "weights.rate": 1}


def labels_of(folder: Path, *changes: dict[str, Any]) -> list[str]:
    """The labels of runs that start from trained weights, and of one that does not."""
    runs = [{}, *({"settings": WEIGHTS | change} for change in changes)]
    return [found.label.removeprefix("mixed · PCC") for found in configurations(folder, *runs)]


def test_a_run_from_trained_weights_is_told_by_where_they_come_from(tmp_path: Path) -> None:
    assert labels_of(tmp_path, {}) == ["", " · from default"]


def test_fine_tuned_runs_are_told_apart_by_rate_and_by_what_is_frozen(tmp_path: Path) -> None:
    frozen = {"weights.freeze": ["encoder", "decoder.0"]}
    both = labels_of(tmp_path, {"weights.rate": 0.1}, frozen, frozen | {"weights.rate": 0.1})
    assert both == [
        "",
        " · from default, 0.1x rate",
        " · from default, 0.1x rate, encoder + decoder.0 frozen",
        " · from default, encoder + decoder.0 frozen",
    ]


def test_sources_of_one_name_are_told_by_their_paths(tmp_path: Path) -> None:
    paths = [{"weights.path": f"/{home}/outputs/runs/default"} for home in "ab"]
    assert labels_of(tmp_path, *paths) == [
        "",
        " · from /a/outputs/runs/default",
        " · from /b/outputs/runs/default",
    ]


def test_a_label_of_a_fine_tuned_run_survives_a_tidy_table(tmp_path: Path) -> None:
    for name, settings in (("scratch", {}), ("tuned", WEIGHTS | {"weights.rate": 0.1})):
        write_small_run(tmp_path / "runs" / name, settings=settings)
    study = tidied(study_of(tmp_path / "runs"), tmp_path / "tidy")
    labels = [c.label for c in study.configurations]
    assert labels == ["mixed · PCC", "mixed · PCC · from default, 0.1x rate"]


def test_splits_with_names_repeat_a_configuration_in_a_tidy_table_too(tmp_path: Path) -> None:
    for name in ("siteA", "siteB"):
        settings = {"data.split_file": f"{name}.json"}
        write_small_run(tmp_path / "runs" / name, settings=settings)
    study = tidied(study_of(tmp_path / "runs"), tmp_path / "kept")
    assert [c.runs for c in study.configurations] == [{1e-3: (0, 1)}]
    assert [run.split for run in study.runs] == ["siteA", "siteB"]


def test_a_path_in_a_tidy_table_hides_no_other_setting(tmp_path: Path) -> None:
    rows = [f"{gamma},outputs/runs/default,a,inner,0.5" for gamma in (1, 2)]
    lines = ["gamma,weights.path,subject,structure,dice", *rows]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    assert len(study_of(tmp_path).configurations) == 2


def test_the_order_of_a_tables_columns_means_nothing(tmp_path: Path) -> None:
    for seed, columns in enumerate(("kernel,loss", "loss,kernel")):
        cells = dict(zip(("kernel", "loss"), ("gabor", "pcc"), strict=True))
        told = ",".join(cells[name] for name in columns.split(","))
        rows = f"{columns},seed,subject,structure,dice\n{told},{seed},a,inner,0.5\n"
        (tmp_path / f"{seed}.csv").write_text(rows)
    assert len(study_of(tmp_path).configurations) == 1


def test_a_column_of_somebodys_own_is_said_in_the_label(tmp_path: Path) -> None:
    lines = ["kernel,loss,gamma,site,subject,structure,dice"]
    lines += [f"mixed,pcc,{gamma},A,sub-1,inner,0.5" for gamma in ("1", "0.5")]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    labels = [c.label for c in study_of(tmp_path).configurations]
    assert sorted(labels) == ["mixed · PCC · gamma 0.5", "mixed · PCC · gamma 1"]


def test_a_column_that_only_some_runs_fill_tells_them_apart(tmp_path: Path) -> None:
    lines = ["kernel,loss,gamma,subject,structure,dice"]
    lines += [f"mixed,pcc,{gamma},sub-1,inner,0.5" for gamma in ("", "2")]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    labels = [c.label for c in study_of(tmp_path).configurations]
    assert sorted(labels) == ["mixed · PCC", "mixed · PCC · gamma 2"]


def test_gabor_layers_of_before_were_drawn_and_trained_as_it_was_then(tmp_path: Path) -> None:
    layer = "network.convolutions.0."
    before = {f"{layer}_target_": "src.layers.GaborConv3d"}
    same = before | {f"{layer}initial": "uniform", f"{layer}rates.sigma": 1}
    other = before | {f"{layer}initial": "white", f"{layer}rates.sigma": 10}
    found = configurations(
        tmp_path, {"settings": before}, {"settings": same, "seed": 1}, {"settings": other}
    )
    assert sorted(runs for c in found for runs in c.runs.values()) == [(0, 1), (2,)]


def test_rates_make_no_configuration_where_no_layer_has_them(tmp_path: Path) -> None:
    runs = [{"kernel": "conventional", "settings": {"rates.sigma": rate}} for rate in (1, 10)]
    layer = {"kernel.gabor._target_": "gaborseg.layers.GaborConv3d"}
    runs += [
        {"kernel": "gabor", "settings": layer | {"kernel.gabor.rates.sigma": rate}}
        for rate in (1, 10)
    ]
    found = configurations(tmp_path, *runs)
    labels = ["conventional · PCC", "Gabor · PCC · sigma 1", "Gabor · PCC · sigma 10"]
    assert [c.label for c in found] == labels


def test_a_run_without_settings_is_told_by_those_in_its_name(tmp_path: Path) -> None:
    names = [f"kernel=mixed,loss=pcc,network.dropout={rate},seed=0" for rate in ("0", "0.1")]
    records = [read_run(bare_run(tmp_path / name)) for name in names]
    labels = [c.label for c in find_configurations(records)]
    assert labels == ["mixed · PCC · dropout 0", "mixed · PCC · dropout 0.1"]


def test_an_option_names_what_it_sets(tmp_path: Path) -> None:
    found = configurations(tmp_path, {"decision": "argmax"}, {"decision": "calibrated"})
    assert [c.label for c in found] == ["mixed · PCC · argmax", "mixed · PCC · calibrated"]
    assert [c.id for c in found] == ["mixed-pcc-argmax", "mixed-pcc-calibrated"]


def test_an_option_of_several_groups_is_said_with_its_group(tmp_path: Path) -> None:
    for name in ("none", "paper"):
        bare_run(tmp_path / f"augmentation={name},kernel=mixed,loss=pcc,seed=0")
    found = find_configurations([read_run(folder) for folder in sorted(tmp_path.iterdir())])
    assert [c.label for c in found] == [
        "mixed · PCC · augmentation none",
        "mixed · PCC · augmentation paper",
    ]


def test_a_setting_that_only_newer_runs_record_splits_nothing_and_is_told(tmp_path: Path) -> None:
    settings = {"loss.include_background": True}
    write_small_run(tmp_path / "old")
    write_small_run(tmp_path / "new", seed=1, settings=settings, commit="b" * 40)
    study = study_of(tmp_path)
    assert len(study.configurations) == 1
    assert "do not record loss.include_background; their runs count" in study.notes[-1]


def test_a_setting_that_one_run_of_a_version_lacks_makes_another_configuration(
    tmp_path: Path,
) -> None:
    added = {"trainer.limit_train_batches": 2}
    found = configurations(tmp_path, {}, {"seed": 1, "settings": added})
    assert [c.label for c in found] == ["mixed · PCC", "mixed · PCC · limit_train_batches 2"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"data.augmentation": None}, {"data.augmentation.probability": 0.8}),
        ({"network.channels": [12, 24]}, {"network.channels": [12, 24, 48]}),
    ],
)
def test_null_and_a_shorter_list_are_values_in_any_version(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any]
) -> None:
    runs = [{"settings": one}, {"settings": other, "seed": 1, "commit": "b" * 40}]
    assert len({c.label for c in configurations(tmp_path, *runs)}) == 2


def test_a_group_without_any_setting_that_counts_is_none(tmp_path: Path) -> None:
    bar = {"callbacks.progress._target_": "gaborseg.training.ProgressBar"}
    (found,) = configurations(
        tmp_path, {"settings": bar}, {"settings": {"callbacks": {}}, "seed": 1}
    )
    assert found.label == "mixed · PCC"


def bare_run(folder: Path) -> Path:
    write_small_run(folder)
    for name in ("config.yaml", "run.json", "done.json"):
        (folder / name).unlink()
    return folder


def test_tables_without_settings_change_no_label_of_recorded_runs(tmp_path: Path) -> None:
    bare = bare_run(tmp_path / "h100_mixed_pcc_calibrated")
    runs = [write_small_run(tmp_path / loss, loss=loss) for loss in ("pcc", "dice")]
    found = find_configurations([read_run(folder) for folder in (bare, *runs)])
    labels = ["mixed · PCC · argmax", "mixed · PCC · h100, calibrated", "mixed · Dice · argmax"]
    assert [c.label for c in found] == labels


def test_how_the_data_were_prepared_is_a_setting(tmp_path: Path) -> None:
    sizes = configurations(tmp_path / "a", *({"data": {"size": [n] * 3}} for n in (64, 128)))
    assert [c.label for c in sizes] == ["mixed · PCC · size 128", "mixed · PCC · size 64"]
    recipes = [{"data": {"preparation": {"version": 1, "forms": form}}} for form in ("q", "s")]
    forms = configurations(tmp_path / "b", *recipes)
    assert [c.label for c in forms] == ["mixed · PCC · forms q", "mixed · PCC · forms s"]


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


def test_a_network_with_kernels_of_its_own_is_called_by_its_name(tmp_path: Path) -> None:
    found = configurations(
        tmp_path,
        {"kernel": "nnunet", "loss": "dice"},
        {"kernel": "vnet"},
        {"kernel": "gabor"},
        {"kernel": "mixed", "settings": {"network": {"_target_": "gaborseg.networks.VNetDS"}}},
    )
    assert [(c.kernel, c.label) for c in found] == [
        ("gabor", "Gabor · PCC"),
        ("mixed", "mixed · PCC"),
        ("vnet", "V-Net · PCC"),
        ("nnunet", "nnU-Net U-Net · Dice"),
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
