import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from gaborseg.models import ModelError
from gaborseg.models.archive import read_checkpoint
from gaborseg.runs import sealed


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


def save(path: Path, **content: object) -> Path:
    torch.save({"state_dict": {"weight": torch.ones(3)}} | content, path)
    return path


def test_tensors_and_plain_values_come_back(tmp_path: Path) -> None:
    path = save(tmp_path / "good.ckpt", description={"data": {"size": [1, 2.5, None, "x"]}})
    content = read_checkpoint(path)
    assert content["description"] == {"data": {"size": [1, 2.5, None, "x"]}}
    torch.testing.assert_close(content["state_dict"]["weight"], torch.ones(3))


@pytest.mark.parametrize("where", ["state_dict", "description", "callbacks"])
def test_a_pickled_command_is_not_run(where: str, tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    path = save(tmp_path / "bad.ckpt", **{where: Malicious(f"touch {harm}")})
    with pytest.raises(ModelError, match="must hold tensors and plain values"):
        read_checkpoint(path)
    assert not harm.exists()
    torch.load(path, weights_only=False)
    assert harm.exists(), "the file must be one that would do harm"


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    path = tmp_path / "bare.ckpt"
    path.write_bytes(pickle.dumps(Malicious(f"touch {harm}")))
    with pytest.raises(ModelError, match="damaged or not a checkpoint"):
        read_checkpoint(path)
    assert not harm.exists()


def test_an_archive_that_grows_is_refused_before_it_is_read(tmp_path: Path) -> None:
    good = save(tmp_path / "good.ckpt", zeros=torch.zeros(1_000_000))
    bomb = tmp_path / "bomb.ckpt"
    with (
        zipfile.ZipFile(good) as source,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert bomb.stat().st_size < good.stat().st_size / 100
    with pytest.raises(ModelError, match="must not be compressed"):
        read_checkpoint(bomb)


def test_a_tensor_may_not_claim_more_than_the_file_holds(tmp_path: Path) -> None:
    huge = torch.ones(1).expand(10**12)
    path = save(tmp_path / "huge.ckpt", state_dict={"weight": huge})
    assert path.stat().st_size < 10_000
    with pytest.raises(ModelError, match="must hold the weights"):
        read_checkpoint(path)


def test_a_missing_and_a_truncated_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is missing"):
        read_checkpoint(tmp_path / "none.ckpt")
    path = save(tmp_path / "cut.ckpt")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="damaged"):
        read_checkpoint(path)


def test_a_file_without_weights_is_told(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(ModelError, match="must hold the weights of a training"):
        read_checkpoint(tmp_path / "list.ckpt")


def test_a_description_of_before_comes_back_in_todays_names(tmp_path: Path) -> None:
    described = {"decision": {"_target_": "src.training.Argmax"}, "data": {"algorithm": "mine"}}
    content = read_checkpoint(save(tmp_path / "old.ckpt", description=described))
    assert content["description"] == {
        "decision": {"_target_": "gaborseg.decisions.Argmax"},
        "data": {"algorithm": "mine"},
    }


@pytest.mark.parametrize(
    "index",
    [b"}" + b")" + b"\x85" * 300_000 + b"K\x01s.", b"]" * 100_000 + b"a" * 99_999 + b"."],
    ids=["tuples, hashed", "lists"],
)
def test_what_is_nested_endlessly_does_not_end_the_process(index: bytes, tmp_path: Path) -> None:
    path = save(tmp_path / "good.ckpt")
    with zipfile.ZipFile(path) as good, zipfile.ZipFile(tmp_path / "deep.ckpt", "w") as deep:
        for entry in good.infolist():
            is_index = entry.filename.endswith("data.pkl")
            content = b"\x80\x02" + index if is_index else good.read(entry)
            deep.writestr(entry.filename, content)
    with pytest.raises(ModelError, match="is a damaged checkpoint: it is nested too deeply"):
        read_checkpoint(tmp_path / "deep.ckpt")


def test_lists_in_lists_are_refused(tmp_path: Path) -> None:
    deep: list[object] = []
    for _ in range(150):
        deep = [deep]
    path = save(tmp_path / "deep.ckpt", description={"data": {"structures": deep}})
    with pytest.raises(ModelError, match="nested too deeply"):
        read_checkpoint(path)


def test_one_flipped_bit_is_told(tmp_path: Path) -> None:
    weights = torch.rand(1000)
    path = save(tmp_path / "rotten.ckpt", state_dict={"weight": weights})
    content = bytearray(path.read_bytes())
    content[content.index(weights.numpy().tobytes()) + 3] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged checkpoint: .* another checksum"):
        read_checkpoint(path)


def test_weights_that_were_altered_and_saved_again_are_told(tmp_path: Path) -> None:
    path = tmp_path / "altered.ckpt"
    content = sealed({"state_dict": {"weight": torch.ones(3)}}, {})
    torch.save(content | {"state_dict": {"weight": torch.zeros(3)}}, path)
    with pytest.raises(ModelError, match="its weights are not those that were written"):
        read_checkpoint(path)


def test_a_checkpoint_in_the_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    torch.save(sealed({"state_dict": {}}, {"id": "a1", "settings": "b1"}), path)
    (tmp_path / "run.json").write_text('{"id": "a2"}')
    with pytest.raises(ModelError, match="whose id is a2, got one of a1: move it elsewhere"):
        read_checkpoint(path)
