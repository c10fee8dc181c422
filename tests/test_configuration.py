import re
from pathlib import Path

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from torch import nn

from config import CONF, compose_config
from src.command import build, folder_name
from src.training import Run

GROUPS = ("kernel", "loss", "network", "optimizer", "scheduler", "decision", "trainer", "logger")
GROUPS += ("callbacks", "data", "augmentation", "experiment")
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
README = (CONF.parent / "README.md").read_text()
COMMANDS = re.findall(r"python -m src\.train([^#`\n]*)", README)


def options(group: str) -> list[str]:
    return [name for other, name in OPTIONS if other == group]


def test_every_group_is_tested() -> None:
    assert {path.name for path in CONF.iterdir() if path.is_dir()} == {*GROUPS, "hydra"}


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes(group: str, option: str) -> None:
    override = [f"{group}={option}"]
    if option == "folder":
        override.append("data.root=somewhere")
    assert compose_config(override).seed == 0


@pytest.mark.parametrize("kernel", options("kernel"))
def test_every_kernel_builds_a_network(kernel: str) -> None:
    config = compose_config([f"kernel={kernel}", "network.channels=[4,4,4,4,4]"]).network
    network = build(config, in_channels=1, num_classes=3)
    assert network(torch.randn(1, 1, 32, 32, 32)).shape == (1, 3, 32, 32, 32)


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


@pytest.mark.parametrize("logger", options("logger"))
def test_every_logger_builds(logger: str, tmp_path: Path) -> None:
    config = compose_config([f"logger={logger}"])
    run = Run(tmp_path, {"seed": 0}, "name", ("tag",), "group")
    built = [build(node)(run).name for node in config.logger.values()]
    assert built == {"none": [], "csv": ["csv"], "wandb": ["csv", "gaborseg"]}[logger]


@pytest.mark.parametrize("callbacks", options("callbacks"))
def test_every_callback_builds(callbacks: str) -> None:
    config = compose_config([f"callbacks={callbacks}"])
    assert all(build(node) for node in config.callbacks.values())


@pytest.mark.parametrize("augmentation", options("augmentation"))
@pytest.mark.parametrize("data", options("data"))
def test_every_data_set_and_augmentation_builds(
    data: str, augmentation: str, tmp_path: Path
) -> None:
    root = [f"data.root={tmp_path}"] if data == "folder" else []
    config = compose_config([f"data={data}", f"augmentation={augmentation}", "split=3", *root])
    assert build(config.data).split_index == 3


def test_the_paper_experiment_is_the_papers_protocol() -> None:
    config = compose_config(["experiment=paper"])
    assert config.data.source.size == 128
    assert config.trainer.max_epochs == 300
    assert config.trainer.devices * config.data.batch_size == 2
    assert config.loss._target_ == "src.losses.PCCLoss"
    assert config.decision._target_ == "src.training.Argmax"
    assert config.augmentation.probability == 0.8
    assert (config.optimizer.eps, config.optimizer.momentum_decay) == (1e-7, 4e-3)
    assert config.scheduler._target_ == "src.training.constant"


def test_what_is_typed_wins_over_the_experiment() -> None:
    config = compose_config(["experiment=paper", "loss=dice", "trainer=cpu"])
    assert config.loss._target_ == "src.losses.DiceLoss"
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


def test_folder_names_are_short_safe_and_distinct() -> None:
    assert folder_name(["data.root=/a b/ü"]) == "data.root=_a_b_ü"
    long = [folder_name([f"data.root={'x' * 300}{end}"]) for end in "ab"]
    assert len(set(long)) == 2
    assert all(len(name) <= 180 for name in long)
