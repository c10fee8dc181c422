"""Checkpoints and exported models that somebody has made for harm."""

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from hostile import MARK, Attack, Sound
from onnx import TensorProto, helper, numpy_helper

from tiny_cohort import write_nifti

_PREDICT = ("predict", "input=scan.nii.gz", "output=out", "device=cpu", "threads=1")


def attacks() -> Iterator[Attack]:
    """Yield them all."""
    for change in (
        pickle_inside, nan_weight, infinite_weights, too_large_weights, empty_weights,
        foreign_network, network_by_attribute, deep_description, cyclic_description,
        wide_description, negative_classes, a_billion_classes, huge_size, tiny_spacing,
        interpolation, no_description,
    ):  # fmt: skip
        yield Attack(change.__name__, (*_PREDICT, "checkpoint=a.ckpt"), _checkpoint(change), True)
    for write in (bare_pickle, zip_of_nothing, empty_file):
        yield Attack(write.__name__, (*_PREDICT, "checkpoint=a.ckpt"), _file(write), True)
    for alter in (
        data_outside, operation_unknown, tile_of_a_million, deep_metadata, nan_weight_in_onnx,
    ):  # fmt: skip
        yield Attack(alter.__name__, (*_PREDICT, "checkpoint=a.onnx"), _onnx(alter), True)


class Payload:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {MARK}",)


def _write_scan(folder: Path) -> None:
    voxels = np.random.default_rng(0).normal(size=(12, 12, 12)).astype(np.float32)
    write_nifti(folder / "scan.nii.gz", voxels)


def _checkpoint(change: Callable[[dict], object]) -> Callable[[Path, Sound], None]:
    def make(folder: Path, sound: Sound) -> None:
        _write_scan(folder)
        content = torch.load(sound.run / "best.ckpt", weights_only=True)
        change(content)
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(20_000)  # to write what is nested deeply
        torch.save(content, folder / "a.ckpt")
        sys.setrecursionlimit(limit)

    return make


def _file(write: Callable[[Path], object]) -> Callable[[Path, Sound], None]:
    def make(folder: Path, sound: Sound) -> None:
        _write_scan(folder)
        write(folder / "a.ckpt")

    return make


def _onnx(alter: Callable[[Any, Sound], object]) -> Callable[[Path, Sound], None]:
    def make(folder: Path, sound: Sound) -> None:
        _write_scan(folder)
        model = onnx.load(sound.onnx)
        alter(model, sound)
        onnx.save(model, folder / "a.onnx")

    return make


def _weights(content: dict) -> list[torch.Tensor]:
    return [value for value in content["state_dict"].values() if value.is_floating_point()]


def pickle_inside(content: dict) -> None:
    content["x"] = Payload()


def nan_weight(content: dict) -> None:
    max(_weights(content), key=torch.Tensor.numel).view(-1)[0] = torch.nan


def infinite_weights(content: dict) -> None:
    for weight in _weights(content):
        weight.fill_(torch.inf)


def too_large_weights(content: dict) -> None:
    for weight in _weights(content):
        weight.fill_(1e38)


def empty_weights(content: dict) -> None:
    content["state_dict"] = {}


def foreign_network(content: dict) -> None:
    content["description"]["network"] = {"_target_": "os.system", "command": f"touch {MARK}"}


def network_by_attribute(content: dict) -> None:
    target = "gaborseg.networks.vnet_ds.torch.hub.load"
    content["description"]["network"] = {"_target_": target, "repo_or_dir": ".", "model": "x"}


def deep_description(content: dict) -> None:
    deep: dict = {}
    for _ in range(900):
        deep = {"a": deep}
    content["description"]["network"]["x"] = deep


def cyclic_description(content: dict) -> None:
    content["description"]["network"]["x"] = content["description"]["network"]


def wide_description(content: dict) -> None:
    wide: Any = ["a"] * 10
    for _ in range(12):
        wide = [wide] * 10
    content["description"]["data"]["x"] = wide


def negative_classes(content: dict) -> None:
    content["description"]["network"]["num_classes"] = -1


def a_billion_classes(content: dict) -> None:
    content["description"]["network"]["num_classes"] = 10**9


def huge_size(content: dict) -> None:
    content["description"]["data"]["size"] = [4096] * 3


def tiny_spacing(content: dict) -> None:
    content["description"]["data"]["spacing"] = [1e-6] * 3


def interpolation(content: dict) -> None:
    content["description"]["data"]["name"] = "${oc.env:PATH}"
    content["description"]["network"]["num_classes"] = "${oc.decode:3}"


def no_description(content: dict) -> None:
    del content["description"]


def bare_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Payload()))


def zip_of_nothing(path: Path) -> None:
    path.write_bytes(b"PK\x05\x06" + bytes(18))


def empty_file(path: Path) -> None:
    path.touch()


def data_outside(model: Any, sound: Sound) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(sound.secret))


def operation_unknown(model: Any, sound: Sound) -> None:
    model.graph.node.append(helper.make_node("Evil", ["image"], ["q"], domain="com.evil"))


def tile_of_a_million(model: Any, sound: Sound) -> None:
    model.graph.initializer.append(
        numpy_helper.from_array(np.array([10**6, 1, 1, 1, 1], np.int64), "times")
    )
    model.graph.node.insert(0, helper.make_node("Tile", ["image", "times"], ["many"]))
    model.graph.node.insert(1, helper.make_node("ReduceMax", ["many"], ["most"], keepdims=1))
    for node in list(model.graph.node)[2:]:
        node.input[:] = ["shifted" if name == "image" else name for name in node.input]
    model.graph.node.insert(2, helper.make_node("Add", ["image", "most"], ["shifted"]))


def deep_metadata(model: Any, sound: Sound) -> None:
    for entry in model.metadata_props:
        entry.value = "[" * 100_000 + "]" * 100_000


def nan_weight_in_onnx(model: Any, sound: Sound) -> None:
    tensor = max(model.graph.initializer, key=lambda entry: len(entry.raw_data))
    values = numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
