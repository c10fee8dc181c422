"""What can be known of the Triton kernels without a card: they are compiled for each, not run."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from _pytest.mark.structures import ParameterSet

from gaborseg.gpu import CARDS, PROCESSORS, Compiled, compiled, estimate, ffma_share, plans
from gaborseg.gpu.kernels.jit import triton
from gaborseg.gpu.static.launches import Launch, recorded_launches
from gaborseg.gpu.static.plan import Plan
from gaborseg.gpu.static.sass import code_of
from gaborseg.gpu.static.time_model import busy_cycles
from gaborseg.gpu.synthesis import synthesise_forward

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
needs_compiler = pytest.mark.skipif(
    triton is None or INTERPRETED, reason="needs Triton, and not its interpreter"
)
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
PLANS = {plan.name: plan for plan in plans()}
META = torch.device("meta")
H100 = CARDS["H100"]

LISTING = """
        /*0000*/                   LDG.E.128 R4, [R2.64] ;
.L_x_1:
        /*0010*/                   IADD3 R9, R9, 0x1, RZ ;
.L_x_0:
        /*0020*/                   FFMA.FTZ R1, R2, R3, R1 ;
        /*0030*/                   FFMA R1, R2, R3, R1 ;
        /*0040*/             @!UP0 MUFU.EX2 R1, R1 ;
        /*0050*/              @P0 BRA `(.L_x_0) ;
        /*0060*/              @P1 BRA `(.L_x_1) ;
        /*0070*/                   EXIT ;
.L_x_2:
        /*0080*/                   BRA `(.L_x_2);
"""


SPILLS = {
    ("spectra, gradient by taps", 100): "Triton 3.7: 76 bytes",
    ("spectra, gradient by taps", 120): "Triton 3.7: 12 bytes",
}
"""Known exceptions, which depend on the version of Triton."""


def launches_to_check() -> Iterator[ParameterSet]:
    """Every plan for every card."""
    for name, plan in PLANS.items():
        for capability in ARCHITECTURES:
            reason = SPILLS.get((name, capability))
            marks = [pytest.mark.xfail(reason=reason, strict=False)] if reason else []
            yield pytest.param(plan, capability, marks=marks, id=f"{name}-{capability}")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for Triton that all processes of this test run share."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "triton"


@pytest.fixture
def compile_for(
    shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Plan, int], Compiled]:
    """Compile the launch of a plan for a compute capability."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(shared_cache))
    return lambda plan, capability: compiled(plan.launch(capability), capability)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("plan", "capability"), [*launches_to_check()])
def test_a_kernel_fits_a_card_as_planned_without_spilled_registers(
    plan: Plan, capability: int, compile_for: Callable[[Plan, int], Compiled]
) -> None:
    kernel, processor = compile_for(plan, capability), PROCESSORS[capability]
    resident = processor.resident_programs(kernel.warps, kernel.registers, kernel.shared)
    assert kernel.spilled == 0
    assert kernel.shared <= processor.shared_of_program * 1024
    assert resident * kernel.warps >= min(plan.resident_warps, processor.warps)


@pytest.mark.slow
@needs_compiler
@pytest.mark.xfail(reason="54 % with tiles of 64 x 16; 60 % with twice as many numbers a thread")
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("plan", [plan for plan in plans() if plan.ffma], ids=lambda p: p.name)
def test_most_of_an_inner_loop_is_multiply_adds(
    plan: Plan, capability: int, compile_for: Callable[[Plan, int], Compiled]
) -> None:
    loop = compile_for(plan, capability).code.inner_loop()
    assert ffma_share(loop) >= plan.ffma
    assert not {"LDL", "STL"} & {instruction.name for instruction in loop}


@needs_compiler
def test_a_launch_is_noted_as_the_host_code_makes_it() -> None:
    with recorded_launches() as launches:
        synthesise_forward(torch.empty(8, 3, 5, device=META), 7)
    (launch,) = launches
    numbers = {k: v for k, v in launch.arguments.items() if not isinstance(v, torch.Tensor)}
    assert launch.kernel.__name__ == "forward_kernel"
    assert (numbers["inputs"], numbers["outputs"], numbers["size"]) == (3, 5, 7)
    assert launch.options == {"num_warps": 1}
    assert launch.programs == 8  # two pairs each
    assert launch.traffic == 4 * (8 * 15 + 15 * 343)


@needs_compiler
def test_kernels_run_again_after_their_launches_were_noted() -> None:
    run = triton.runtime.JITFunction.run
    with pytest.raises(KeyError), recorded_launches():
        raise KeyError
    assert triton.runtime.JITFunction.run is run


@needs_compiler
def test_a_tensor_given_twice_is_moved_once() -> None:
    function = triton.jit(one_number)
    tensor = torch.empty(10, device=META)
    with recorded_launches() as launches:
        function[(1,)](tensor, tensor, 3)
    assert launches[0].traffic == 40


@needs_compiler
def test_a_tensor_that_begins_anywhere_stays_so() -> None:
    function = triton.jit(one_number)
    tensor = torch.empty(10, device=META)
    with recorded_launches() as launches:
        function[(1,)](tensor, tensor[1:], 3)
    at = [launches[0].arguments[name].data_ptr() % 16 for name in "ab"]
    assert at == [0, 4]


def one_number(a: int, b: int, c: int) -> None:
    """A kernel that nobody compiles."""


@needs_compiler
def test_a_plan_names_a_kernel_that_its_host_code_launches() -> None:
    plan = Plan("name", "_other_kernel", lambda: synthesise_forward(torch.empty(8, 1, 1), 3))
    with pytest.raises(ValueError, match="name: the host code does not launch _other_kernel"):
        plan.launch(90)


@needs_compiler
def test_every_kernel_has_a_plan() -> None:
    assert all(plan.launch(90).programs > 0 for plan in PLANS.values())


def test_the_inner_loop_is_the_one_that_computes_most() -> None:
    loop = code_of(LISTING).inner_loop()
    assert [instruction.opcode for instruction in loop] == ["FFMA.FTZ", "FFMA", "MUFU.EX2", "BRA"]
    assert ffma_share(loop) == 0.5


def test_what_stands_in_no_loop_is_outside() -> None:
    outside = code_of(LISTING).outside()
    assert [instruction.name for instruction in outside] == ["LDG", "EXIT", "BRA"]


def test_code_without_a_loop_has_no_inner_loop() -> None:
    code = code_of("        /*0000*/                   EXIT ;")
    assert not code.inner_loop()
    assert ffma_share(code.inner_loop()) == 0


@pytest.mark.parametrize(
    ("capability", "part", "cycles"),
    [(80, "float32", 4), (90, "float32", 2), (90, "special", 8), (75, "issue", 4)],
)
def test_each_part_of_a_processor_has_its_rate(capability: int, part: str, cycles: float) -> None:
    loop = code_of(LISTING).inner_loop()
    assert busy_cycles(loop, PROCESSORS[capability])[part] == cycles


def test_wide_loads_take_longer() -> None:
    outside = code_of(LISTING).outside()
    assert busy_cycles(outside, PROCESSORS[90])["memory"] == 16


@pytest.mark.parametrize(
    ("warps", "registers", "shared", "resident"),
    [
        (4, 32, 0, 16),  # 64 warps
        (4, 255, 0, 2),  # 2 warps of 256 registers a scheduler
        (4, 168, 0, 3),  # 3 warps of 168 registers a scheduler
        (1, 16, 0, 32),  # no more programs than that
        (4, 32, 100 * 1024, 2),  # 228 KiB, 1 of them taken for each program
        (4, 32, 228 * 1024, 0),
    ],
)
def test_what_resides_on_a_processor(
    warps: int, registers: int, shared: int, resident: int
) -> None:
    assert PROCESSORS[90].resident_programs(warps, registers, shared) == resident


def test_peak_rates_are_those_of_the_data_sheets() -> None:
    rates = {name: round(card.float32, 1) for name, card in CARDS.items()}
    small = {"T4": 8.1, "V100": 15.7, "A100": 19.5, "RTX 4090": 82.6}
    assert rates == {**small, "H100": 66.9, "H200": 66.9}


def test_the_slower_of_instructions_and_traffic_is_the_time() -> None:
    tensor = torch.empty(335_000, 1000, device=META)  # 0.4 ms of traffic
    launch = Launch(None, {}, {}, (132 * 10,), tensor.nbytes)
    kernel = Compiled(4, 32, 0, 0, b"listing")
    kernel.__dict__["code"] = code_of(LISTING)
    few, many = (estimate(launch, kernel, trips, H100) for trips in (1, 1e5))
    assert few.traffic == many.traffic == pytest.approx(4e-4)
    assert few.seconds == few.traffic
    # ten programs a processor, a warp a scheduler, 8 cycles a trip of one MUFU
    assert many.seconds == pytest.approx(10 * 8e5 / 1.98e9, rel=1e-3)
