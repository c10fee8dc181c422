import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from gaborseg.training import write_label_map

AFFINE = np.array([[0, -2.0, 0, 5], [3.0, 0, 0, 6], [0, 0, 1.5, 7], [0, 0, 0, 1]])


def test_a_label_map_can_be_read_back(tmp_path: Path) -> None:
    labels = torch.randint(0, 256, (5, 6, 7))
    write_label_map(tmp_path / "sub.nii.gz", labels, AFFINE)
    volume = nib.load(tmp_path / "sub.nii.gz")
    assert volume.get_data_dtype() == np.uint8
    assert volume.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(np.asarray(volume.dataobj), labels)
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_the_same_labels_give_the_same_bytes(tmp_path: Path) -> None:
    labels = torch.ones(4, 4, 4)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_label_map(tmp_path / name, labels, AFFINE)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_write_that_fails_leaves_the_old_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sub.nii.gz"
    write_label_map(path, torch.zeros(2, 2, 2), AFFINE)
    before = path.read_bytes()

    def fail(*arguments: object, **options: object) -> bytes:
        raise OSError("disk full")

    monkeypatch.setattr(gzip, "compress", fail)
    with pytest.raises(OSError, match="disk full"):
        write_label_map(path, torch.ones(2, 2, 2), AFFINE)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
