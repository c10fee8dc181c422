"""YAML files of the user's own that cannot be read: one line that names them."""

from pathlib import Path

import pytest
import yaml
from hydra.errors import HydraException

from config import compose_config
from gaborseg.commands.sweep_yaml import wandb_sweep
from gaborseg.interface import UserError, mistakes_as_user_errors
from gaborseg.interface.configuration import unreadable_settings

UNREADABLE = {
    "Latin-1": "a: \xe9".encode("latin-1"),
    "UTF-16": "a: 1".encode("utf-16"),
    "no YAML": b"a: [1",
    "a key twice": b"a: 1\na: 2",
    "deep": b"[" * 10_000,
    "an object": b"!!python/object/apply:os.system ['false']",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep in the working directory that is still to be written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    return tmp_path / "sweeps" / "mine.yaml"


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_sweep_that_cannot_be_read_is_named(content: bytes, own: Path) -> None:
    own.write_bytes(content)
    with pytest.raises(HydraException, match=r"sweeps/mine\.yaml cannot be read: "):
        compose_config(["+sweeps=mine"])


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("augmentation.transforms.mine", "; +augmentation.transforms.mine=... adds one"),
        ("logger.mine._target_", "; +logger.mine._target_=... adds one"),
        ("optimizer.rate", ""),
    ],
)
def test_what_can_be_added_is_said_to_need_a_plus(key: str, remedy: str) -> None:
    with pytest.raises(HydraException) as refused:
        compose_config([f"{key}=1"])
    with pytest.raises(UserError) as error, mistakes_as_user_errors():
        raise HydraException(str(refused.value))
    assert str(error.value) == f"there is no setting {key}; --cfg job shows all settings{remedy}"


@pytest.mark.parametrize("params", ["[1]", "5", "null", "{}", "text"])
def test_a_sweep_over_nothing_is_refused(params: str, own: Path) -> None:
    own.write_text(f"# @package _global_\nhydra: {{sweeper: {{params: {params}}}}}\n")
    with pytest.raises(UserError, match=r"hydra\.sweeper\.params must map settings to values, got"):
        wandb_sweep("mine")


@pytest.mark.parametrize("name", ["Latin-1", "UTF-16", "deep"])
def test_an_option_of_the_users_own_that_cannot_be_read_is_named(name: str, own: Path) -> None:
    own.write_bytes(UNREADABLE[name])
    (own.parent / "another.yaml").write_text("a: 1")
    error = UnicodeDecodeError("utf-8", b"x", 0, 1, "invalid start byte")
    told = unreadable_settings([f"--config-dir={own.parent}", "seed=1"], error)
    assert told is not None
    assert told.startswith(f"{own} cannot be read: ")
    own.unlink()
    assert unreadable_settings([f"--config-dir={own.parent}"], error) is None
    assert unreadable_settings(["seed=1"], error) is None


def test_what_is_no_yaml_names_its_file_itself(own: Path) -> None:
    own.write_text("a: [1")
    with own.open() as file, pytest.raises(yaml.YAMLError) as error:
        yaml.safe_load(file)
    assert str(own.name) in str(unreadable_settings([], error.value))
