import errno
import importlib
from pathlib import Path

import pytest
import torch

from gaborseg.runs import Monitor, Run, RunFile
from gaborseg.training import checkpoint_to_resume, checkpoints


def test_checkpoints_of_before_still_tell_their_best_epoch(tmp_path: Path) -> None:
    best, last = checkpoints(Run(tmp_path, {}, "name", ("tag",), "group"), Monitor())
    assert best.state_key.startswith("Checkpoint{'monitor': 'val/dice', 'mode': 'max'")
    assert last.state_key.startswith("Checkpoint{'monitor': None")
    assert (best.filename, last.filename) == ("best", "last")
    assert f"{best.filename}{best.FILE_EXTENSION}" == RunFile.BEST


def test_no_path_in_a_checkpoint_is_ever_deleted(tmp_path: Path) -> None:
    best, _ = checkpoints(Run(tmp_path, {}, "name", ("tag",), "group"), Monitor())
    foreign = f"{tmp_path}/../thesis"
    best.load_state_dict(
        {
            "dirpath": "/elsewhere",
            "best_model_path": "local:///home/me/thesis",
            "best_model_score": torch.tensor(0.5),
            "best_k_models": {foreign: torch.tensor(0.5)},
            "kth_best_model_path": foreign,
            "kth_value": torch.tensor(0.5),
            "last_model_path": "",
        }
    )
    own = str(tmp_path / RunFile.BEST)
    assert (best.best_model_path, best.kth_best_model_path, best.last_model_path) == (own, own, "")
    assert best.best_k_models == {own: torch.tensor(0.5)}
    assert best.best_model_score == 0.5


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_a_checkpoint_that_the_machine_cannot_read_is_not_replaced(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise error

    run = Run(tmp_path, {}, "name", ("tag",), "group")
    run.path(RunFile.BEST).touch()
    module = importlib.import_module("gaborseg.training.checkpoints")
    monkeypatch.setattr(module, "check_archive", fail)
    with pytest.raises(type(error), match=r"best\.ckpt" if isinstance(error, OSError) else ""):
        checkpoint_to_resume(run)


def test_a_checkpoint_of_lists_in_lists_is_not_gone_on_from(tmp_path: Path) -> None:
    run, nested = Run(tmp_path, {}, "name", ("tag",), "group"), list[object]()
    for depth in (1, 400):
        nested = []
        for _ in range(depth):
            nested = [nested]
        torch.save({"epoch": 0, "state_dict": {}, "x": nested}, run.path(RunFile.BEST))
        assert checkpoint_to_resume(run) == (run.path(RunFile.BEST) if depth == 1 else None)
