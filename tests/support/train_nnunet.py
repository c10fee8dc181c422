"""Lets nnU-Net plan a tiny data set, and train an epoch with the trainer that lies in a folder.

python train_nnunet.py FOLDER
"""

import importlib
import json
import os
import sys
from pathlib import Path

HOME = Path(sys.argv[1])
sys.path.append(str(HOME))
PLACES = {f"nnUNet_{name}": str(HOME / name) for name in ("raw", "preprocessed", "results")}
os.environ |= {**PLACES, "nnUNet_extTrainer": str(HOME), "nnUNet_def_n_proc": "1"}
os.environ |= {"nnUNet_n_proc_DA": "1", "nnUNet_compile": "false"}  # nnU-Net reads them on import

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from nnunetv2.experiment_planning.plan_and_preprocess_api import (  # noqa: E402
    extract_fingerprints,
    plan_experiments,
    preprocess,
)

from gaborseg.layers import GaborConv3d  # noqa: E402


def write_cohort(folder: Path) -> None:
    """Write three subjects with two boxes each."""
    rng = np.random.default_rng(0)
    for place in ("imagesTr", "labelsTr"):
        (folder / place).mkdir(parents=True)
    for number in range(3):
        label = np.zeros((24, 24, 24), np.uint8)
        label[6:18, 6:18, 6:12], label[6:18, 6:18, 12:18] = 1, 2
        image = (100 * label + rng.normal(0, 10, label.shape)).astype(np.float32)
        image_path = folder / "imagesTr" / f"case{number}_0000.nii.gz"
        nib.save(nib.Nifti1Image(image, np.eye(4)), image_path)
        nib.save(nib.Nifti1Image(label, np.eye(4)), folder / "labelsTr" / f"case{number}.nii.gz")
    labels = {"background": 0, "inner": 1, "outer": 2}
    description = {"channel_names": {"0": "T1w"}, "labels": labels, "numTraining": 3}
    text = json.dumps({**description, "file_ending": ".nii.gz"})
    (folder / "dataset.json").write_text(text)


def main() -> None:
    """Plan, preprocess and train."""
    write_cohort(HOME / "raw" / "Dataset001_Tiny")
    extract_fingerprints([1], num_processes=1)
    plan_experiments([1])
    preprocess([1], configurations=("3d_fullres",), num_processes=(1,))
    os.environ |= {"nnUNet_n_proc_DA": "0"}  # from here on: no process of its own for augmentation
    planned = HOME / "preprocessed" / "Dataset001_Tiny"
    plans = json.loads((planned / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    told = json.loads((planned / "dataset.json").read_text())
    kind = importlib.import_module("nnUNetTrainerGaborPCC").nnUNetTrainerGaborPCC
    trainer = kind(plans, "3d_fullres", "all", told, device=torch.device("cpu"))
    trainer.num_epochs = trainer.num_val_iterations_per_epoch = 1
    trainer.num_iterations_per_epoch = 2
    trainer.run_training()
    gabor = any(isinstance(module, GaborConv3d) for module in trainer.network.modules())
    finite = bool(np.isfinite(trainer.logger.get_value("train_losses", step=-1)))
    print(f"Gabor kernels: {gabor}, finite losses: {finite}")


if __name__ == "__main__":
    main()
