import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from PIL import Image

from config import compose_config, settings_of
from gaborseg.experiment import train
from gaborseg.interface import UserError
from gaborseg.reporting import dashboard, make_report, save_workspace
from gaborseg.reporting.dashboard import build_workspace
from gaborseg.training import finish, testing
from tiny_cohort import write_cohort
from tiny_run import tiny_overrides

pytest.importorskip("wandb_workspaces")

CHOICES = {"kernel": "conventional", "loss": "pcc", "experiment": "smoke"}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))
    yield
    finish(0)


def test_without_a_key_it_says_what_to_do() -> None:
    with pytest.raises(UserError, match="run `wandb login`, or write it to a file with output="):
        save_workspace(settings_of("dashboard"))


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[dashboard\]' in a clone"):
        save_workspace(settings_of("dashboard", output=tmp_path / "workspace.json"))
    assert not (tmp_path / "workspace.json").exists()


@pytest.mark.slow
def test_a_file_holds_the_workspace_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "new/workspace.json"
    save_workspace(settings_of("dashboard", output=path))
    written = path.read_text()
    sections = json.loads(written)["section"]["panelBankConfig"]["sections"]
    names = [section["name"] for section in sections]
    assert names[:2] == ["Curves by loss", "Learning rate"]
    with pytest.raises(FileExistsError, match="output must be a new file"):
        save_workspace(settings_of("dashboard", output=path))
    assert path.read_text() == written


def test_with_a_key_it_is_saved_on_wandb(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Saved:
        url = "https://wandb.example/somebody/gaborseg"
        saved = 0

        def save(self) -> None:
            self.saved += 1

    workspace = Saved()
    asked: list[tuple[str, ...]] = []
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setattr(dashboard, "own_entity", lambda: "somebody")
    monkeypatch.setattr(
        dashboard, "build_workspace", lambda *given: asked.append(given[:3]) or workspace
    )
    with caplog.at_level("INFO"):
        save_workspace(settings_of("dashboard", project="mine"))
    assert asked == [("somebody", "mine", "gaborseg")]
    assert workspace.saved == 1
    assert workspace.url in caplog.text


def test_a_server_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable() -> str:
        raise wandb.errors.CommError("no way out\nof here")

    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setattr(dashboard, "own_entity", unreachable)
    message = "W&B cannot be used: no way out; to have it in a file: output=FILE.json"
    with pytest.raises(UserError, match=f"^{message}$"):
        save_workspace(settings_of("dashboard"))


def asked_for(panels: list[Any]) -> dict[str, set[str]]:
    """Return what panels ask for: metrics over time, summaries, settings, media and tables."""
    import wandb_workspaces.reports.v2 as wr

    found: dict[str, set[str]] = {"history": set(), "summary": set(), "config": set()}

    def note(value: Any) -> None:
        if isinstance(value, list | tuple):
            for item in value:
                note(item)
        elif isinstance(value, wr.Config):
            found["config"].add(value.name)
        elif isinstance(value, wr.SummaryMetric):
            found["summary"].add(value.name)
        elif isinstance(value, wr.ParallelCoordinatesPlotColumn):
            note(value.metric)
        elif isinstance(value, wr.Metric):
            found["history"].add(value.name)

    for panel in panels:
        for field in ("x", "y", "groupby", "metrics", "columns"):
            value = getattr(panel, field, None)
            is_name = isinstance(value, str) and field in ("x", "y")
            note(wr.Metric(value) if is_name else value)
        if isinstance(panel, wr.LinePlot):
            found["history"] |= {panel.x, *panel.y} if isinstance(panel.x, str) else set(panel.y)
        found["summary"] |= {*getattr(panel, "media_keys", [])}
        found["summary"] |= {*filter(None, [getattr(panel, "table_name", None)])}
    return found


def logged(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the summary and the settings of an offline run."""
    (run,) = folder.glob("wandb/offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(run)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return told["summary"], told["config"]


def has(settings: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(settings, dict) or part not in settings:
            return False
        settings = settings[part]
    return True


@pytest.mark.slow
def test_every_panel_asks_for_something_that_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing, "draw_example", lambda path, *_: Image.new("L", (1, 1)).save(path))
    cohort = tmp_path / "cohort"
    write_cohort(cohort)
    usual = [o for o in tiny_overrides(cohort) if not o.startswith(("logger=", "optimizer.lr="))]
    usual.append("trainer.max_epochs=1")
    for loss, rate in (("pcc", 1e-3), ("pcc", 1e-2), ("dice", 1e-3)):
        choices = [f"loss={loss}", f"optimizer.lr={rate}"]
        folder = tmp_path / f"runs/{loss}{rate}"
        train(compose_config([*usual, *choices]), folder, CHOICES | {"loss": loss})
    settings = {"runs": tmp_path / "runs", "output": tmp_path / "report", "wandb": "offline"}
    make_report(settings_of("report", **settings))
    summary, config = logged(tmp_path / "runs/pcc0.001")
    of_report, _ = logged(tmp_path / "report")
    workspace = build_workspace("somebody", "gaborseg", "all", ["inner", "outer"])
    wanted = asked_for([panel for section in workspace.sections for panel in section.panels])
    assert len(wanted["history"]) > 5
    assert len(wanted["config"]) >= 5
    assert len(wanted["summary"]) > 8
    assert wanted["history"] <= summary.keys()
    assert wanted["summary"] <= summary.keys() | of_report.keys()
    assert {key for key in wanted["config"] if not has(config, key)} == set()
