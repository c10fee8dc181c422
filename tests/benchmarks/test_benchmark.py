import functools
import gzip
import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from config import compose_config
from gabor_reference import naive_gabor_kernel
from gaborseg.benchmarks import command as benchmark
from gaborseg.benchmarks import exactness, plain
from gaborseg.benchmarks.command import SUBJECTS
from gaborseg.benchmarks.data import loading_rows, opened_files, opening_rows
from gaborseg.benchmarks.layer import (
    Shape,
    layers_table,
    memory_table,
    network_shapes,
    synthesis_table,
)
from gaborseg.benchmarks.loss import losses
from gaborseg.benchmarks.memory import extra_peak_memory
from gaborseg.benchmarks.metrics import label_maps, scores
from gaborseg.benchmarks.network import (
    KERNELS,
    PLAIN_KERNELS,
    TRAINED_GABOR,
    NetworkBenchmark,
    network,
    plain_network,
    profile_table,
    steps_table,
    training_step,
)
from gaborseg.benchmarks.network import _training_steps as network_steps
from gaborseg.benchmarks.plain import PlainVNetDS, gabor_kernel_on_grid, one_hot_pcc
from gaborseg.benchmarks.report import Table
from gaborseg.benchmarks.timing import Spread, Timings, interleave, total
from gaborseg.commands import benchmark as command_module
from gaborseg.commands.benchmark import main
from gaborseg.data import RandomAffine
from gaborseg.data.folder import Folder
from gaborseg.interface import UserError, build, run_command
from gaborseg.layers import GaborConv3d, gabor_kernel, initial_gabor
from gaborseg.losses import PCCLoss
from gaborseg.machine import keep_freed_memory
from gaborseg.networks import VNetDS
from tiny_cohort import write_cohort

pytestmark = pytest.mark.slow

NARROW = (4, 4, 4, 8, 8)  # channels of a network of all five levels
TINY = Shape(level=4, in_channels=2, out_channels=3, size=2)


def test_candidates_take_turns_after_a_warm_up_round() -> None:
    calls: list[str] = []
    interleave({name: lambda name=name: calls.append(name) for name in "abc"}, repeats=2)
    assert "".join(calls) == "abcabcabc"


def test_each_call_is_timed_alone() -> None:
    ticks = itertools.chain([0, 1, 10, 12, 20, 23, 30, 34])
    timings = interleave({"a": int, "b": int}, repeats=2, clock=lambda: next(ticks))
    assert timings == {"a": Timings((1, 3)), "b": Timings((2, 4))}


def test_ratios_are_taken_round_by_round() -> None:
    drifting, baseline = Timings((2, 20, 200)), Timings((1, 10, 100))
    assert drifting.ratio(baseline) == Spread(median=2, low=2, high=2)


def test_a_spread_is_the_median_and_the_quartiles() -> None:
    assert Spread.of([5, 1, 2, 4, 3]) == Spread(median=3, low=2, high=4)
    assert Spread.of([7]) == Spread(7, 7, 7)


def test_the_total_counts_each_part_as_often_as_it_occurs() -> None:
    assert total([(1, Timings((1, 2))), (3, Timings((10, 20)))]) == Timings((31, 62))


def test_a_table_is_markdown_and_json() -> None:
    table = Table("title", [{"way": "this", "time": Spread(0.5, 0.25, 1.0), "memory": None}])
    assert table.markdown().splitlines() == [
        "**title**",
        "",
        "| way  | time           | memory |",
        "| ---- | -------------- | ------ |",
        "| this | 0.5 (0.25 - 1) | -      |",
    ]
    row = {"way": "this", "time": {"median": 0.5, "low": 0.25, "high": 1.0}, "memory": None}
    assert table.as_json() == {"title": "title", "rows": [row]}


def two_moments() -> Tensor:
    """Needs 32 MiB, and after that 16 MiB."""
    return torch.ones(2**23).sum() + torch.ones(2**22).sum()


def test_extra_memory_is_that_of_the_largest_moment() -> None:
    megabytes = extra_peak_memory(two_moments)
    if megabytes is None:
        pytest.skip("the system does not tell")
    assert 31 < megabytes < 40


def test_extra_memory_does_not_depend_on_what_ran_before() -> None:
    if not keep_freed_memory():
        pytest.skip("not glibc")
    blocks = [torch.ones(2**size + 2**10) for size in (22, 15, 23, 15) * 4]
    del blocks[::2]  # gaps of 16 and of 32 MiB, which would hold one moment each
    megabytes = extra_peak_memory(two_moments)
    assert megabytes is not None
    assert 31 < megabytes < 40


def test_freed_memory_is_kept_for_the_next_allocation() -> None:
    code = """
import ctypes, resource
from gaborseg.machine.allocator import keep_freed_memory
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.c_void_p(libc.malloc(2**26)); libc.memset(block, 1, 2**26); libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
if keep_freed_memory():
    print(faults(), faults())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if not done.stdout:
        pytest.skip("not glibc")
    first, second = map(int, done.stdout.split())
    assert second < first / 10


def test_the_networks_layers_are_counted_by_shape() -> None:
    shapes = network_shapes(64)
    assert shapes[Shape(level=2, in_channels=48, out_channels=48, size=16)] == 4
    assert shapes[Shape(level=3, in_channels=288, out_channels=96, size=8)] == 1
    assert sum(n * s.in_channels * s.out_channels for s, n in shapes.items()) == 182_172


def test_layers_synthesis_and_memory_are_measured() -> None:
    shapes = Counter({TINY: 2})
    *_, row = layers_table(shapes, repeats=1).rows
    assert row["layers"] == 2
    assert all(value.median > 0 for value in row.values() if isinstance(value, Spread))
    assert len(synthesis_table(shapes, repeats=1).rows) == 4
    assert len(memory_table(TINY).rows) == 4


def test_naive_kernels_are_the_kernels() -> None:
    parameters = initial_gabor(3, 4, 7).double()
    naive, kernels = gabor_kernel_on_grid(parameters, 7), gabor_kernel(parameters, 7)
    torch.testing.assert_close(naive, kernels)


def test_one_hot_pcc_is_the_pcc_loss() -> None:
    logits, target = torch.randn(2, 3, 4, 4, 4), torch.randint(3, (2, 4, 4, 4))
    torch.testing.assert_close(one_hot_pcc(logits, target), PCCLoss()(logits, target))


def load(plainly: PlainVNetDS, ours: VNetDS) -> None:
    """Give the plain network the parameters of ours."""
    plainly.encoder.load_state_dict(in_units_of_the_equation(ours.encoder))
    plainly.decoder.load_state_dict(in_units_of_the_equation(ours.decoder))
    weight = torch.cat([score.weight for score in ours.right_leg.scores], dim=1)
    plainly.right_leg.load_state_dict({"weight": weight, "bias": ours.right_leg.scores[0].bias})


def test_gabor_networks_are_measured_as_they_are_trained_by_default() -> None:
    trained = compose_config(["kernel=gabor"]).kernel.gabor
    assert {key: trained[key] for key in TRAINED_GABOR.keywords} == TRAINED_GABOR.keywords


def in_units_of_the_equation(blocks: nn.Module) -> dict[str, torch.Tensor]:
    parameters = {
        f"{name}.gabor": layer.parameters_of_kernels()
        for name, layer in blocks.named_modules()
        if isinstance(layer, GaborConv3d)
    }
    return blocks.state_dict() | parameters


@pytest.mark.parametrize("kernel", PLAIN_KERNELS)
def test_the_plain_network_is_the_same_network(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "CHANNELS", NARROW)
    ours = VNetDS(1, 20, KERNELS[kernel], channels=NARROW).double()
    plainly = plain_network(kernel).double()
    load(plainly, ours)
    image = torch.randn(1, 1, 32, 32, 32).double()
    torch.testing.assert_close(plainly(image), ours(image))


@pytest.mark.parametrize("kernel", PLAIN_KERNELS)
def test_the_plain_network_has_the_same_size(kernel: str) -> None:
    sizes = [
        sum(parameter.numel() for parameter in built.parameters())
        for built in (network(kernel), plain_network(kernel))
    ]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_networks_are_those_that_are_trained(kernel: str) -> None:
    config = compose_config([f"kernel={kernel}"]).network
    assert repr(network(kernel)) == repr(build(config, in_channels=1, num_classes=20))


def test_a_training_step_changes_the_parameters() -> None:
    layer = nn.Conv3d(1, 20, 1)
    before = layer.weight.detach().clone()
    image, label = torch.randn(1, 1, 4, 4, 4), torch.randint(20, (1, 4, 4, 4))
    training_step(layer, PCCLoss(), image, label)()
    assert (layer.weight != before).all()


def test_steps_and_operators_are_listed() -> None:
    step = torch.ones(100).exp
    *_, again = steps_table({"conventional": step, "conventional, again": step}, 16, 1).rows
    assert isinstance(again["step / same network"], Spread)
    assert profile_table("conventional", step, count=1).rows[0]["operator"] == "aten::exp"


def mean_losses(logits: Tensor, target: Tensor) -> dict[str, float]:
    return {name: loss(logits, target).item() for name, loss in losses().items()}


def test_losses_of_one_name_agree() -> None:
    values = mean_losses(torch.randn(1, 20, 8, 8, 8), torch.randint(20, (1, 8, 8, 8)))
    for name, value in values.items():
        assert value == pytest.approx(values[name.partition(",")[0]], rel=1e-4), name


def test_scores_agree() -> None:
    torch.manual_seed(0)  # a draw in which no label is absent
    prediction, target = label_maps(64)
    want, *others = [score(prediction, target) for score in scores().values()]
    for other in others:
        torch.testing.assert_close(other.double(), want, rtol=1e-6, atol=0)


def test_the_augmentation_is_the_papers() -> None:
    affine = build(compose_config(["augmentation=paper"]).augmentation).named["affine"]
    assert {key: tuple(v) if key == "scale" else v for key, v in vars(affine).items()} == vars(
        RandomAffine()
    )


@pytest.fixture
def source(tmp_path: Path) -> Folder:
    return Folder(write_cohort(tmp_path / "cohort"), tmp_path / "cache")


def test_opened_files_are_seen(tmp_path: Path) -> None:
    with opened_files() as paths:
        gzip.open(tmp_path / "image.nii.gz", "w").close()
    gzip.open(tmp_path / "later.nii.gz", "w").close()
    assert paths == [str(tmp_path / "image.nii.gz")]


def test_the_second_epoch_opens_no_nifti(source: Folder) -> None:
    *_, second = opening_rows(source)
    assert second["stage"] == "second epoch"
    assert second["NIfTI files"] == 0
    assert second["memory-mapped arrays"] > 0


def test_samples_are_counted_by_worker(source: Folder) -> None:
    alone, worker, *later = loading_rows(source, workers=(0, 1), repeats=1, step=1e9)
    assert alone["samples / s"].median > 0
    assert [row["augment_on"] for row in (alone, worker, *later)] == ["cpu", "cpu", "gpu", "gpu"]
    assert worker["samples / s"] == worker["samples / s and worker"]
    assert worker["workers that feed a step of 1e+09 ms"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], f"subject must be {' | '.join(SUBJECTS)}, got ''"),
        (["speed"], "got 'speed'"),
        (["layer", "sise=3"], "options of layer are repeats= threads= size= levels=, got 'sise=3'"),
        (["layer", "size"], "got 'size'"),
        (["layer", "size=big"], "size: Value 'big'"),
        (["layer", "size=17"], "size must be a multiple of 16, got 17"),
        (["layer", "levels=[5]"], "levels must be of 0 ... 4, got [5]"),
        (["network", "profile=-1"], "profile must be at least 0, got -1"),
        (["network", "checkpointing=-1"], "checkpointing must be at least 0, got -1"),
        (["loss", "repeats=0"], "repeats must be at least 1, got 0"),
        (["metrics", "threads=0"], "threads must be at least 1, got 0"),
        (["metrics", "size=9"], "size must be a multiple of 8, got 9"),
        (["data", "size=50"], "size must be one of [48, 64, 96, 128], got 50"),
        (["data", "workers=[-1]"], "workers must be numbers from 0, got [-1]"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
    with pytest.raises(UserError) as error:
        main()
    assert message in str(error.value)


def test_options_have_their_types() -> None:
    subject, options = benchmark.parse(["data", "workers=[1]", "step=5", "threads=1"])
    assert (subject, options.workers, options.step, options.threads) == ("data", (1,), 5.0, 1)


def test_the_help_tells_every_subject_with_its_defaults() -> None:
    lines = [line.strip() for line in (command_module.__doc__ or "").splitlines()]
    assert {*benchmark.usage()} <= {*lines}


def test_medians_are_over_enough_rounds_by_default() -> None:
    assert all(kind.repeats >= 7 for kind in SUBJECTS.values())


def test_a_wrong_argument_ends_with_one_line_and_code_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "loss", "size=none"])
    with pytest.raises(SystemExit) as end:
        run_command(main)
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def run(arguments: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """What a command writes."""
    words = arguments.split()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(benchmark, "keep_freed_memory", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmark", *words])
    main()
    name = "-".join([words[0], *sorted(words[1:])])
    return json.loads((folder / "outputs" / "benchmarks" / f"{name}.json").read_text())


@pytest.mark.parametrize(
    "arguments", ["metrics size=8 repeats=1", "loss size=8 repeats=1", "exactness repeats=2"]
)
def test_tables_are_printed_and_written(
    arguments: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = run(arguments, tmp_path, monkeypatch)
    assert record["machine"]["threads"] == torch.get_num_threads()
    assert record["versions"]["torch"] == torch.__version__
    printed = capsys.readouterr().out
    for table in record["tables"]:
        assert f"**{table['title']}**" in printed
        assert table["rows"]


def test_errors_are_relative_to_the_largest_value_in_float64() -> None:
    case = exactness.draw(3)
    want = exactness.results(exactness.by_definition, case)
    kernel = naive_gabor_kernel(case.parameters, case.kernel_size)
    output = F.conv3d(case.x, kernel, padding=case.kernel_size // 2)
    torch.testing.assert_close(want[0], output)
    assert exactness.error(torch.tensor([4.0, 1.5]), torch.tensor([4.0, 1.0])) == 0.125
    (table,) = exactness.ExactnessBenchmark(repeats=1).tables()
    errors = {row["convolution"]: row["output"] for row in table.rows}
    assert 0 < errors["spectral, in torch, float64"] < 1e-12
    assert 1e-9 < errors["naive and F.conv3d, float32"] < 1e-4


@pytest.fixture
def narrow_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of all levels and layers, with few channels."""
    narrow = functools.partial(VNetDS, channels=NARROW)
    for module in ("layer", "network"):
        monkeypatch.setattr(f"gaborseg.benchmarks.{module}.VNetDS", narrow)
    monkeypatch.setattr("gaborseg.benchmarks.layer._LARGEST", TINY)
    monkeypatch.setattr(plain, "CHANNELS", NARROW)


@pytest.mark.usefixtures("narrow_networks")
def test_networks_are_timed_with_each_number_of_levels_computed_again() -> None:
    assert network("gabor", 2).checkpointing == 2
    steps = network_steps(16, 1, plain=False)
    assert {name.partition(", ")[2] for name in steps} >= {"", "checkpointing=1", "again"}
    assert "mixed, checkpointing=1" in steps


@pytest.mark.usefixtures("narrow_networks")
def test_compiled_networks_are_timed_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda forward: compiled.append(forward) or forward)
    first, steps = NetworkBenchmark(size=16, repeats=1, plain=False, compile=True).tables()
    assert len(compiled) == 3
    assert [row["network"] for row in first.rows] == [f"{name}, compiled" for name in KERNELS]
    assert {row["network"] for row in steps.rows} >= {"gabor", "gabor, compiled"}


@pytest.mark.usefixtures("narrow_networks")
@pytest.mark.parametrize("arguments", ["layer size=16 repeats=1", "network size=16 repeats=1"])
def test_whole_networks_are_measured(
    arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(arguments, tmp_path, monkeypatch)["tables"]
