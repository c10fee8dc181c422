import sys

import pytest
import torch
from omegaconf import DictConfig

from gaborseg.benchmarks import gpu as check_gpu
from gaborseg.benchmarks.gpu import GpuBenchmark
from gaborseg.commands.benchmark import main
from gaborseg.interface import run_command


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "gpu", *arguments])
    run_command(main)


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
    ("options", "message"), [({"size": 20}, "got 20"), ({"repeats": 0}, "got 0")]
)
def test_options_are_checked(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GpuBenchmark(device="cpu", **options)


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
def test_both_tables_cover_every_variant() -> None:
    synthesis, networks = GpuBenchmark(device="cpu", size=16, repeats=1).tables()
    assert [row["synthesis"] for row in synthesis.rows] == ["fused", "naive"]
    for row in synthesis.rows:
        assert float(row["kernel error"]) < 1e-5
        assert float(row["gradient error"]) < 1e-4
    assert len(networks.rows) == 3 * (1 + 2 + 2)  # precisions, kernels, syntheses
    exact = [row["error of logits"] for row in networks.rows if row["precision"] == "float32"]
    assert max(map(float, exact)) < 1e-3
