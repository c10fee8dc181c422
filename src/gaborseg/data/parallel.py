"""The same work on many items: in parallel, with a progress bar, and nobody left behind."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from gaborseg.machine import available_processors, check_open_files, progress

_Item = TypeVar("_Item")
Result = TypeVar("Result")


class _Work(TorchDataset, Generic[_Item, Result]):
    def __init__(self, function: Callable[[_Item], Result], items: Sequence[_Item]) -> None:
        self.function, self.items = function, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Result:
        return self.function(self.items[index])


def _as_is(result: Any) -> Any:
    """The result itself: nothing is to be collated."""
    return result


def map_in_processes(
    function: Callable[[_Item], Result],
    items: Sequence[_Item],
    *,
    title: str,
    processes: int | None = None,
) -> list[Result]:
    """``function`` of every item, in the items' order, under a progress bar called ``title``.

    A data loader is the pool of processes: each computes with one thread, so that no sum depends
    on the machine; a worker that dies is noticed; and workers leave on their own, and let go of
    inherited locks, when their parent is killed. With no processes all is done in this one.

    Raises:
        OSError: This process may open too few files to have others.
    """
    if not items:
        return []
    workers = min(len(items), available_processors() if processes is None else processes)
    if workers:
        check_open_files()
    loader: DataLoader = DataLoader(
        _Work(function, items),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_is,
        generator=torch.Generator(),
    )
    results = iter(loader)  # the workers start here, before the progress bar has a thread
    return list(progress(results, title, total=len(items)))
