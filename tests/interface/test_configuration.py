import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from config import CONF, compose_config, sweep_cells
from gaborseg.experiment.additions import build_callback, build_logger, build_metrics
from gaborseg.interface import build
from gaborseg.interface.configuration import find_own_modules, overrides_first
from gaborseg.metrics import OwnMetrics
from gaborseg.runs import Run, folder_name

GROUPS = ("kernel", "loss", "network", "optimizer", "scheduler", "decision", "trainer", "logger")
GROUPS += ("callbacks", "metrics", "data", "augmentation", "experiment", "activation", "rates")
OF_NETWORKS = ("network", "kernel", "activation", "rates")
OPTIONS = [
    (group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("[!_]*.yaml"))
]
SWEEPS = sorted(path.stem for path in (CONF.parent / "sweeps").glob("*.yaml"))
CPU_EVIDENCE = {  # the sweeps behind the tables of docs/evidence/cohort.md, and their epochs
    "evidence_baselines": 20,
    **{f"evidence_{n}": 5 for n in ("cpu", "initial", "kernels", "network", "rates", "sigma")},
}
README = (CONF.parent / "README.md").read_text()
COMMANDS = re.findall(r"python -m src\.train([^#`\n]*)", README)


def options(group: str) -> list[str]:
    return [name for other, name in OPTIONS if other == group]


def test_every_group_is_tested() -> None:
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert groups == {*GROUPS, "hydra", "preset"}  # tests/preparation/test_presets.py


@pytest.mark.parametrize(
    ("group", "option"), [one for one in OPTIONS if one[0] in ("experiment", "activation", "rates")]
)
def test_every_option_that_builds_nothing_by_itself_composes(group: str, option: str) -> None:
    assert compose_config([f"{group}={option}"]).seed == 0


@pytest.mark.parametrize("kernel", options("kernel"))
def test_every_kernel_builds_a_network(kernel: str) -> None:
    config = compose_config([f"kernel={kernel}", "network.channels=[4,4,4,4,4]"]).network
    network = build(config, in_channels=1, num_classes=3)
    assert network(torch.randn(1, 1, 32, 32, 32)).shape == (1, 3, 32, 32, 32)


@pytest.mark.parametrize("network", options("network"))
def test_every_network_builds(network: str) -> None:
    assert isinstance(small_network(compose_config([f"network={network}"]).network), nn.Module)


@pytest.mark.parametrize("loss", options("loss"))
def test_every_loss_can_be_minimised(loss: str) -> None:
    logits = torch.randn(2, 3, 4, 4, 4, requires_grad=True)
    target = torch.randint(0, 3, (2, 4, 4, 4))
    build(compose_config([f"loss={loss}"]).loss)(logits, target).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() > 0


@pytest.mark.parametrize("optimizer", options("optimizer"))
@pytest.mark.parametrize("scheduler", options("scheduler"))
def test_every_optimizer_goes_with_every_schedule(optimizer: str, scheduler: str) -> None:
    config = compose_config([f"optimizer={optimizer}", f"scheduler={scheduler}", "optimizer.lr=1"])
    stepper = build(config.optimizer)([nn.Parameter(torch.ones(2))])
    schedule = build(config.scheduler)(stepper, total_steps=10)
    rates = []
    for _ in range(10):
        rates.append(schedule.get_last_lr()[0])
        stepper.step()
        schedule.step()
    assert max(rates) == pytest.approx(1)


@pytest.mark.parametrize("decision", options("decision"))
def test_every_decision_gives_a_label_map(decision: str) -> None:
    config = compose_config([f"decision={decision}", "network.num_classes=3"])
    labels = build(config.decision)(torch.randn(1, 3, 2, 2, 2))
    assert labels.shape == (1, 2, 2, 2)


@pytest.mark.parametrize("trainer", options("trainer"))
def test_every_trainer_builds(trainer: str) -> None:
    config = compose_config([f"trainer={trainer}", "trainer.accelerator=cpu"])
    devices = 2 if "ddp" in trainer else 1
    assert build(config.trainer).num_devices == devices


@pytest.mark.parametrize("logger", [name for name in options("logger") if name != "mlflow"])
def test_every_logger_builds(logger: str, tmp_path: Path) -> None:
    config = compose_config([f"logger={logger}"])
    run = Run(tmp_path, {"seed": 0}, "name", ("tag",), "group")
    built = [build_logger(node, run).name for node in config.logger.values()]
    names = {"none": [], "csv": ["csv"], "wandb": ["csv", "gaborseg"]}
    assert built == (names | {"tensorboard": ["csv", "tensorboard"]})[logger]


@pytest.mark.parametrize("callbacks", options("callbacks"))
def test_every_callback_builds(callbacks: str, tmp_path: Path) -> None:
    config = compose_config([f"callbacks={callbacks}"])
    run = Run(tmp_path, {"seed": 0}, "name", ("tag",), "group")
    assert all(build_callback(node, run) for node in config.callbacks.values())


@pytest.mark.parametrize("metrics", options("metrics"))
def test_every_metric_scores_label_maps(metrics: str) -> None:
    config = compose_config([f"metrics={metrics}", "network.num_classes=3"])
    OwnMetrics(build_metrics(config.metrics)).try_out((4, 4, 4), 3)


@pytest.mark.parametrize("augmentation", options("augmentation"))
@pytest.mark.parametrize("data", options("data"))
def test_every_data_set_and_augmentation_builds(
    data: str, augmentation: str, tmp_path: Path
) -> None:
    root = [f"data.root={tmp_path}"] if data == "folder" else []
    config = compose_config([f"data={data}", f"augmentation={augmentation}", "split=3", *root])
    assert build(config.data).split_index == 3


@pytest.mark.parametrize("where", ["cpu", "gpu"])
def test_the_papers_augmentation_builds_on_every_device(where: str) -> None:
    config = compose_config(["augmentation=paper", f"data.augment_on={where}"])
    assert build(config.data).augment_on == where


def test_the_sweeper_of_optuna_looks_for_the_best_validation_and_is_seeded() -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    sweeper = compose_config(["hydra/sweeper=optuna", "seed=3"], hydra=True).hydra.sweeper
    assert (sweeper.direction, sweeper.sampler.seed) == ("maximize", 3)
    built = Plugins.instance()._instantiate(sweeper)
    assert type(built).__name__ == "OptunaSweeper"


def test_the_paper_experiment_is_the_papers_protocol() -> None:
    config = compose_config(["experiment=paper"])
    assert config.data.source.size == 128
    assert config.trainer.max_epochs == 300
    assert config.trainer.devices * config.data.batch_size == 2
    assert config.loss._target_ == "gaborseg.losses.PCCLoss"
    assert config.decision._target_ == "gaborseg.decisions.Argmax"
    assert config.augmentation.transforms.affine.probability == 0.8
    assert (config.optimizer.eps, config.optimizer.momentum_decay) == (1e-7, 4e-3)
    assert config.scheduler._target_ == "gaborseg.training.constant"
    assert set(config.rates.values()) == {1}


def test_what_is_typed_wins_over_the_experiment() -> None:
    config = compose_config(["experiment=paper", "loss=dice", "trainer=cpu"])
    assert config.loss._target_ == "gaborseg.losses.DiceLoss"
    assert config.trainer.accelerator == "cpu"


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_readme_composes(line: str) -> None:
    words = [word for word in line.split() if word not in ("-m", "--help", "--multirun")]
    singles = [re.sub(r"=([\w.-]+),[\w.,-]+$", r"=\1", word) for word in words]
    assert compose_config([word for word in singles if "=" in word]).seed is not None


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 5


def test_a_run_folder_is_named_by_its_choices() -> None:
    config = compose_config(["loss=pcc", "kernel=gabor"], hydra=True)
    HydraConfig.instance().set_config(config)
    assert config.hydra.run.dir == "outputs/runs/kernel=gabor,loss=pcc"


def test_a_folder_is_named_by_the_value_of_a_reference_or_by_its_name_before_there_is_one() -> None:
    told = "metrics.jaccard.num_classes=${network.num_classes}"
    chosen = ["metrics=jaccard", told, "seed=3", "+metrics.jaccard.ignore_index=${seed}"]
    config = compose_config(chosen, hydra=True)
    assert config.hydra.run.dir == (
        "outputs/runs/+metrics.jaccard.ignore_index=3,metrics.jaccard.num_classes=network.num_classes,"
        "metrics=jaccard,seed=3"
    )


def test_folder_names_are_short_safe_and_distinct() -> None:
    assert folder_name(["data.root=/a b/ü"]) == "data.root=_a_b_ü"
    long = [folder_name([f"data.root={'x' * 300}{end}"]) for end in "ab"]
    assert len(set(long)) == 2
    assert all(len(name) <= 180 for name in long)


@pytest.mark.parametrize("augmentation", options("augmentation"))
def test_an_augmentation_says_its_question_and_its_cost(augmentation: str) -> None:
    header = (CONF / "augmentation" / f"{augmentation}.yaml").read_text().partition("_target_")[0]
    times = r"Cost: [\d.]+ ms a sample at 48\^3, [\d.]+ ms at 128\^3\."
    assert re.search(rf"# Question: .+\?.*{times}", header.replace("\n# ", " "), re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_says_its_question_its_runs_and_its_cost(sweep: str) -> None:
    header = (CONF.parent / "sweeps" / f"{sweep}.yaml").read_text()
    said = re.search(r"# Question: .+\n# Runs: (\d+).* Cost: ", header, re.DOTALL)
    assert said
    assert len(sweep_cells([f"+sweeps={sweep}"])) == int(said[1])


@pytest.mark.slow
@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_run_of_a_sweep_has_its_own_readable_folder(sweep: str) -> None:
    names = [folder_name(cell) for cell in sweep_cells([f"+sweeps={sweep}"])]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"([\w.]+=[\w.^-]+,?)+", name) and len(name) < 80 for name in names)


@pytest.mark.parametrize("sweep", CPU_EVIDENCE)
def test_the_quickstart_can_change_without_the_evidence_on_a_cpu(sweep: str) -> None:
    config = compose_config([f"+sweeps={sweep}"])
    assert config.augmentation.transforms == {}
    assert config.trainer.max_epochs == CPU_EVIDENCE[sweep]


def test_every_sweep_of_evidence_on_a_cpu_is_held_fixed() -> None:
    assert {name for name in SWEEPS if name.startswith("evidence_")} == {
        *CPU_EVIDENCE,
        "evidence_gpu",
    }


def test_the_papers_grid_is_the_papers() -> None:
    cells = [dict(choice.split("=") for choice in c) for c in sweep_cells(["+sweeps=paper_grid"])]
    kernels, losses, rates, splits = (
        {cell[key] for cell in cells} for key in ("kernel", "loss", "optimizer.lr", "split")
    )
    assert kernels == {"conventional", "gabor", "mixed"}
    assert losses == {"pcc", "dice", "cross_entropy"}
    assert {float(rate) for rate in rates} == {10**-4, 10**-3.5, 10**-3, 10**-2.5, 10**-2}
    assert splits == {"0", "1", "2", "3", "4"}


@pytest.mark.slow
@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_choice_of_a_sweep_can_be_built(sweep: str) -> None:
    for cell in covering(sweep_cells([f"+sweeps={sweep}"])):
        config = compose_config([*cell, "hydra.mode=RUN", "trainer=cpu"])
        network = same_small_network(OmegaConf.to_yaml(config.network, resolve=True))
        build(config.scheduler)(build(config.optimizer)(network.parameters()), total_steps=10)
        assert isinstance(build(config.loss), nn.Module)


def covering(cells: list[list[str]]) -> Iterator[list[str]]:
    """Few cells that have every choice, and every network together with each of its kernels."""
    left = set().union(*map(parts, cells))
    while left:
        best = max(cells, key=lambda cell: len(parts(cell) & left))
        left -= parts(best)
        yield best


def parts(cell: list[str]) -> set[str]:
    """The choices of a cell, those of its network as one."""
    network = [choice for choice in cell if choice.partition("=")[0] in OF_NETWORKS]
    return {*cell, " ".join(network)}


@cache
def same_small_network(node: str) -> nn.Module:
    """Build a network once for all cells that have it."""
    return small_network(OmegaConf.create(node))


def small_network(node: DictConfig) -> nn.Module:
    """Build a network with few channels where that can be told, else without its weights."""
    if "channels" in node:
        return build(node, in_channels=1, num_classes=3, channels=[4] * 5)
    size = {"size": [48] * 3} if "size" in node else {}
    with FakeTensorMode():
        return build(node, in_channels=1, num_classes=3, **size)


def test_the_baselines_are_compared_with_our_kernels_in_one_folder() -> None:
    ours = ["network=vnet_ds", "kernel=conventional,gabor,mixed"]
    cells = sweep_cells(["+sweeps=evidence_baselines", *ours])
    assert len(cells) == 6
    assert {"loss=pcc", "loss=dice_ce"} <= {choice for cell in cells for choice in cell}
    assert not any(choice in ("network=vnet", "network=nnunet") for c in cells for choice in c)


def test_what_is_typed_wins_over_the_sweep() -> None:
    cells = sweep_cells(["+sweeps=paper_grid", "kernel=gabor", "split=0", "trainer.max_epochs=2"])
    assert len(cells) == 15
    config = compose_config([*cells[0], "hydra.mode=RUN"], hydra=True)
    HydraConfig.instance().set_config(config)
    assert config.trainer.max_epochs == 2
    name = "kernel=gabor,loss=pcc,optimizer.lr=10^-4,split=0,trainer.max_epochs=2"
    assert config.hydra.run.dir == f"outputs/sweeps/paper_grid/{name}"


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("--config-dir", True),
        ("--config-dir=conf", True),
        ("-cd", True),
        ("trust=[my_kernels]", True),
        ("weights.trust=[my_kernels]", True),
        ("+sweeps=mine", True),
        ("loss._target_=my_losses.Mine", True),
        ("input=/scans/a-cd/b", False),
        ("weights.path=/runs/trust/b", False),
        ("title=trust=none", False),
        ("kernel=gabor", False),
    ],
)
def test_the_working_directory_is_searched_last_and_only_for_own_modules(
    argument: str, named: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["first"])
    monkeypatch.setenv("PYTHONPATH", "first")
    find_own_modules([argument])
    assert sys.path == ["first", *([str(tmp_path)] if named else [])]
    assert os.environ["PYTHONPATH"].split(os.pathsep) == sys.path  # for the runs of a sweep


def test_a_sweep_that_came_with_data_is_read_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["a0: &a0 [x, x]", *[f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40)]]
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "bomb.yaml").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HydraException, match=r"bomb\.yaml cannot be read: its aliases name"):
        compose_config(["+sweeps=bomb"])


@pytest.mark.parametrize(
    ("typed", "ordered"),
    [
        ("seed=0 -m split=0,1", "seed=0 split=0,1 -m"),
        ("--config-dir own seed=0 -m split=0 +x=1", "seed=0 split=0 +x=1 --config-dir own -m"),
        ("seed=0 --cfg job ~logger", "seed=0 ~logger --cfg job"),
        ("-m seed=0 split=0", "-m seed=0 split=0"),
        ("seed=0 --unknown split=0", "seed=0 --unknown split=0"),
    ],
)
def test_overrides_may_stand_on_both_sides_of_an_option(typed: str, ordered: str) -> None:
    assert overrides_first(typed.split()) == ordered.split()
