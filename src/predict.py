"""Segment scans, each in its own space.

    python -m src.predict checkpoint=outputs/runs/default input=scan.nii.gz output=segmented
    python -m src.predict checkpoint='outputs/runs/split=*' input=scans output=segmented

A scan may have any orientation, spacing and size; its label map has the same grid. The volumes of
all scans are in ``volumes.csv``, with what speaks for and against trusting each.
"""

import glob
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig, ListConfig
from rich.table import Table

from src.allocator import keep_freed_memory
from src.command import (
    errors_in_log,
    mistakes_as_user_errors,
    quote_values,
    run_command,
    show,
)
from src.inference import (
    Model,
    ModelError,
    Problem,
    Results,
    Segmenter,
    digest,
    facts_of,
    find_scans,
    segment_all,
)
from src.trained import choose_device, load_trained

log = logging.getLogger(__name__)

EXPORTED = (".onnx", ".pt2")


@hydra.main(version_base="1.3", config_path="../conf", config_name="predict")
def main(config: DictConfig) -> None:
    """Segment as configured; exit with 1 if a scan could not be segmented."""
    with errors_in_log():
        try:
            problems = predict(config)
        except KeyboardInterrupt:
            sys.exit("interrupted: the same command goes on with the scans that are not done")
    if problems:
        sys.exit(1)


def predict(config: DictConfig) -> list[Problem]:
    """Segment as configured.

    Returns:
        The scans that could not be segmented.

    Raises:
        UserError: A model, the input or a setting cannot be used; nothing was written.
    """
    started = time.perf_counter()
    keep_freed_memory()
    with mistakes_as_user_errors():
        device = choose_device(config.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        files = checkpoint_files(paths_of(config.checkpoint))
        models = [load_model(path, device) for path in files]
        segmenter = Segmenter(models, list(config.flips), config.patch_size, device)
        scans = find_scans(paths_of(config.input), segmenter.facts.channels)
        results = Results(
            Path(config.output).expanduser(),
            segmenter.facts.structures,
            record_of(files, segmenter, config),
            probabilities=config.probabilities,
            overlay=config.overlay,
            overwrite=config.overwrite,
        )
    log.info(summary(segmenter, len(scans)))
    problems = segment_all(segmenter, scans, results)
    report(problems, len(scans), results, time.perf_counter() - started)
    return problems


def paths_of(value: Any) -> list[Path]:
    """The paths in a setting that is one path or a list of them."""
    values = list(value) if isinstance(value, ListConfig) else [value]
    return [Path(str(path)).expanduser() for path in values]


def checkpoint_files(paths: Sequence[Path]) -> list[Path]:
    """The model files that are named: files, run folders, or patterns such as ``runs/split=*``.

    Raises:
        ModelError: A pattern matches nothing, or one model is named twice.
    """
    found: list[Path] = []
    for path in paths:
        matches = [path] if path.exists() else sorted(map(Path, glob.glob(str(path))))
        if not matches:
            raise ModelError(f"{path} is missing: a checkpoint is a model file or a run folder")
        found += [match / "best.ckpt" if match.is_dir() else match for match in matches]
    for path in found:
        if found.count(path) > 1:
            raise ModelError(f"{path} must be named once")
    return found


def load_model(path: Path, device: torch.device) -> Model:
    """A model that is ready to use, from a checkpoint or an exported file.

    Raises:
        ModelError: The file cannot be used.
    """
    if path.suffix in EXPORTED:
        from src.inference.exported import load_exported  # needs onnxruntime, for .onnx

        return load_exported(path, device)
    trained = load_trained(path, device)
    try:
        facts = facts_of(trained.data)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return Model(path, facts, trained.network, trained.decision.scores)


def record_of(files: Sequence[Path], segmenter: Segmenter, config: DictConfig) -> dict[str, Any]:
    """What decides the results, ready for JSON."""
    return {
        "models": [digest(path) for path in files],
        "structures": list(segmenter.facts.structures),
        "flips": sorted(config.flips),
        "patch_size": segmenter.patch_size,
    }


def summary(segmenter: Segmenter, count: int) -> str:
    """What is about to be done, in a line."""
    facts, (low, high) = segmenter.facts, segmenter.field_of_view
    sides = f"{low:.0f}" if high - low < 1 else f"{low:.0f} to {high:.0f}"
    return (
        f"Scans: {count}. Models: {len(segmenter.models)} of {len(facts.structures)} structures in "
        f"{' and '.join(facts.channels)}, trained on {'x'.join(map(str, facts.size))} voxels and "
        f"fields of view of {sides} mm. Device: {segmenter.device}"
    )


def report(problems: Sequence[Problem], count: int, results: Results, seconds: float) -> None:
    """Show the scans that were not segmented, and where everything is."""
    if problems:
        table = Table("scan", "why it was not segmented", title="Not segmented")
        for problem in problems:
            table.add_row(problem.scan, problem.reason)
        show(table)
    done = count - len(problems)
    log.info(f"{done} of {count} scans are segmented, {seconds:.0f} s; see {results.table}")


if __name__ == "__main__":
    sys.argv[1:] = quote_values(sys.argv[1:], ("checkpoint", "input", "output"))
    run_command(main)
