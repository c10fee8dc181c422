"""The model of GPUs on small networks, with kernels that need not be compiled."""

import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F

from gaborseg.benchmarks import gpu
from gaborseg.benchmarks.modelled import benchmark as module
from gaborseg.benchmarks.modelled import memory, steps, times
from gaborseg.benchmarks.modelled.benchmark import GpuModelBenchmark
from gaborseg.benchmarks.modelled.steps import Layer, Variant, gabor_layers, layer_step
from gaborseg.benchmarks.modelled.tables import layers_table
from gaborseg.benchmarks.modelled.times import modelled_seconds
from gaborseg.benchmarks.modelled.trace import Operation, Trace, traced
from gaborseg.commands.benchmark import main
from gaborseg.gpu import CARDS, Compiled, Launch, as_on_a_gpu, triton_installed
from gaborseg.gpu.static.sass import code_of
from gaborseg.interface import run_command

META = torch.device("meta")
H100 = CARDS["H100"]
MEBIBYTE = 2**20
needs_triton = pytest.mark.skipif(not triton_installed(), reason="needs Triton")
VARIANT = Variant("conventional", "direct", "float32")


def of_size(mebibytes: float) -> Tensor:
    return torch.empty(int(mebibytes * MEBIBYTE / 4), device=META)


def trace_of(*operations: Operation) -> Trace:
    return Trace([*operations], [], 0)


@needs_triton
def test_the_peak_is_the_most_that_is_held_at_a_time() -> None:
    before = of_size(100)

    def step() -> None:
        (before + 1).sum()
        kept = of_size(30)
        (kept * 2, of_size(50))

    assert traced(step, "float32", "direct").peak == pytest.approx(110 * MEBIBYTE, rel=1e-6)


@needs_triton
def test_a_convolution_is_counted_both_ways() -> None:
    x = torch.empty(1, 3, 8, 8, 8, device=META, requires_grad=True)
    weight = torch.empty(5, 3, 3, 3, 3, device=META, requires_grad=True)
    trace = traced(lambda: F.conv3d(x, weight, padding=1).sum().backward(), "float32", "direct")
    assert trace.flop == 3 * 2 * 3 * 5 * 27 * 8**3


@needs_triton
def test_views_move_nothing_and_a_sum_reads_once() -> None:
    x = of_size(4)
    views = traced(lambda: x.view(2, -1).T.detach(), "float32", "direct")
    total = traced(lambda: x.sum(), "float32", "direct")
    assert views.traffic == 0
    assert total.traffic == 4 * MEBIBYTE + 4


@needs_triton
def test_a_fourier_transform_passes_over_each_axis() -> None:
    x = torch.empty(1, 1, 8, 8, 8, device=META)
    trace = traced(lambda: torch.fft.rfftn(x, dim=(2, 3, 4)), "float32", "direct")
    real, half = 4 * 8**3, 8 * 8 * 8 * 5
    assert trace.traffic == real + 5 * half


@needs_triton
@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bf16-mixed", torch.bfloat16)]
)
def test_products_have_the_precision_of_training(precision: str, dtype: torch.dtype) -> None:
    trace = layer_step(Layer(0, 4, 8, 16), 3, precision, "direct")
    assert {operation.dtype for operation in trace.operations if operation.flop} == {dtype}


@needs_triton
def test_a_gabor_layer_goes_the_way_that_is_asked_for() -> None:
    direct, spectral = (
        layer_step(Layer(2, 4, 8, 16), 7, "float32", way) for way in ("direct", "spectral")
    )
    kernels = {launch.kernel.__name__ for launch in spectral.launches}
    assert direct.flop == 3 * 2 * 4 * 8 * 343 * 16**3
    assert (spectral.flop, direct.launches) == (0, [])
    assert {"factors_kernel", "multiply_kernel"} <= kernels


@needs_triton
def test_tensors_are_on_no_gpu_again_afterwards() -> None:
    enabled = torch.is_autocast_enabled
    with suppress(KeyError), as_on_a_gpu("direct", autocast=True):
        raise KeyError
    assert not of_size(1).is_cuda
    assert torch.is_autocast_enabled is enabled


def test_the_slower_of_arithmetic_and_traffic_counts() -> None:
    busy = Operation("aten::convolution", 66_900_000_000, 10, torch.float32)  # 1 ms
    moving = Operation("aten::add", 0, 3_350_000_000, torch.float32)  # 1 ms
    both = modelled_seconds(trace_of(busy, moving), H100, "float32")
    tf32 = modelled_seconds(trace_of(busy), H100, "tf32")
    assert both == pytest.approx(2e-3, rel=1e-3)
    assert tf32 == pytest.approx(66.9e9 / 494.7e12, rel=1e-3)


@pytest.mark.parametrize("precision", ["tf32", "bf16-mixed"])
def test_a_card_without_the_precision_has_no_time(precision: str) -> None:
    moving = Operation("aten::add", 0, 1, torch.float32)
    assert modelled_seconds(trace_of(moving), CARDS["T4"], precision) is None
    assert modelled_seconds(trace_of(moving), H100, precision) is not None


@needs_triton
def test_a_card_that_triton_does_not_serve_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(launch: Launch, capability: int) -> Compiled:
        raise RuntimeError("ptxas fatal: Value 'sm_70' is not defined")

    monkeypatch.setattr(times, "compiled", refuse)
    monkeypatch.setattr(times, "_kept", {})
    trace = layer_step(Layer(2, 4, 8, 16), 7, "float32", "spectral")
    assert modelled_seconds(trace, CARDS["V100"], "float32") is None


@needs_triton
def test_code_that_cannot_be_listed_is_timed_by_that_of_the_next_card(
    fake_kernels: list[Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    compile_nothing = times.compiled

    def compile_for(launch: Launch, capability: int) -> Compiled:
        asked.append(capability)
        return compile_nothing(launch, capability)

    monkeypatch.setattr(times, "compiled", compile_for)
    trace = layer_step(Layer(2, 4, 8, 16), 7, "float32", "spectral")
    seconds = modelled_seconds(trace, CARDS["V100"], "float32")
    assert seconds is not None
    assert {*asked} == {70, 75}


@needs_triton
def test_launches_that_are_compiled_alike_are_compiled_once(fake_kernels: list[Launch]) -> None:
    for layer in (Layer(2, 4, 8, 16), Layer(2, 8, 24, 16)):
        modelled_seconds(layer_step(layer, 7, "float32", "spectral"), H100, "float32")
    products = [launch for launch in fake_kernels if launch.kernel.__name__ == "multiply_kernel"]
    assert len(products) == 2  # forward, and adjoint


def test_the_layers_are_those_of_the_network() -> None:
    layers = gabor_layers(128)
    assert layers[Layer(2, 48, 48, 32)] == 4
    assert sum(n * layer.inputs * layer.outputs for layer, n in layers.items()) == 182_172


@pytest.fixture
def known_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that takes 20 MiB, and a KiB a voxel."""
    monkeypatch.setattr(memory, "peak", lambda variant, size: 20 * MEBIBYTE + 1024 * size**3)


@pytest.mark.usefixtures("known_peak")
def test_the_largest_volume_fits_and_the_next_does_not() -> None:
    room = 8 * memory.GIBIBYTE - memory.GIBIBYTE
    side = memory.largest_side(VARIANT, 8 * memory.GIBIBYTE)
    assert memory.needed(VARIANT, side) <= room < memory.needed(VARIANT, side + 16)


@pytest.mark.usefixtures("known_peak")
def test_memory_grows_with_the_voxels_alone() -> None:
    parameters = 4 * 4 * 4_991_540
    want = parameters + (12 + 1024) * 256**3 + 20 * MEBIBYTE
    assert memory.needed(VARIANT, 256) == pytest.approx(want, rel=1e-9)


@pytest.mark.slow
@needs_triton
def test_the_peak_of_a_step_is_linear_in_the_voxels() -> None:
    small, middle, large = (memory.peak(VARIANT, size) for size in (64, 96, 128))
    share = (96**3 - 64**3) / (128**3 - 64**3)
    assert middle == pytest.approx(small + share * (large - small), rel=0.02)


@pytest.fixture
def fake_kernels(monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """Launches that would be compiled: each becomes the same kernel, without code."""
    launches: list[Launch] = []

    def compile_nothing(launch: Launch, capability: int) -> Compiled:
        launches.append(launch)
        kernel = Compiled(4, 32, 0, 0, b"exit")
        kernel.__dict__["code"] = code_of("        /*0000*/                   EXIT ;")
        return kernel

    monkeypatch.setattr(times, "compiled", compile_nothing)
    monkeypatch.setattr(times, "_kept", {})
    return launches


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks of two levels, the second with Gabor kernels if any."""

    def small(kernel: str, *overrides: str) -> DictConfig:
        second = "conventional" if kernel == "conventional" else "gabor"
        first = "gabor" if kernel == "gabor" else "conventional"
        levels = f"[${{kernel.{first}}},${{kernel.{second}}}]"
        depths = ("network.depths_down=[1,1]", "network.depths_up=[1]", "network.channels=[4,8]")
        return gpu.configuration(kernel, *overrides, *depths, f"network.convolutions={levels}")

    monkeypatch.setattr(steps, "configuration", small)
    monkeypatch.setattr(memory, "_TRACED", (16, 32))
    for cached in (steps.step_of, steps.network_of):
        cached.cache_clear()
    yield
    for cached in (steps.step_of, steps.network_of):
        cached.cache_clear()


@pytest.mark.slow
@needs_triton
@pytest.mark.usefixtures("small_networks", "fake_kernels")
def test_every_table_is_modelled_for_every_card(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [VARIANT, Variant("gabor", "spectral", "bf16-mixed")]
    monkeypatch.setattr(module, "VARIANTS", few)
    sheets, *tables = GpuModelBenchmark(size=16, cards=("V100", "H100")).tables()
    assert [row["card"] for row in sheets.rows] == ["V100", "H100"]
    assert all(table.rows and table.title.startswith("Modelled: ") for table in tables)
    (training,) = [table.rows for table in tables if "a training step" in table.title[:30]]
    assert [(row["network"], row["precision"]) for row in training] == [
        ("conventional", "float32"),
        ("gabor", "bf16-mixed"),
    ]
    assert [row["V100 [ms]"] is None for row in training] == [False, True]
    assert all(row["H100 [ms]"] > 0 for row in training)


@needs_triton
@pytest.mark.usefixtures("small_networks", "fake_kernels")
def test_levels_add_up() -> None:
    rows = layers_table(16, "H100", H100).rows
    for kernels in ("3³", "7³, directly", "7³, by spectra"):
        *levels, together = [row for row in rows if row["kernels"] == kernels]
        assert together["float32 [ms]"] == pytest.approx(sum(r["float32 [ms]"] for r in levels))
        assert together["pairs"] == sum(row["pairs"] for row in levels)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("cards=[H100,K80]", f"cards must be of {list(CARDS)}, got ['K80']"),
        ("size=100", "size must be a multiple of 16, got 100"),
        ("repeats=3", "repeats is of no use, as nothing is timed, got 3"),
    ],
)
def test_a_wrong_option_is_one_line(
    argument: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "gpu_model", argument])
    with pytest.raises(SystemExit) as ending:
        run_command(main)
    assert ending.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_without_triton_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "triton_installed", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmark", "gpu_model"])
    with pytest.raises(SystemExit) as ending:
        run_command(main)
    assert ending.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "needs Triton: pip install triton" in line
