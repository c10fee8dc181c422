from collections.abc import Iterator

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from config import CONF
from gaborseg.interface import SweepComposer
from gaborseg.interface.configuration import find_plugins, register_resolvers

SWEEPS = {
    "values": [["optimizer.lr=0.001", "seed=1"], ["optimizer.lr=0.01", "seed=2"]],
    "options": [
        ["kernel=gabor", "split=0"],
        ["kernel=mixed", "split=0"],
        ["kernel=gabor", "split=1"],
    ],
    "texts": [
        ["+own.name=a", "seed=1"],
        ["+own.name='b, c'", "seed=1"],
        ["+own.name=true", "seed=2"],
    ],
    "groups of values": [
        ["data.source.size=48"],
        ["data.source={size:64}"],
        ["~callbacks.progress"],
    ],
    "lists": [
        ["network.channels=[4,4,4,4,8]", "seed=1"],
        ["network.channels=[8,8,8,8,8]", "seed=2"],
    ],
    "nothing and references": [
        ["data.num_workers=null"],
        ["data.num_workers=1"],
        ["data.num_workers=${seed}"],
    ],
    "a value before its group": [["data.source.size=48", "data.source={seed:3}"]] * 2,
}


@pytest.fixture
def sweep() -> Iterator[tuple[ConfigLoader, DictConfig]]:
    """Hydra's loader, and the configuration of a sweep as a whole."""
    find_plugins()
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        whole = hydra.compose_config("config", ["loss=pcc"], RunMode.MULTIRUN, False)
        yield hydra.config_loader, whole


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEEPS)
def test_every_run_is_composed_as_hydra_does(
    sweep: tuple[ConfigLoader, DictConfig], name: str
) -> None:
    loader, whole = sweep
    compose = SweepComposer(loader, whole)
    for number, choices in enumerate(SWEEPS[name]):
        theirs = loader.load_sweep_config(whole, choices)
        with open_dict(theirs):
            theirs.hydra.job.update(id=str(number), num=number)
        ours = compose(choices, number)
        assert OmegaConf.to_container(ours) == OmegaConf.to_container(theirs)


def test_runs_of_the_same_options_are_composed_once(
    sweep: tuple[ConfigLoader, DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, whole = sweep
    composed = []
    load = loader.load_sweep_config
    monkeypatch.setattr(
        loader, "load_sweep_config", lambda *given: composed.append(given[1]) or load(*given)
    )
    compose = SweepComposer(loader, whole)
    seeds = [compose(["kernel=gabor", f"seed={n}"], n).data.seed for n in range(5)]
    assert seeds == [0, 1, 2, 3, 4]
    assert composed == [["kernel=gabor", "seed=0"]]
