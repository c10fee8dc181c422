"""Scores of segmentations: a finished run once more, or two folders of label maps.

    python -m src.evaluate run=outputs/runs/default output=again
    python -m src.evaluate run=outputs/runs/default decision=argmax output=argmax
    python -m src.evaluate run=outputs/runs/default data=folder data.root=DIR output=elsewhere
    python -m src.evaluate predictions=DIR truth=DIR output=scores

Dice, HD95, NSD and volumes of every subject and structure go to ``subjects.csv``, in the format of
a run's; their means are shown.
"""

import json
import logging
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from rich.progress import track
from torch import Tensor, nn

from src.command import (
    build,
    errors_in_log,
    mistakes_as_user_errors,
    quote_values,
    run_command,
    show,
)
from src.data import DataError, SegmentationData, Source, in_patches
from src.data.cache import PreparedCase
from src.data.segmentation import fill_cache
from src.inference.archive import read_settings
from src.label_maps import find_pairs, score_pairs, structures_of, tolerance_of
from src.metrics import case_scores, voxel_sides, voxel_tolerance
from src.runs import software_versions, write_atomically
from src.trained import ModelError, TrainedModel, choose_device, load_trained
from src.training import (
    Score,
    overall_means,
    score_rows,
    scores_table,
    write_label_map,
    write_scores,
)

log = logging.getLogger(__name__)

PARTS = ("train", "validation", "test", "all")
DATA = "src.data."
"""Where everything lives that a run's data may be built with."""
CAPTION = (
    "means over the subjects that have a structure; NSD at {tolerance:.3g} mm; what only the "
    "prediction or only the truth has gets Dice 0, NSD 0 and the image's diagonal as HD95"
)


class Result(NamedTuple):
    """Scores of every subject and structure, the NSD tolerance in mm, what was scored, and how."""

    rows: list[Score]
    tolerance: float
    inputs: dict[str, str]
    decision: str | None = None


@hydra.main(version_base="1.3", config_path="../conf", config_name="evaluate")
def main(config: DictConfig) -> None:
    """Score what is configured, show the means, and write everything down."""
    with errors_in_log():
        try:
            evaluate(config)
        except KeyboardInterrupt:
            sys.exit("interrupted: nothing was scored")


def evaluate(config: DictConfig) -> list[Score]:
    """Score what is configured, show the means and write everything down.

    Returns:
        The scores of every subject and structure.

    Raises:
        UserError: What is asked for is incomplete or cannot be read, or results are there already.
    """
    with mistakes_as_user_errors():
        check(config)
        output = Path(config.output).expanduser()
        if (output / "subjects.csv").exists():
            raise FileExistsError(f"{output} holds results; choose another folder with output=...")
    result = score_run(config, output) if config.run else score_folders(config, output)
    write(output, result)
    title = " against ".join(result.inputs.values())
    show(scores_table(result.rows, title, CAPTION.format(tolerance=result.tolerance)))
    log.info(f"Mean Dice {overall_means(result.rows).dice:.4f}. Written to {output}")
    return result.rows


def check(config: DictConfig) -> None:
    """Check that the settings ask for one thing.

    Raises:
        ValueError: They do not.
    """
    folders = (config.predictions, config.truth)
    if bool(config.run) == any(folders) or any(folders) != all(folders):
        raise ValueError("either run=DIR must be given, or both predictions=DIR and truth=DIR")
    if config.part not in (None, *PARTS):
        raise ValueError(f"part must be {', '.join(PARTS)}, got {config.part}")
    tolerance = 0 if config.tolerance is None else config.tolerance
    if not isinstance(tolerance, int | float) or not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be a number of 0 mm or more, got {tolerance}")
    if config.part and (config.get("data") or not config.run):
        raise ValueError("part must only be given with run= and the run's own data")
    if config.get("decision") and (not config.run or "num_classes" in config.decision):
        raise ValueError("decision must be argmax, which needs no fit, and only be given with run=")


def write(output: Path, result: Result) -> None:
    """Write ``evaluation.json``, what was scored and the means, and then ``subjects.csv``."""
    record = {
        **result.inputs,
        "decision": result.decision,
        "subjects": len({row.subject for row in result.rows}),
        "means": overall_means(result.rows)._asdict(),
        "nsd_tolerance": result.tolerance,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **software_versions(),
    }
    with write_atomically(output / "evaluation.json") as file:
        json.dump(record, file, indent=2)
    write_scores(output / "subjects.csv", result.rows)


def score_folders(config: DictConfig, output: Path) -> Result:
    """Score a folder of label maps against another.

    Raises:
        UserError: They do not belong together, or a file cannot be read.
    """
    with mistakes_as_user_errors():
        predictions, truth = Path(config.predictions).expanduser(), Path(config.truth).expanduser()
        structures = tuple(config.structures or ()) or structures_of(truth, predictions)
        pairs, left_over = find_pairs(predictions, truth)
        if left_over:
            log.warning(f"{left_over} label maps of {truth} have no prediction and do not count")
        tolerance = tolerance_of(truth) if config.tolerance is None else config.tolerance
        output.mkdir(parents=True, exist_ok=True)
        rows = score_pairs(pairs, structures, tolerance)
    return Result(rows, tolerance, {"predictions": str(predictions), "truth": str(truth)})


class Cases(NamedTuple):
    """Prepared cases by subject, and of their whole data set the name and NSD tolerance in mm."""

    prepared: dict[str, PreparedCase]
    name: str
    tolerance: float


def score_run(config: DictConfig, output: Path) -> Result:
    """Segment with a run's network, write the label maps, and score them.

    Raises:
        UserError: The checkpoint cannot be used, or the data do not fit it.
    """
    with mistakes_as_user_errors():
        checkpoint = Path(config.run).expanduser() / config.checkpoint
        trained = load_trained(checkpoint, choose_device(config.device))
        decision = build(config.decision) if config.get("decision") else trained.decision
        cases = other_cases(config, trained) if config.get("data") else own_cases(config, trained)
        (output / "predictions").mkdir(parents=True, exist_ok=True)
    tolerance = cases.tolerance if config.tolerance is None else config.tolerance
    rows: list[Score] = []
    for subject in track(cases.prepared, description="Segmenting and scoring"):
        case = cases.prepared[subject]
        prediction, truth = segment(trained, decision, case)
        affine = case.read("affine")
        write_label_map(output / "predictions" / f"{subject}.nii.gz", prediction, affine)
        spacing = voxel_sides(affine).tolist()
        scores = case_scores(
            prediction, truth, len(trained.structures), spacing=spacing, tolerance=tolerance
        )
        rows += score_rows(subject, trained.structures, scores)
    inputs = {"checkpoint": str(trained.checkpoint), "data": cases.name}
    return Result(rows, tolerance, inputs, type(decision).__name__.lower())


@torch.inference_mode()
def segment(
    trained: TrainedModel, decision: nn.Module, case: PreparedCase
) -> tuple[Tensor, Tensor]:
    """The predicted and the true labels of a case, (D, H, W) each, on the CPU.

    Whole or in patches, as in the training.
    """
    device = next(trained.network.parameters()).device
    image = torch.from_numpy(np.array(case.read("image"))).to(device)[None]
    patch_size = trained.data.get("patch_size")
    if patch_size is None:
        logits = trained.network(image)
    else:
        logits = in_patches(trained.network, image, patch_size).to(device)
    return decision(logits)[0].cpu(), torch.from_numpy(np.array(case.read("label")))


def own_cases(config: DictConfig, trained: TrainedModel) -> Cases:
    """The cases of a part of the run's own data, found or built as the run has.

    Raises:
        ModelError: The run folder does not tell its data, or would build them with foreign code.
        DataError: The data are no longer there.
    """
    if trained.run is None or "data" not in trained.config:
        raise ModelError(
            f"{trained.checkpoint} has no run folder around it; choose data with data="
        )
    node = trained.config["data"] | {"augmentation": None}
    for target in targets(node):
        if not str(target).startswith(DATA):
            raise ModelError(f"{trained.run} must build its data with {DATA}*, got {target}")
    split = read_settings(trained.run / "run.json")["data"]["split"]
    part = config.part or "test"
    wanted = [s for name in PARTS[:3] if part in (name, "all") for s in split.get(name, [])]
    cases = fit_cases(build(OmegaConf.create(node)).source, trained)
    if missing := [subject for subject in wanted if subject not in cases.prepared]:
        raise DataError(f"{missing[0]} of the run is not in {cases.name} any more")
    return cases._replace(prepared={subject: cases.prepared[subject] for subject in wanted})


def other_cases(config: DictConfig, trained: TrainedModel) -> Cases:
    """All cases of the data that are configured; says how many of them the run has seen.

    Raises:
        DataError: The data cannot be used, or do not fit the network.
    """
    data: SegmentationData = build(config.data)
    cases = fit_cases(data.source, trained)
    if trained.run is not None and cases.name == trained.data.get("name"):
        split = read_settings(trained.run / "run.json")["data"]["split"]
        seen = {*split["train"], *split["validation"]} & set(cases.prepared)
        if seen:
            log.warning(
                f"{len(seen)} of these {len(cases.prepared)} subjects are from the run's training "
                "or validation"
            )
    return cases


def fit_cases(source: Source, trained: TrainedModel) -> Cases:
    """All cases of a data set, checked and prepared.

    Raises:
        DataError: The data cannot be used, or their structures or channels are not the network's.
    """
    dataset = source.dataset()
    for what in ("structures", "channels"):
        found, wanted = getattr(dataset, what), getattr(trained, what)
        if found != wanted:
            raise DataError(
                f"{dataset.root} must have the {what} of {trained.checkpoint}, "
                f"{', '.join(wanted)}, got {', '.join(found)}"
            )
    prepared = fill_cache(source.cache, dataset)
    tolerance = voxel_tolerance(case.read("affine") for case in prepared)
    return Cases(dict(zip(dataset.subjects, prepared, strict=True)), dataset.name, tolerance)


def targets(node: Any) -> Iterator[Any]:
    """Yield every ``_target_`` in a configuration."""
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and "_target_" in node:
        yield node["_target_"]
    for value in values:
        yield from targets(value)


if __name__ == "__main__":
    sys.argv[1:] = quote_values(sys.argv[1:], ("run", "predictions", "truth", "output"))
    run_command(main)
