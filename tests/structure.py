"""The structure of a source tree in figures, to hold two versions side by side.

    python tests/structure.py src/gaborseg
    python tests/structure.py ../another_checkout/src/gaborseg src/gaborseg

A room is a folder with Python files; an arrow is a pair of rooms of which one imports the other. A
public name is used only at home if no other file of the tree mentions it. A repeated run is six
lines in a row, blank ones and imports left out, that stand in the tree more than once.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

RUN = 6


def main(folders: Sequence[str]) -> None:
    """Print a table with a column for each tree."""
    columns = [figures(Path(folder)) for folder in folders or ["src/gaborseg"]]
    for name in columns[0]:
        print(f"{name:<32}", *(f"{column[name]:>12}" for column in columns))


def figures(root: Path) -> dict[str, str]:
    """What is counted of a tree, by name."""
    texts = {path: path.read_text() for path in sorted(root.rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    lengths = {path: len(text.splitlines()) for path, text in texts.items()}
    rooms = Counter(path.parent for path in texts if path.parent != root)
    functions = sorted(code_lines(node) for tree in trees.values() for node in defs(tree))
    public, at_home = names(trees)
    return {
        "Python files": str(len(texts)),
        "lines": str(sum(lengths.values())),
        "files at the top": str(sum(path.parent == root for path in texts)),
        "rooms": str(len(rooms)),
        "most files in a room": str(max(rooms.values(), default=0)),
        "longest file": str(max(lengths.values())),
        "function, median / p90 / max": " / ".join(
            str(functions[int(share * (len(functions) - 1))]) for share in (0.5, 0.9, 1)
        ),
        "import arrows between rooms": str(len(arrows(root, trees))),
        "arrows in both directions": str(both_ways(arrows(root, trees))),
        "public names": str(public),
        "public names used only at home": str(at_home),
        "repeated runs of six lines": str(repeated(texts.values())),
    }


def defs(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Every function and method."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def code_lines(node: ast.FunctionDef) -> int:
    """Lines of a function without its docstring."""
    documented = ast.get_docstring(node) is not None
    docstring = node.body[0]
    length = (node.end_lineno or 0) - node.lineno + 1
    return length - documented * ((docstring.end_lineno or 0) - docstring.lineno + 1)


def room(root: Path, path: Path) -> str:
    """The first folder of a path below the root, or the file's name at the top."""
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else path.stem


def arrows(root: Path, trees: dict[Path, ast.Module]) -> set[tuple[str, str]]:
    """Pairs (importing room, imported room)."""
    rooms = {room(root, path) for path in trees}
    found = set()
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{root.name}."):
                target = (node.module or "").split(".")[1]
                if target in rooms and target != room(root, path):
                    found.add((room(root, path), target))
    return found


def both_ways(pairs: set[tuple[str, str]]) -> int:
    """How many pairs of rooms import each other."""
    return sum((b, a) in pairs for a, b in pairs) // 2


def names(trees: dict[Path, ast.Module]) -> tuple[int, int]:
    """How many public top-level names there are, and how many no other file mentions."""
    used: dict[str, set[Path]] = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            for name in mentions(node):
                used.setdefault(name, set()).add(path)
    own = [(path, name) for path, tree in trees.items() for name in defined(tree)]
    return len(own), sum(not used.get(name, set()) - {path} for path, name in own)


def mentions(node: ast.AST) -> Iterator[str]:
    """Names that a node imports or takes from a module."""
    if isinstance(node, ast.ImportFrom):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.Attribute):
        yield node.attr


def defined(tree: ast.Module) -> Iterator[str]:
    """Public names that a module defines at its top level."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found = [name]
            case ast.AnnAssign(target=ast.Name(id=name)):
                found = [name]
            case ast.Assign(targets=targets):
                found = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            case _:
                found = []
        yield from (name for name in found if not name.startswith("_"))


def repeated(texts: Iterator[str] | Sequence[str]) -> int:
    """How many runs of six lines stand in the tree more than once."""
    runs: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not re.match(r"(from|import) ", line)]
        runs.update(tuple(lines[i : i + RUN]) for i in range(len(lines) - RUN + 1))
    return sum(count > 1 for count in runs.values())


if __name__ == "__main__":
    main(sys.argv[1:])
