"""The logger for MLflow: but for one test, a stand-in takes the place of MLflow, which is large."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pytorch_lightning.loggers import MLFlowLogger

from config import compose_config
from gaborseg.experiment import train
from gaborseg.experiment.additions import build_logger
from gaborseg.runs import Run
from gaborseg.training import mlflow_logger
from tiny_run import tiny_overrides


class MlflowException(Exception):  # noqa: N818  # its name in MLflow
    pass


class Client:
    """MLflow's client, with one experiment in which one run has begun."""

    uris: list[str]
    identity: str
    params: dict[str, str]
    status: str

    def __init__(self, uri: str) -> None:
        if uri.startswith("nowhere"):
            raise MlflowException(f"no store at {uri}\nmore")
        self.uris.append(uri)

    def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
        return SimpleNamespace(experiment_id="7") if name == "gaborseg" else None

    def search_runs(self, experiments: list[str], wanted: str) -> list[SimpleNamespace]:
        assert experiments == ["7"]
        begun = wanted == f"tags.`gaborseg.run` = '{self.identity}'"
        return [SimpleNamespace(info=SimpleNamespace(run_id="abc"))] if begun else []

    def get_run(self, run_id: str) -> SimpleNamespace:
        assert run_id == "abc"
        info = SimpleNamespace(experiment_id="7")
        return SimpleNamespace(info=info, data=SimpleNamespace(params=self.params))

    def update_run(self, run_id: str, status: str) -> None:
        assert run_id == "abc"
        type(self).status = status

    def log_batch(self, run_id: str, params: list[SimpleNamespace]) -> None:
        self.params.update({param.key: param.value for param in params})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", {"seed": 0}, "gabor-pcc", ("tag",), "group")


@pytest.fixture
def client(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Client]:
    """A stand-in for MLflow, in which Lightning's logger and ours work."""
    Client.uris, Client.identity, Client.params, Client.status = [], "of another", {}, "FINISHED"
    modules: dict[str, dict[str, Any]] = {
        "mlflow": {"__spec__": SimpleNamespace(), "set_tracking_uri": lambda uri: None},
        "mlflow.entities": {"Param": SimpleNamespace},
        "mlflow.exceptions": {"MlflowException": MlflowException},
        "mlflow.tracking": {"MlflowClient": Client},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("pytorch_lightning.loggers.mlflow._MLFLOW_AVAILABLE", True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return Client


def logger(run: Run, **changes: Any) -> Any:
    return mlflow_logger(run, **{"experiment": "gaborseg", "tracking_uri": None, **changes})


def test_runs_go_to_a_database_beside_their_folders(
    run: Run, client: type[Client], tmp_path: Path
) -> None:
    made = logger(run)
    assert {*client.uris} == {"sqlite:///outputs/mlflow.db"}
    assert (tmp_path / "outputs").is_dir()
    assert made.tags == {"gaborseg.run": run.identity, "group": "group"}
    assert made._run_id is None


def test_a_resumed_run_goes_on_as_the_same_run_of_mlflow(run: Run, client: type[Client]) -> None:
    client.identity = run.identity
    assert logger(run).run_id == "abc"
    assert logger(run, experiment="other")._run_id is None


def test_a_resumed_run_keeps_the_parameters_that_it_began_with(
    run: Run, client: type[Client]
) -> None:
    client.identity = run.identity
    for workers, status in ((1, "FINISHED"), (2, "RUNNING")):
        logger(run).log_hyperparams({"seed": 0, "data": {"num_workers": workers}})
        assert client.status == status
    assert client.params == {"seed": "0", "data/num_workers": "1"}


def test_a_store_is_taken_from_the_settings_then_from_the_environment(
    run: Run, client: type[Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://here")
    logger(run)
    assert {*client.uris} == {"http://here"}
    client.uris.clear()
    logger(run, tracking_uri="http://there")
    assert {*client.uris} == {"http://there"}


@pytest.mark.usefixtures("client")
def test_a_store_that_cannot_be_used_is_said_in_one_line(run: Run) -> None:
    with pytest.raises(ValueError, match=r"tracking_uri=nowhere cannot .* at nowhere$"):
        logger(run, tracking_uri="nowhere")


@pytest.mark.usefixtures("client")
def test_the_option_builds_it(run: Run) -> None:
    built = build_logger(compose_config(["logger=mlflow"]).logger.mlflow, run)
    assert isinstance(built, MLFlowLogger)


def test_without_mlflow_the_remedy_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Callable[[str], None] = lambda name: None  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", missing)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[mlflow\]' in a clone"):
        logger(run)


@pytest.mark.slow
def test_mlflow_itself_goes_on_with_the_run(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.chdir(tmp_path)
    choices = {"kernel": "conventional", "loss": "ccc", "experiment": "quickstart"}
    for pause in ("1", "null"):
        overrides = [*tiny_overrides(cohort), "logger=mlflow", f"pause_after={pause}"]
        train(compose_config(overrides), tmp_path / "run", choices)
    client = tracking.MlflowClient("sqlite:///outputs/mlflow.db")
    place = client.get_experiment_by_name("gaborseg").experiment_id
    (found,) = client.search_runs([place])
    assert found.info.status == "FINISHED"
    history = client.get_metric_history(found.info.run_id, "val/dice")
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        told = [float(row["val/dice"]) for row in csv.DictReader(file)]
    assert [metric.value for metric in history] == pytest.approx(told)
