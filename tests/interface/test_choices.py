from pathlib import Path

import pytest
from omegaconf import OmegaConf

from config import compose_config
from gaborseg.interface import (
    UserError,
    check_paths,
    effective_choices,
    refuse_idle_kernel,
    refuse_missing_parts,
    takes_kernels,
)
from warm import run_command


@pytest.mark.parametrize(
    ("overrides", "takes"),
    [
        ([], True),
        (["network=vnet_ds_tiny", "kernel=gabor"], True),
        (["network=vnet"], False),
        (["network=nnunet"], False),
        (["network=hnoseg_xs"], False),
        (["experiment=smoke", "network=nnunet"], False),
    ],
)
def test_a_network_takes_the_kernels_that_it_refers_to(overrides: list[str], takes: bool) -> None:
    config = compose_config(overrides)
    assert takes_kernels(config) is takes
    choices = {"kernel": "mixed", "network": "any", "loss": "pcc"}
    assert ("kernel" in effective_choices(config, choices)) is takes


@pytest.mark.parametrize(
    "override",
    [
        "kernel=gabor",
        "kernel.conventional.kernel_size=5",
        "+kernel.more=1",
        "~kernel",
        "rates=equal",
        "activation=relu",
    ],
)
def test_a_kernel_without_effect_is_refused(override: str) -> None:
    config = compose_config(["network=vnet"])
    with pytest.raises(UserError) as error:
        refuse_idle_kernel(config, {"network": "vnet"}, ["network=vnet", override])
    wanted = "must be left out with network=vnet, which has kernels of its own"
    assert str(error.value) == f"{override} {wanted}"


@pytest.mark.parametrize("overrides", [["network=vnet"], ["network=vnet", "data.kernel=3"], []])
def test_what_has_an_effect_is_not_refused(overrides: list[str]) -> None:
    refuse_idle_kernel(compose_config(["network=vnet"]), {"network": "vnet"}, overrides)
    refuse_idle_kernel(compose_config(), {"network": "vnet_ds"}, ["kernel=gabor"])


def test_rates_without_gabor_kernels_are_no_choice() -> None:
    choices = {"kernel": "any", "rates": "tenfold", "activation": "elu"}
    assert effective_choices(compose_config(["kernel=mixed"]), choices) == choices
    without = {"kernel": "any", "activation": "elu"}
    assert effective_choices(compose_config(["kernel=conventional"]), choices) == without


def test_a_network_of_its_own_kernels_may_be_told_its_activation() -> None:
    config = compose_config(["network=vnet", "+network.act=${activation}"])
    refuse_idle_kernel(config, {"network": "mine"}, ["activation=relu"])
    choices = {"kernel": "mixed", "activation": "relu"}
    assert effective_choices(config, choices) == {"activation": "relu"}


@pytest.mark.slow
def test_the_command_refuses_it_in_one_line(tmp_path: Path) -> None:
    words = ["network=nnunet", "kernel=gabor", "experiment=smoke"]
    done = run_command("src.train", *words, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: kernel=gabor must be left out with network=nnunet, which has kernels of its own"
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("~loss", "loss must be one of its options, got None: --help lists them"),
        ("~optimizer", "optimizer must be one of its options, got {'lr': 0.003}: --help lists"),
        ("callbacks.progress=null", r"callbacks\.progress must have a _target_, got None; ~callb"),
        (
            "+callbacks.mine.patience=3",
            r"callbacks\.mine must have a _target_, got {'patience': 3}",
        ),
        ("logger.csv=5", r"logger\.csv must have a _target_, got 5; ~logger\.csv leaves it out"),
    ],
)
def test_a_part_that_nothing_can_be_built_from_is_refused(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        refuse_missing_parts(compose_config([override]))


def test_no_logger_and_no_callback_are_parts_enough() -> None:
    refuse_missing_parts(compose_config(["logger=none", "~callbacks.progress"]))


@pytest.mark.parametrize("paths", [["{}"], ["{}", "{}/*"]])
def test_paths_of_a_composed_list_are_looked_for_one_by_one(
    paths: list[str], tmp_path: Path
) -> None:
    (tmp_path / "there").touch()
    check_paths("data.root", OmegaConf.create([path.format(tmp_path) for path in paths]))
    with pytest.raises(UserError, match=r"data\.root must name what exists, got /nowhere"):
        check_paths("data.root", OmegaConf.create([str(tmp_path), "/nowhere"]))


@pytest.mark.slow
def test_null_is_no_option() -> None:
    ended = run_command("src.train", "loss=null")
    assert ended.returncode == 2
    assert ended.stderr == "error: null is no option of a group: --help lists those there are\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("hydra.run.dir=a,b=0", "hydra.run.dir must be readable, got a,b=0: quote it: "),
        ("loss=[a", """loss must be readable, got [a: quote it: 'loss="[a"'"""),
        ("a b=3", "a b=3 must be a setting, such as seed=1"),
        ("gabor", "gabor must be a setting, such as seed=1\n"),
    ],
)
def test_an_argument_that_cannot_be_read_is_named(argument: str, message: str) -> None:
    ended = run_command("src.train", argument)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {message}")
    assert ended.stderr.count("\n") == 1
