import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from config import CONF, compose_config, register_resolvers, sweep_cells
from gaborseg.experiment.run import describe_run
from gaborseg.interface import SweepComposer, effective_choices, own_choices
from gaborseg.interface.configuration import find_plugins
from gaborseg.runs import run_name

SWEEPS = sorted(path.stem for path in (CONF.parent / "sweeps").glob("*.yaml"))


def name_of(*overrides: str) -> str:
    """The name of the run of a command, without its folder."""
    config = compose_config(overrides, hydra=True)
    choices = effective_choices(config, config.hydra.runtime.choices)
    return describe_run(config, Path("run"), of_groups(choices)).name


def of_groups(choices: Mapping[str, str]) -> dict[str, str]:
    return {group: o for group, o in choices.items() if not group.startswith("hydra/")}


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ("", "mixed-pcc-lr0.003-split0"),
        ("kernel=gabor loss=dice optimizer.lr=1e-2 split=3", "gabor-dice-lr0.01-split3"),
        ("optimizer.lr=0.00031622776601683794", "mixed-pcc-lr10^-3.5-split0"),
        ("seed=1", "mixed-pcc-lr0.003-split0-seed=1"),
        ("network.dropout=0.2", "mixed-pcc-lr0.003-split0-network.dropout=0.2"),
        ("rates.sigma=5", "mixed-pcc-lr0.003-split0-rates.sigma=5"),
        ("kernel.gabor.initial=uniform", "mixed-pcc-lr0.003-split0-kernel.gabor.initial=uniform"),
        (
            "seed=1 precision=64-true trainer=cpu augmentation=none",
            "mixed-pcc-lr0.003-split0-augmentation=none-trainer=cpu-precision=64-true-seed=1",
        ),
        ("experiment=paper", "mixed-pcc-lr0.001-split0-experiment=paper"),
        ("network=nnunet", "nnunet-pcc-lr0.003-split0"),
        ("network=vnet loss=dice", "vnet-dice-lr0.003-split0"),
        (
            "+metrics.mine.num_classes=${network.num_classes}",
            "mixed-pcc-lr0.003-split0-metrics.mine.num_classes=network.num_classes",
        ),
        (
            "weights=outputs/runs/default weights.rate=0.1 weights.freeze=[encoder,decoder.0]",
            "mixed-pcc-lr0.003-split0-weights.freeze=encoder,decoder.0-weights.rate=0.1"
            "-weights=default",
        ),
        (
            "+sweeps=evidence_rates",
            "mixed-pcc-lr0.003-split0-augmentation=none-trainer.max_epochs=5",
        ),
    ],
)
def test_a_name_says_what_the_experiment_sets_otherwise(overrides: str, name: str) -> None:
    assert name_of(*overrides.split()) == name


@pytest.mark.parametrize(
    "override",
    ["seed=0", "trainer.max_epochs=40", "logger=csv", "data.num_workers=1", "pause_after=3"],
)
def test_what_is_the_default_or_never_decides_a_result_is_not_said(override: str) -> None:
    assert name_of(override) == "mixed-pcc-lr0.003-split0"


def test_a_name_depends_on_the_choices_alone() -> None:
    assert name_of("seed=1", "loss=dice") == name_of("+sweeps=losses", "loss=dice", "seed=1")


def test_a_long_name_is_cut_and_still_its_own() -> None:
    names = {name_of("data=folder", f"data.root=/{'long/' * 40}{end}") for end in "ab"}
    assert len(names) == 2
    assert {len(name) for name in names} == {120}
    start = "mixed-pcc-lr0.003-split0-data=folder-data.root=_long_"
    assert all(name.startswith(start) for name in names)


def test_a_name_has_no_characters_that_trackers_refuse() -> None:
    assert run_name(["a b", "c/d:e", "f=[1, 2]"]) == "a_b-c_d_e-f=_1,_2_"


def test_options_of_the_users_own_folder_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("_target_: gaborseg.losses.PCCLoss\n")
    find_plugins()
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        found = f"hydra.searchpath=[file://{tmp_path}]"
        config = compose("config", ["loss=mine", "seed=4", found], return_hydra_config=True)
        choices = of_groups(config.hydra.runtime.choices)
        monkeypatch.setattr(HydraConfig.instance(), "cfg", config)
        assert own_choices(config, choices, but=["loss"]) == ["seed=4"]


@pytest.mark.slow
@pytest.mark.parametrize("sweep", SWEEPS)
def test_runs_of_a_sweep_have_names_of_their_own(sweep: str) -> None:
    cells = sweep_cells([f"+sweeps={sweep}"])
    cells = random.Random(0).sample(cells, min(len(cells), 8))
    needed = ["data.root=somewhere"] if sweep.startswith("malc_") else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        chosen = [f"+sweeps={sweep}", *needed]
        whole = hydra.compose_config("config", chosen, RunMode.MULTIRUN, False)
        composer = SweepComposer(hydra.config_loader, whole)
        names = set()
        for number, cell in enumerate(cells):
            config = composer([*cell, *needed], number)
            choices = effective_choices(config, of_groups(config.hydra.runtime.choices))
            names.add(describe_run(config, Path("run"), choices).name)
    assert len(names) == len(cells)
    assert max(map(len, names)) <= 120
