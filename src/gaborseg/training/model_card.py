"""The card that goes with a model: what it is, from which data, how good, under which licence."""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import Any

import torch

from gaborseg.interface import markdown_table, markdown_text
from gaborseg.machine import write_atomically
from gaborseg.runs import (
    MONITOR,
    Run,
    RunFile,
    Score,
    monitor_in,
    overall_means,
    read_record,
    read_scores,
)
from gaborseg.scans import window_of

PAPER = """\
Wong, K.C.L., Moradi, M.: 3D Segmentation with Fully Trainable Gabor Kernels and Pearson's
Correlation Coefficient. MLMI 2022. <https://arxiv.org/abs/2201.03644>"""


def write_model_card(run: Run) -> None:
    """Write ``model_card.md`` beside the best checkpoint of a run that has been tested."""
    record = read_record(run.folder)
    checkpoint = torch.load(run.path(RunFile.BEST), weights_only=True, mmap=True)
    rows = read_scores(run.path(RunFile.SCORES))
    with write_atomically(run.path(RunFile.CARD)) as file:
        file.write(model_card(run.config, record, checkpoint, rows))


def model_card(
    config: dict[str, Any],
    record: dict[str, Any],
    checkpoint: dict[str, Any],
    rows: Sequence[Score],
) -> str:
    """Return the card as Markdown.

    Args:
        config: The run's resolved configuration.
        record: The content of its ``run.json``.
        checkpoint: The content of its ``best.ckpt``: epoch and description.
        rows: The scores of its test subjects.
    """
    data = (checkpoint.get("description") or record)["data"]
    sections = {
        f"Model card: {markdown_text(record['name'])}": _summary(config, record, checkpoint, data),
        "Use": _use(data),
        "Data and licence": _data(data, record["data"]["split"]),
        "Test scores": _scores(rows),
        "How to cite": _citation(data),
    }
    (title, summary), *others = sections.items()
    parts = [f"# {title}\n\n{summary}", *(f"## {name}\n\n{text}" for name, text in others)]
    return "\n\n".join(parts) + "\n"


def _summary(
    config: dict[str, Any], record: dict[str, Any], checkpoint: dict[str, Any], data: dict[str, Any]
) -> str:
    choices, software = record["choices"], record["sessions"][-1]
    chosen = ", ".join(
        f"{key} `{choices[key]}`" for key in ("network", "kernel", "loss") if choices.get(key)
    )
    channels = markdown_text(" + ".join(data["channels"]))
    monitor = monitor_in(record)
    by = "" if monitor.name == MONITOR else f" by {markdown_text(monitor.name)}"
    return "\n".join(
        [
            f"Segments {len(data['structures'])} structures in {channels} "
            f"volumes: {chosen}; {record['parameters']['total']:,} trained parameters.",
            "",
            f"- Weights: `{RunFile.BEST}`, epoch {checkpoint['epoch'] + 1} of "
            f"{config['trainer']['max_epochs']}, the best on the validation subjects{by}",
            f"- Decision: `{config['decision']['_target_'].rpartition('.')[2]}`; "
            f"seed {config['seed']}, split {config['split']}",
            *_start(record),
            f"- Trained: {software['started'][:10]} with gaborseg {software.get('gaborseg', '')} "
            f"(commit {software.get('git_commit', 'unknown')}), torch {software['torch']}",
            f"- Settings: `{RunFile.SETTINGS}`; training curves: `{RunFile.CURVES}`; "
            f"every test subject's scores: `{RunFile.SCORES}`",
        ]
    )


def _start(record: dict[str, Any]) -> Iterator[str]:
    """Yield the line on the weights that the training started from, if it was trained ones."""
    if weights := record.get("weights"):
        yield (
            f"- Started from: the weights of {markdown_text(weights['path'])}, digest "
            f"`{weights['digest']}`; {weights['loaded']:,} parameters loaded, "
            f"{weights['new']:,} new"
        )


def _use(data: dict[str, Any]) -> str:
    size = "x".join(map(str, data["size"]))
    return "\n".join(
        [
            "```bash",
            f"gaborseg predict checkpoint={RunFile.BEST} input=SCANS output=DIR",
            f"gaborseg export checkpoint={RunFile.BEST} format=onnx",
            "```",
            "",
            f"It was trained on volumes of {size} voxels{_field_of_view(data)}, {_clipped(data)}"
            "z-scored over all voxels, and knows no other kind of scan: `gaborseg predict` brings "
            "a scan onto that grid, and warns where its intensities or its field of view are "
            "unlike the training scans'. For research; not a medical device.",
        ]
    )


def _clipped(data: dict[str, Any]) -> str:
    window = window_of(data)
    return f"clipped to intensities of {window[0]:g} to {window[1]:g}, " if window else ""


def _field_of_view(data: dict[str, Any]) -> str:
    if not data.get("appearance"):
        return ""
    low, high = data["appearance"]["field_of_view"]
    sides = f"{low:.0f}" if high - low < 1 else f"{low:.0f} to {high:.0f}"
    return f" with a field of view of {sides} mm"


def _data(data: dict[str, Any], split: dict[str, Any]) -> str:
    sizes = ", ".join(f"{len(subjects)} {part}" for part, subjects in split.items())
    told = {key: markdown_text(str(data.get(key) or "")) for key in ("name", "credit", "licence")}
    unknown = "not stated in `dataset.json`: ask whoever gave you the data"
    return "\n".join(
        [
            f"- Data set: {told['name']}; {sizes} subjects",
            f"- Credit: {told['credit'] or unknown}",
            f"- Licence of the data: {told['licence'] or unknown}",
            "- The weights are derived from these data: see what that licence asks of derived "
            "works. The code is under the MIT licence.",
        ]
    )


def _scores(rows: Sequence[Score]) -> str:
    means = overall_means(rows)
    subjects = len({row.subject for row in rows})
    last = ["**mean**", f"**{means.dice:.3f}**", "", _shown(means.hd95, 2), str(subjects)]
    headings = ("structure", "Dice", "std", "HD95 [mm]", "subjects")
    return (
        f"{markdown_table(headings, [*_cells(rows), last])}\n\n"
        "Means over the test subjects that have the structure; none of them was trained on, nor "
        "chosen an epoch by."
    )


def _cells(rows: Sequence[Score]) -> Iterator[list[str]]:
    for structure in dict.fromkeys(row.structure for row in rows):
        own = [row for row in rows if row.structure == structure]
        dice = [row.dice for row in own if not math.isnan(row.dice)]
        hd95 = [row.hd95 for row in own if not math.isnan(row.hd95)]
        mean = fmean(dice) if dice else math.nan
        spread = stdev(dice) if len(dice) > 1 else math.nan
        distance = fmean(hd95) if hd95 else math.nan
        numbers = (_shown(mean, 3), _shown(spread, 3), _shown(distance, 2))
        yield [markdown_text(structure), *numbers, str(len(dice))]


def _citation(data: dict[str, Any]) -> str:
    lines = [PAPER, "", "The software: see `CITATION.cff` of gaborseg."]
    if data.get("credit"):
        lines += ["", f"The data: {markdown_text(str(data['credit']))}."]
    return "\n".join(lines)


def _shown(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
