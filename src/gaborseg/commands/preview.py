"""Draw what an augmentation does to some training subjects, and time it.

    python -m src.preview augmentation=strong
    python -m src.preview augmentation=paper subjects=4 draws=6 output=augmented.png
    python -m src.preview augmentation=intensity data=folder data.root=prepared

The picture shows scan and labels of each subject, the original beside its samples of the first
epochs: exactly those that a training with the same seed sees, before patches are cut. The command
also prints how many samples a second one loading process makes.
"""

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gaborseg.interface import (
    CONFIGURATIONS,
    build,
    check_paths,
    errors_in_log,
    mistakes_as_user_errors,
    run_command,
)
from gaborseg.machine import large_imports
from gaborseg.runs import folder_name

log = logging.getLogger(__name__)

_ENDING = ".png"
_PATHS = ("data.root", "data.cache", "data.split_file", "data.source.cache", "output")


@hydra.main(version_base="1.3", config_path=str(CONFIGURATIONS), config_name="preview")
def main(config: DictConfig) -> None:
    """Draw as configured, and show the time of a sample and where the picture is."""
    with errors_in_log():
        check_paths("data.root", config.data.get("root"))
        preview(config, HydraConfig.get().overrides.task)


def preview(config: DictConfig, choices: Sequence[str] = ()) -> Path:
    """Write the picture, log how long a sample takes, and return the picture's path.

    Args:
        config: The composed configuration.
        choices: The overrides, by which the picture is named.

    Raises:
        UserError: A setting is wrong, the data cannot be used, or the picture is there already.
    """
    with mistakes_as_user_errors():
        path = _output(config, choices)
        with large_imports():
            from gaborseg.pictures import draw_augmentation

        data = build(config.data)
        data.prepare()
        log.info(_timing(data, config.timed))
        epochs = [None, *range(config.draws)]
        subjects = {
            subject: [_sample(data, subject, epoch) for epoch in epochs]
            for subject in data.split.train[: config.subjects]
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_augmentation(path, subjects, f"{data.dataset.name}: {_name(config)}")
    log.info(f"The picture was written to {path}")
    return path


def _output(config: DictConfig, choices: Sequence[str]) -> Path:
    """Return where the picture goes; a name without an ending gets ``.png``.

    Raises:
        ValueError: A number is too small, or there can be no such picture.
        FileExistsError: There is one, and it may not be replaced.
    """
    for key in ("subjects", "draws", "timed"):
        if type(config[key]) is not int or config[key] < 1:
            raise ValueError(f"{key} must be a positive integer, got {config[key]}")
    told = [choice for choice in choices if not choice.startswith(("output=", "overwrite="))]
    path = _picture(str(config.output or f"outputs/previews/{folder_name(told)}.png"))
    if path.exists() and not config.overwrite:
        raise FileExistsError(f"{path} exists: set output=... to another, or overwrite=true")
    return path


def _picture(output: str) -> Path:
    """Return the path of a PNG that can be written.

    Raises:
        ValueError: It names a folder or another kind of file, or is in no folder to write to.
    """
    path = Path(output).expanduser()
    if path.is_dir() or output.endswith("/"):
        raise ValueError(f"output must name a picture, got the folder {output}: add NAME.png")
    if path.suffix.lower() not in ("", _ENDING):
        raise ValueError(f"output must end in {_ENDING}, got {output}")
    folder = next(parent for parent in path.parents if parent.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ValueError(f"output must be in a folder to write to, got {output}: see {folder}")
    return path if path.suffix else path.with_name(f"{path.name}{_ENDING}")


def _timing(data: Any, count: int) -> str:
    """Return a line on how fast one process, with one thread, makes training samples."""
    import torch

    from gaborseg.data import use_one_thread

    use_one_thread(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    subjects = data.split.train
    data.sample(subjects[0], 0)  # what comes first is slower
    started = time.perf_counter()
    for number in range(count):
        data.sample(subjects[number % len(subjects)], number)
    seconds = time.perf_counter() - started
    torch.set_num_threads(threads)
    size = " x ".join(map(str, data.spatial_shape))
    return (
        f"{count / seconds:.1f} samples/s and process, {1e3 * seconds / count:.0f} ms a sample of "
        f"{size} voxels (mean of {count})"
    )


def _sample(data: Any, subject: str, epoch: int | None) -> tuple[Any, Any]:
    sample = data.sample(subject, epoch)
    return sample["image"], sample["label"]


def _name(config: DictConfig) -> str:
    """Return the names of the transforms."""
    return ", ".join(config.augmentation.get("transforms", {})) or "no transform"


def run() -> None:
    """Run the command with this process's arguments."""
    run_command(main, settings="preview", paths=_PATHS)


if __name__ == "__main__":
    run()
