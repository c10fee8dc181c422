"""Run folders, data sets and tables that somebody has made for harm."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hostile import MARK, Attack, Sound

from tiny_cohort import write_cohort, write_nifti

ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in pairwise("abcdefghi")
)
DEEP = "[" * 100_000 + "]" * 100_000
_EVALUATE = ("evaluate", "run=run", "output=out", "device=cpu")
_SOURCES: dict[str, Any] = {
    "a function": {"_target_": "os.system", "command": f"touch {MARK}"},
    "a function by attributes": {
        "_target_": "gaborseg.data.cache.shutil.os.system",
        "command": f"touch {MARK}",
    },
    "oc.create": f"${{oc.create:\"{{_target_: os.system, command: 'touch {MARK}'}}\"}}",
    "a writer": {
        "_target_": "gaborseg.machine.write_text",
        "path": {"_target_": "pathlib.Path", "_args_": [MARK]},
        "text": "x",
    },
    "a pickle": {
        "_target_": "gaborseg.data.cache.np.load",
        "file": "payload.npy",
        "allow_pickle": True,
    },
    "a variable": {"_target_": "gaborseg.data.Folder", "root": "/nowhere/${oc.env:SECRET}"},
}
_TRAIN = ("train", "experiment=smoke", "logger=csv", "trainer=cpu", "trainer.max_epochs=1")
_TRAIN += ("data=folder", "data.root=data", "data.cache=cache", "hydra.run.dir=out")
_FILES = {"config.yaml": ALIASES, "run.json": DEEP, "done.json": DEEP, "failed.json": DEEP}
_MAPPINGS = {"aliases": ALIASES, "deep": DEEP, "a function": str(_SOURCES["oc.create"])}
_DESCRIPTIONS = {"deep": DEEP, "a list": "[]", "no JSON": "{", "aliases": ALIASES}
_LABEL_TABLES = {
    "a colour table of one line": ("lut.txt", "1 " + "a " * 2**20),
    "a colour table of blanks": ("lut.txt", "1 a" + " 1" * 400 + " b"),
    "a colour table with escape sequences": ("lut.txt", "1 a\x1b[2J 1 1 1 0"),
    "a deep dataset.json": ("dataset.json", DEEP),
    "a dataset.json of paths": (
        "dataset.json",
        '{"labels": {"a": 1}, "modality": {"0": "../../a"}}',
    ),
}
_TABLES = {
    "quotes without an end": 'participant_id\tparticipant\n"sub-01\tx\n',
    "a field of a megabyte": f"participant_id\tparticipant\nsub-01\t{'x' * 2**20}\n",
    "a path": "participant_id\n../../etc\n",
    "nothing": "",
    "columns twice": "participant_id\tparticipant_id\nsub-01\tsub-02\n",
}


def attacks() -> Iterator[Attack]:
    """Yield them all."""
    yield from _on_runs()
    yield from _on_data_sets()
    for name, text in _MAPPINGS.items():
        words = ("prepare", "input=in", "output=out", "size=16", "labels=labels.yaml")
        yield Attack(f"labels are {name}", words, _scans_with_labels(text), True)
    for name, (file, text) in _LABEL_TABLES.items():
        words = ("prepare", "input=in", "output=out", "size=16", f"labels={file}")
        yield Attack(f"labels are {name}", words, _scans_with_labels(text, file), True)


def _on_runs() -> Iterator[Attack]:
    for name, source in _SOURCES.items():
        yield Attack(f"source is {name}", _EVALUATE, _run_with_source(source), True)
    for words in (("status", "run"), ("report", "runs=run", "output=out"), _EVALUATE):
        for file, text in _FILES.items():
            yield Attack(f"{file} is a bomb", words, _run_with(file, text))
        for number in (".inf", "-1", "abc", "null", "1e400"):
            yield Attack(f"max_epochs is {number}", words, _run_with_epochs(number))


def _on_data_sets() -> Iterator[Attack]:
    for file, texts in {"dataset.json": _DESCRIPTIONS, "participants.tsv": _TABLES}.items():
        for name, text in texts.items():
            yield Attack(f"{file}: {name}", _TRAIN, _data_with(file, text), True)
    for name in ("scan", "$\\foo{$", "=1+1", "[/red]", "a\x1b]0;x\x07", "<b>", "NCR/NET"):
        yield Attack(f"structure is {name!a}", _TRAIN, _data_with_structure(name))


def _run_with(file: str, text: str) -> Callable[[Path, Sound], None]:
    def make(folder: Path, sound: Sound) -> None:
        shutil.copytree(sound.run, folder / "run")
        (folder / "run" / file).write_text(text)

    return make


def _run_with_source(source: object) -> Callable[[Path, Sound], None]:
    def make(folder: Path, sound: Sound) -> None:
        shutil.copytree(sound.run, folder / "run")
        path = folder / "run" / "config.yaml"
        settings = yaml.safe_load(path.read_text())
        settings["data"]["source"] = source
        path.write_text(yaml.safe_dump(settings))
        np.save(folder / "payload.npy", np.array([{}], dtype=object), allow_pickle=True)

    return make


def _run_with_epochs(number: str) -> Callable[[Path, Sound], None]:
    def make(folder: Path, sound: Sound) -> None:
        shutil.copytree(sound.run, folder / "run")
        path = folder / "run" / "config.yaml"
        path.write_text(path.read_text().replace("max_epochs: 3", f"max_epochs: {number}"))

    return make


def _data_with(file: str, text: str) -> Callable[[Path, Sound], None]:
    def make(folder: Path, sound: Sound) -> None:
        write_cohort(folder / "data", num_subjects=2)
        (folder / "data" / file).write_text(text)

    return make


def _data_with_structure(name: str) -> Callable[[Path, Sound], None]:
    def make(folder: Path, sound: Sound) -> None:
        path = write_cohort(folder / "data") / "dataset.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"structures": [name, "other"]}))

    return make


def _scans_with_labels(text: str, file: str = "labels.yaml") -> Callable[[Path, Sound], None]:
    def make(folder: Path, sound: Sound) -> None:
        for ending in ("T1w", "dseg"):
            voxels = np.arange(1000).reshape(10, 10, 10) % (2 if ending == "dseg" else 1000)
            write_nifti(folder / "in" / f"a_{ending}.nii.gz", voxels.astype(np.int16))
        (folder / file).write_text(text)

    return make
