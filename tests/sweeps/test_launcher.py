import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from config import CONF, SUPPORT, register_resolvers
from gaborseg.interface import UserError, effective_settings
from gaborseg.interface.configuration import find_plugins
from gaborseg.machine import software_versions
from gaborseg.runs import locked
from gaborseg.sweeps import Cell
from tiny_cohort import write_cohort
from tiny_run import tiny_overrides
from warm import Command, run_command

LAUNCHER = "hydra_plugins.local_launcher.LocalLauncher"
IMPORTABLE = {"PYTHONPATH": str(SUPPORT)}


def cells_of(*overrides: str, gpus: str = "") -> list[Cell]:
    """The cells that the launcher makes of a command, short of starting them."""
    find_plugins()
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config("config", [*overrides], RunMode.MULTIRUN, False)
        sweeper = Plugins.instance().instantiate_sweeper(
            hydra_context=HydraContext(hydra.config_loader, callbacks=None),  # type: ignore[arg-type]
            task_function=lambda config: None,
            config=config,
        )
        cells: list[Cell] = []

        def keep(choices: list[list[str]], initial_job_idx: int) -> list[None]:
            jobs = plugin.distinct(launcher._compose(choices, initial_job_idx))
            cells.extend(launcher._cell(job, name, tuple(gpus)) for job, name in plugin.named(jobs))
            return []

        launcher = sweeper.launcher  # type: ignore[attr-defined]
        plugin = sys.modules["hydra_plugins.local_launcher"]
        launcher.launch = keep
        sweeper.sweep([o for o in overrides if not o.startswith("hydra")])
        return cells


@pytest.fixture
def sweep_dir(tmp_path: Path) -> str:
    return f"hydra.sweep.dir={tmp_path}"


def test_a_run_gets_the_command_that_would_start_it_alone(sweep_dir: str, tmp_path: Path) -> None:
    first, _ = cells_of("kernel=gabor", "optimizer.lr=1e-3,1e-2", sweep_dir)
    folder = tmp_path / "kernel=gabor,optimizer.lr=10^-3"
    assert first.folder == folder
    assert first.command[-6:] == (
        "kernel=gabor",
        "optimizer.lr=0.001",
        sweep_dir,
        "hydra.mode=RUN",
        f'hydra.run.dir="{folder}"',
        "hydra/job_logging=cell",
    )


def test_a_run_is_named_by_what_tells_it_from_the_others(sweep_dir: str) -> None:
    cells = cells_of("kernel=gabor", "optimizer.lr=1e-3,1e-2", sweep_dir)
    assert [cell.name for cell in cells] == ["optimizer.lr=10^-3", "optimizer.lr=10^-2"]


def test_the_same_choice_twice_is_one_run(sweep_dir: str) -> None:
    assert len(cells_of("optimizer.lr=1e-3,0.001", sweep_dir)) == 1


def test_the_runs_of_a_search_are_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = cells_of("hydra/sweeper=halving", "optimizer.lr=1e-3,1e-2")
    search = tmp_path / "outputs/searches/optimizer.lr=1e-3,1e-2"
    names = ["optimizer.lr=10^-3", "optimizer.lr=10^-2"]
    assert [cell.folder for cell in cells] == [search / name for name in names]


@pytest.mark.slow
def test_two_runs_in_one_folder_are_refused(sweep_dir: str) -> None:
    with pytest.raises(ValueError, match=r"hydra.sweep.subdir must differ, got .*/same for two"):
        cells_of("seed=0,1", sweep_dir, "hydra.sweep.subdir=same")


def test_settings_of_hydra_reach_the_runs_but_not_those_of_the_sweep(sweep_dir: str) -> None:
    (cell,) = cells_of("seed=0", sweep_dir, "hydra.verbose=true", "hydra/launcher=local")
    assert "hydra.verbose=true" in cell.command
    assert "hydra/launcher=local" not in cell.command


@pytest.mark.parametrize(
    ("overrides", "gpus", "processes"),
    [(["trainer=ddp"], 2, 2), (["trainer=auto"], 1, 1), (["trainer=ddp_cpu"], 0, 2)],
)
def test_a_run_asks_for_its_devices(
    sweep_dir: str, overrides: list[str], gpus: int, processes: int
) -> None:
    (cell,) = cells_of("seed=0", sweep_dir, *overrides, gpus="0123")
    assert (cell.gpus, cell.processes) == (gpus, processes)


def test_without_a_gpu_the_best_device_is_the_processor(sweep_dir: str) -> None:
    (cell,) = cells_of("seed=0", sweep_dir, "trainer=auto")
    assert cell.gpus == 0


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    launcher = Plugins.instance()._instantiate(
        OmegaConf.create({"_target_": LAUNCHER, "gpus": [0, 2]})
    )
    with pytest.raises(ValueError, match="must number GPUs from 0, of 2 that are here, got 2"):
        launcher._gpus()


def test_more_than_one_machine_is_refused(sweep_dir: str) -> None:
    with pytest.raises(ValueError, match="num_nodes must be 1 with hydra/launcher=local, got 2"):
        cells_of("seed=0", sweep_dir, "trainer.num_nodes=2")


@pytest.fixture
def done(sweep_dir: str) -> Callable[[dict[str, str]], Path]:
    """Leave a run that is done, of the code whose versions are given."""

    def write(versions: dict[str, str]) -> Path:
        from config import compose_config

        (cell,) = cells_of("seed=7", sweep_dir)
        cell.folder.mkdir(parents=True)
        config = effective_settings(compose_config(["seed=7"]))
        (cell.folder / "config.yaml").write_text(yaml.safe_dump(config))
        (cell.folder / "run.json").write_text(json.dumps({"sessions": [versions]}))
        (cell.folder / "subjects.csv").write_text("subject,structure,dice\na,inner,0.5\n")
        (cell.folder / "done.json").write_text('{"test_dice": 0.5}')
        return cell.folder

    return write


def test_a_done_run_of_the_same_settings_and_code_needs_no_word(
    sweep_dir: str, done: Callable[[dict[str, str]], Path]
) -> None:
    done(software_versions())
    (cell,) = cells_of("seed=7", sweep_dir)
    assert (cell.refusal, cell.remark) == ("", "")


def test_a_done_run_of_other_code_is_said(
    sweep_dir: str, done: Callable[[dict[str, str]], Path]
) -> None:
    done({**software_versions(), "torch": "1.0"})
    (cell,) = cells_of("seed=7", sweep_dir)
    assert cell.remark == f"torch: 1.0 -> {software_versions()['torch']}"
    assert not cell.refusal


def test_a_damaged_run_is_refused_alone(
    sweep_dir: str, done: Callable[[dict[str, str]], Path]
) -> None:
    folder = done(software_versions())
    (folder / "config.yaml").write_text("{a: [")
    damaged, other = cells_of("seed=7,8", sweep_dir)
    assert damaged.refusal.startswith(f"{folder / 'config.yaml'} is damaged")
    assert not other.refusal


@pytest.mark.parametrize("name", ["plain", "a b,c=d", "quo'te\"s", "back\\slash", "ends\\"])
def test_a_path_reaches_a_run_as_it_is(name: str) -> None:
    find_plugins()
    plugin = importlib.import_module("hydra_plugins.local_launcher")
    override = f"hydra.run.dir={plugin.quoted(Path(name))}"
    (parsed,) = OverridesParser.create().parse_overrides([override])
    assert parsed.value() == name


def test_a_run_of_other_settings_is_refused(
    sweep_dir: str, done: Callable[[dict[str, str]], Path]
) -> None:
    folder = done(software_versions())
    (cell,) = cells_of("seed=8", sweep_dir, 'hydra.sweep.subdir="seed=7"')
    assert cell.refusal == f"other settings in {folder}: data.seed: 7 -> 8; seed: 7 -> 8"


def test_a_baseline_that_is_done_needs_no_word(sweep_dir: str) -> None:
    from config import compose_config
    from gaborseg.experiment.run import describe_run

    (cell,) = cells_of("network=nnunet", sweep_dir)
    choices = {"network": "nnunet", "loss": "pcc"}
    run = describe_run(compose_config(["network=nnunet"]), cell.folder, choices)
    run.claim()
    run.write_json("run.json", {"sessions": [software_versions()]})
    (cell,) = cells_of("network=nnunet", sweep_dir)
    assert (cell.refusal, cell.remark) == ("", "")


def test_a_search_that_would_remember_its_runs_twice_does_not_start(sweep_dir: str) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    storage = "hydra.sweeper.storage='sqlite:///search.db'"
    with pytest.raises(UserError, match=r"storage must be null, got sqlite:///search\.db: "):
        cells_of("hydra/sweeper=optuna", storage, "optimizer.lr=interval(1e-4,1e-2)", sweep_dir)


def test_a_sweep_with_kernels_that_have_no_effect_does_not_start(sweep_dir: str) -> None:
    with pytest.raises(UserError, match="kernel=gabor must be left out with network=vnet, "):
        cells_of("network=vnet_ds,vnet", "kernel=gabor", sweep_dir)


@pytest.mark.slow
def test_the_second_sweep_on_a_folder_says_so_and_stops(sweep_dir: str, tmp_path: Path) -> None:
    with locked(tmp_path):
        second = run_command("src.train", "-m", "seed=0", sweep_dir)
    assert second.returncode == 2
    assert (
        second.stderr
        == f"error: {tmp_path} is in use by process {os.getpid()} on {os.uname().nodename}\n"
    )


@pytest.mark.slow
def test_a_sweep_that_is_done_is_freed_of_what_killed_processes_left(
    sweep_dir: str, done: Callable[[dict[str, str]], Path], tmp_path: Path
) -> None:
    left = [tmp_path / ".partial-1-sweep.json", done(software_versions()) / ".lock"]
    for path in left:
        path.touch()
    assert run_command("src.train", "seed=7", "-m", sweep_dir).returncode == 0
    assert not any(path.exists() for path in left)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_overrides(write_cohort(tmp_path_factory.mktemp("data") / "cohort"))


def sweep(overrides: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    words = ["src.train", "-m", *overrides, f"hydra.sweep.dir={folder}"]
    return Command(*words, environment=IMPORTABLE).wait(300)


@pytest.mark.slow
def test_a_mistake_in_one_run_and_a_kill_of_another_stop_nothing(
    tiny: list[str], tmp_path: Path
) -> None:
    subdir = "hydra.sweep.subdir=groups_${network.groups}"
    ended = sweep([*tiny, *crash("kill"), "network.groups=3,4", subdir], tmp_path)
    assert ended.returncode == 1
    assert "failed: network.channels must be divisible by groups=3" in ended.stdout
    assert "groups=4: was killed by SIGKILL: it is started once more" in ended.stdout
    assert "groups=4: goes on after epoch 1" in ended.stdout
    assert ended.stderr == "error: 1 of 2 runs failed\n"
    assert (tmp_path / "groups_4" / "done.json").exists()
    assert not (tmp_path / "groups_3" / "done.json").exists()
    status = run_command("src.status", str(tmp_path)).stdout
    assert f"{tmp_path}: 1 of 2 done, 1 failed" in status
    assert "groups_3: network.channels must be divisible by groups=3" in status


def crash(how: str, *, rank: int = 0) -> list[str]:
    """Choices that end a process of a run in its second epoch."""
    node = {"_target_": "crash.Crash", "how": how, "rank": rank}
    return [f"+callbacks.crash.{key}={value}" for key, value in node.items()]


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [("error", 1), ("kill", -signal.SIGKILL)])
def test_a_crash_of_one_process_ends_all_of_a_run(
    tiny: list[str], tmp_path: Path, how: str, code: int
) -> None:
    choices = [*tiny, "trainer=ddp_cpu", *crash(how, rank=1), f"hydra.run.dir={tmp_path}"]
    training = Command("src.train", *choices, environment=IMPORTABLE)
    assert training.wait().returncode == code
    assert not (tmp_path / "done.json").exists()
    failure = tmp_path / "failed.json"
    told = json.loads(failure.read_text())["error"] if failure.exists() else None
    assert told == ("process 1 crashes" if how == "error" else None)


def test_what_hydra_notes_of_a_sweep_is_not_written_into_a_pipe(
    sweep_dir: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "multirun.yaml")  # to write there would wait for a reader for ever
    with pytest.raises(UserError, match=r"multirun\.yaml must be a regular file: remove it"):
        cells_of("loss=pcc,dice", sweep_dir)


def test_what_hydra_notes_of_a_sweep_is_not_written_through_a_link(
    sweep_dir: str, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("mine\n")
    (tmp_path / "multirun.yaml").symlink_to(tmp_path / "thesis.txt")
    with pytest.raises(UserError, match=r"multirun\.yaml is a link, .* remove it"):
        cells_of("loss=pcc,dice", sweep_dir)
    assert (tmp_path / "thesis.txt").read_text() == "mine\n"
