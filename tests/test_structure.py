"""The rules of the house: where a file may stand, and what it may import."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import PROJECT
from gaborseg.runs import RunFile

SRC = PROJECT / "src"
PACKAGE = SRC / "gaborseg"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Each room may import those in lines above its own.
ORDER = (
    "machine scans decisions",
    "gpu native",
    "data layers losses metrics runs",
    "networks study sweeps",
    "interface pictures",
    "training",
    "models benchmarks plugins preparation",
    "evaluation experiment inference reporting",
    "commands",
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms.split()}
# Packages that few rooms may know.
ONLY = {
    "hydra": {"interface", "plugins", "commands", "models"},
    "omegaconf": {"interface", "plugins", "commands", "benchmarks", "experiment"},
    "pytorch_lightning": {"data", "training", "experiment"},
    "torchio": {"data"},
    "wandb": {"training", "reporting"},
}
MOST_FILES, MOST_LINES = 15, 360


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Modules and the names that are taken from them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", tuple(alias.name for alias in node.names)


def each_module(paths: list[Path] = MODULES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(SRC)))


def test_the_top_of_the_package_holds_rooms_alone() -> None:
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files == {"__init__.py", "py.typed"}


def test_every_room_has_its_level() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert rooms == set(LEVEL)


def test_every_folder_of_the_package_is_installed() -> None:
    setuptools = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent for path in PACKAGE.rglob("*") if path.is_file()}
    names = {
        ".".join(("gaborseg", *folder.relative_to(PACKAGE).parts))
        for folder in folders
        if folder.name != "__pycache__"
    }
    assert names | {"gaborseg.conf", "gaborseg.conf.sweeps"} == set(setuptools["packages"])


def test_no_room_is_crowded() -> None:
    for folder in {path.parent for path in MODULES}:
        files = [path for path in folder.iterdir() if path.is_file()]
        assert len(files) <= MOST_FILES, folder


@each_module()
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


@each_module()
def test_imports_point_one_way_and_to_the_face_of_a_room(path: Path) -> None:
    here = room_of(path)
    for name, _ in imports(path):
        top, *rest = name.split(".")
        if top == "gaborseg" and rest and here and rest[0] != here:
            assert LEVEL[rest[0]] < LEVEL[here], f"{here} imports {name}"
            assert len(rest) == 1, f"{path} imports {name}, behind the face of the room"


@each_module([path for path in MODULES if room_of(path) != "runs"])
def test_one_room_knows_what_the_files_of_a_run_are_called(path: Path) -> None:
    folders = [f'/ "{name}"' for name in RunFile]
    names = [f'"{name}"' for name in RunFile if "." in name]
    text = path.read_text()
    assert [literal for literal in (*folders, *names) if literal in text] == []


@each_module()
def test_few_rooms_know_the_frameworks(path: Path) -> None:
    for name, _ in imports(path):
        top = name.partition(".")[0]
        assert room_of(path) in ONLY.get(top, {room_of(path)}), f"{path} imports {name}"


@pytest.mark.parametrize("path", sorted(SRC.glob("*.py")), ids=lambda path: path.stem)
def test_a_door_opens_one_command(path: Path) -> None:
    assert list(imports(path)) == [(f"gaborseg.commands.{path.stem}", ("run",))]
    assert (PACKAGE / "commands" / path.name).is_file()


@each_module(sorted((PACKAGE / "commands").glob("*.py")))
def test_commands_import_no_commands(path: Path) -> None:
    assert not [name for name, _ in imports(path) if name.startswith("gaborseg.commands")]


def test_every_command_has_its_door() -> None:
    commands = {path.name for path in (PACKAGE / "commands").glob("[!_]*.py")}
    assert commands == {path.name for path in SRC.glob("*.py")}


def defined(path: Path) -> Iterator[str]:
    """Names that a module defines at its top level."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets):
                yield from (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))


def mentioned(path: Path) -> set[str]:
    """Names that a file imports, takes from a module, or says in a string."""
    if path.suffix != ".py":
        return set(re.findall(r"\w+", path.read_text()))
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and path not in MODULES:
            names |= set(re.findall(r"\w+", node.value))
    return names


@pytest.fixture(scope="module")
def users() -> dict[str, set[Path]]:
    """The files that mention a name."""
    tests, conf = (PROJECT / "tests").rglob("*.py"), (PROJECT / "conf").rglob("*.yaml")
    found: dict[str, set[Path]] = {}
    for path in (*MODULES, *SRC.glob("*.py"), *tests, *conf):
        for name in mentioned(path):
            found.setdefault(name, set()).add(path)
    return found


@each_module([path for path in MODULES if path.name != "__init__.py"])
def test_a_name_that_only_its_own_file_uses_is_private(
    path: Path, users: dict[str, set[Path]]
) -> None:
    public = [name for name in defined(path) if not name.startswith("_")]
    assert [name for name in public if not users.get(name, set()) - {path}] == []
