from pathlib import Path

from gaborseg.runs import Run, RunFile
from gaborseg.training import checkpoints


def test_checkpoints_of_before_still_tell_their_best_epoch(tmp_path: Path) -> None:
    best, last = checkpoints(Run(tmp_path, {}, "name", ("tag",), "group"))
    assert best.state_key.startswith("Checkpoint{'monitor': 'val/dice', 'mode': 'max'")
    assert last.state_key.startswith("Checkpoint{'monitor': None")
    assert (best.filename, last.filename) == ("best", "last")
    assert f"{best.filename}{best.FILE_EXTENSION}" == RunFile.BEST
