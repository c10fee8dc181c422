import json
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from src import check_gpu
from src.check_gpu import Options, check, measure
from src.command import UserError, run_command


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["check_gpu", *arguments])
    run_command(check_gpu.main)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        command(monkeypatch)
    assert ending.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "GPU" in line
    assert "'cuda'" in line


def test_unknown_options_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(monkeypatch, "sise=64")
    assert "sise" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [(Options("cpu", size=20), "multiple of 16, got 20"), (Options("cpu", repeats=0), "got 0")],
)
def test_options_are_checked(options: Options, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(options)


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of two levels, the second with Gabor kernels if any."""
    whole = check_gpu.configuration

    def small(kernel: str, *overrides: str) -> DictConfig:
        second = "conventional" if kernel == "conventional" else "gabor"
        levels = (
            f"${{kernel.{'gabor' if kernel == 'gabor' else 'conventional'}}},${{kernel.{second}}}"
        )
        depths = ("network.depths_down=[1,1]", "network.depths_up=[1]")
        return whole(
            kernel,
            *overrides,
            *depths,
            "network.channels=[4,8]",
            f"network.convolutions=[{levels}]",
        )

    monkeypatch.setattr(check_gpu, "configuration", small)


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks")
def test_both_tables_cover_every_variant_and_are_written(tmp_path: Path) -> None:
    output = tmp_path / "folder" / "check.json"
    synthesis, networks = measure(Options("cpu", size=16, repeats=1, output=str(output)))
    assert [row["synthesis"] for row in synthesis.rows] == ["fused", "naive"]
    for row in synthesis.rows:
        assert float(row["kernel error"]) < 1e-5
        assert float(row["gradient error"]) < 1e-4
    assert len(networks.rows) == 3 * (1 + 2 + 2)
    exact = [row["error of logits"] for row in networks.rows if row["precision"] == "float32"]
    assert max(map(float, exact)) < 1e-3
    tables = json.loads(output.read_text())["tables"]
    assert tables == [synthesis.as_json(), networks.as_json()]
