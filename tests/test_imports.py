"""The rules of the house: who may import what."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
MODULES = sorted(SRC.rglob("*.py"))
OURS = {
    "kernels": set(),
    "native": set(),
    "layers": {"kernels", "native"},
    "networks": {"layers"},
    "losses": {"native"},
    "metrics": set(),
    "data": {"processors"},
    "runs": set(),
    "training": {"metrics", "runs"},
    "sweeps": {"runs"},
    "plugins": {"runs", "sweeps", "processors", "command", "choices"},
    "inference": {"data"},
    "analysis": {"kernels", "metrics"},
}
OURS["benchmarks"] = {*OURS, "allocator"}
ONLY = {
    "hydra": {"entry", "plugins"},
    "omegaconf": {"entry", "plugins"},
    "pytorch_lightning": {"training", "entry"},
    "torchio": {"data"},
    "wandb": {"training", "entry"},
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def package(path: Path) -> str:
    parts = path.relative_to(SRC).parts
    return parts[0] if len(parts) > 1 else "entry"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_point_one_way(path: Path) -> None:
    here = package(path)
    for name in imported(path):
        top, *rest = name.split(".")
        if top == "src" and rest and here != "entry":
            assert rest[0] in OURS[here] | {here}, f"{path} imports {name}"
        assert here in ONLY.get(top, {here}), f"{path} imports {name}"


def test_every_package_has_its_rule() -> None:
    assert {p.name for p in SRC.iterdir() if p.is_dir() and p.name != "__pycache__"} == set(OURS)
