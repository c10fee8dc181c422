import math

import pytest

from gaborseg.runs import folder_name, sweep_folder


def test_names_depend_on_the_choices_alone() -> None:
    assert folder_name(["loss=pcc", "kernel=gabor"]) == folder_name(["kernel=gabor", "loss=pcc"])


@pytest.mark.parametrize("exponent", [-4, -3.5, -3, -2.5, -2])
def test_the_papers_rates_are_named_by_their_exponents(exponent: float) -> None:
    rate = 10.0**exponent
    assert folder_name([f"optimizer.lr={rate!r}"]) == f"optimizer.lr=10^{exponent:g}"


@pytest.mark.parametrize("text", ["1e-3", "0.001", ".001", "1.0e-03"])
def test_a_rate_has_one_name_however_it_is_written(text: str) -> None:
    assert folder_name([f"optimizer.lr={text}"]) == "optimizer.lr=10^-3"


@pytest.mark.parametrize("text", ["2", "48", "true", "null", "pcc", "007", "1_000", "-3", "1.2.3"])
def test_what_is_not_a_fraction_keeps_its_form(text: str) -> None:
    assert folder_name([f"key={text}"]) == f"key={text}"


@pytest.mark.parametrize(("text", "name"), [("0.2", "0.2"), ("-1e-3", "-0.001"), ("0.0", "0.0")])
def test_other_fractions_are_written_out(text: str, name: str) -> None:
    assert folder_name([f"key={text}"]) == f"key={name}"


def test_two_rates_that_print_alike_differ_in_name() -> None:
    near = math.nextafter(0.003, 1)
    assert folder_name(["lr=0.003"]) != folder_name([f"lr={near!r}"])


def test_a_sweep_of_its_own_file_has_its_own_folder() -> None:
    assert sweep_folder(["kernel=gabor", "+sweeps=smoke"]) == "outputs/sweeps/smoke"
    assert sweep_folder(["kernel=gabor"]) == "outputs/runs"
    assert folder_name(["kernel=gabor", "+sweeps=smoke"]) == "kernel=gabor"


def test_a_search_has_its_own_folder_and_a_grid_has_not() -> None:
    space = ["optimizer.lr=tag(log,interval(1e-4,1e-2))"]
    folder = sweep_folder(space, ["hydra.verbose=true", "hydra/sweeper=optuna"])
    assert folder == "outputs/searches/optimizer.lr=tag_log,interval_1e-4,1e-2__"
    assert sweep_folder(space, ["hydra/sweeper=local"]) == "outputs/runs"
    assert sweep_folder(["+sweeps=mine"], ["hydra/sweeper=halving"]) == "outputs/sweeps/mine"


@pytest.mark.parametrize("text", ["~callbacks.progress", "~metrics=", "~callbacks.progress=null"])
def test_what_is_left_out_has_one_name_in_a_sweep_and_alone(text: str) -> None:
    assert folder_name([text]) == text.partition("=")[0]


def test_what_never_decides_a_result_is_not_in_a_name() -> None:
    assert folder_name(["pause_after=3", "objective=val/loss", "seed=1"]) == "seed=1"
