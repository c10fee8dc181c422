from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue

from config import CONF
from gaborseg.data import AtlasCohort
from gaborseg.data.folder import Folder
from gaborseg.interface import build


@pytest.fixture
def configured() -> Iterator[object]:
    def composed(*overrides: str) -> DictConfig:
        given = [f"+{override}" for override in (*overrides, "split=3", "seed=7")]
        return compose(config_name=None, overrides=given)

    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield composed


def test_the_atlas_is_the_papers_set_up_at_48(configured) -> None:
    data = build(configured("data=atlas", "augmentation=paper").data)
    assert isinstance(data.source, AtlasCohort)
    assert (data.source.size, data.source.num_subjects, data.source.seed) == (48, 43, 0)
    assert (data.split_index, data.seed) == (3, 7)
    (affine,) = data.augmentation.transforms
    assert (affine.probability, affine.degrees) == (0.8, 30)
    assert (tuple(affine.scale), affine.shift) == ((0.8, 1.2), 0.2)


def test_no_augmentation_is_no_transform(configured) -> None:
    assert build(configured("data=atlas", "augmentation=none").data).augmentation.transforms == []


@pytest.mark.parametrize("option", ["atlas", "folder"])
def test_patches_are_chosen_by_their_size(configured, option: str, tmp_path: Path) -> None:
    cfg = configured(f"data={option}", "augmentation=none")
    cfg.data.update({"root": str(tmp_path)} if option == "folder" else {})
    assert build(cfg.data).patches is None
    cfg.data.update({"patch_size": 32, "patches_per_volume": 4, "patch_sampler": "label"})
    patches = build(cfg.data).patches
    assert (patches.patch_size, patches.count, patches.sampler) == (32, 4, "label")


def test_a_folder_is_named_by_root(configured, tmp_path: Path) -> None:
    cfg = configured("data=folder", "augmentation=none")
    cfg.data.root = str(tmp_path)
    source = build(cfg.data).source
    assert isinstance(source, Folder)
    assert source.root == tmp_path


def test_a_folder_without_root_is_asked_for_it(configured) -> None:
    with pytest.raises(MissingMandatoryValue, match=r"Missing mandatory value: data\.root"):
        build(configured("data=folder", "augmentation=none").data)
