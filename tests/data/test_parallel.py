import pytest
import torch

from gaborseg.data import map_in_processes


def square(number: int) -> int:
    return number * number


def refuse_three(number: int) -> int:
    if number == 3:
        raise OSError("three is refused")
    return number


def test_results_come_in_the_items_order() -> None:
    assert map_in_processes(square, range(5), title="Squares", processes=2) == [0, 1, 4, 9, 16]


def test_nothing_to_do_is_nothing_done() -> None:
    assert map_in_processes(square, [], title="Squares") == []


def test_each_process_computes_with_one_thread() -> None:
    threads = map_in_processes(lambda _: torch.get_num_threads(), [0, 1], title="Threads")
    assert threads == [1, 1]


def test_an_error_in_a_process_is_raised_here() -> None:
    with pytest.raises(OSError, match="three is refused"):
        map_in_processes(refuse_three, range(5), title="Errors", processes=2)
