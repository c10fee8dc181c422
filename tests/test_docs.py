"""What the README and the pages of docs/ name exists: links, commands, options, files.

Files and options of docs/extending.md are those that its reader is to write.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import CONF, PROJECT, compose_config

DOCS = sorted((PROJECT / "docs").rglob("*.md"))
PAGES = [*(PROJECT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")), *DOCS]
COMMANDS = {path.stem for path in (PROJECT / "src").glob("*.py")}
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CALLED = re.compile(r"(?:python -m src\.|`gaborseg |^    gaborseg )(\w+)", re.MULTILINE)
TRAINED = re.compile(r"(?:python -m src\.|gaborseg )train([^#`\n|]*)")
NAMED = re.compile(r"`((?:src/gaborseg|src|tests|conf|sweeps)/[\w./]+)[` ]")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def broken(page: Path) -> Iterator[str]:
    """The links of a page that lead to no file, or to no heading of it."""
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize(
    ("link", "leads"),
    [("#a-title", True), ("page.md#its-a-title-x--y", True), ("#no", False), ("no.md", False)],
)
def test_a_broken_link_is_found(link: str, leads: bool, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A title\n\n## It's `a` title: x + y\n\n[there]({link})\n")
    assert list(broken(page)) == ([] if leads else [link])


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


@each_page
def test_commands_exist(page: Path) -> None:
    removed = {"algorithms", "check_gpu"} if page.stem == "CHANGELOG" else set()
    assert {*CALLED.findall(page.read_text())} - COMMANDS == removed


def test_the_readme_names_every_command_that_a_newcomer_needs() -> None:
    needed = {"train", "prepare", "predict", "evaluate", "export", "report", "status", "parameters"}
    assert needed <= {*CALLED.findall((PROJECT / "README.md").read_text())}


@each_page
def test_files_of_the_checkout_exist(page: Path) -> None:
    if page.stem == "extending":
        pytest.skip("names files that its reader is to write")
    named = NAMED.findall(page.read_text())
    assert [name for name in named if not (PROJECT / name).exists()] == []


def trainings() -> list[str]:
    """The overrides of every complete training command of docs/, continued lines joined."""
    text = "\n".join(page.read_text() for page in DOCS if page.stem != "extending")
    found = {line.strip() for line in TRAINED.findall(re.sub(r"\\\n\s*", "", text))}
    composed = (line for line in found if "=" in line and not line.startswith("-sc "))
    return sorted(line for line in composed if "..." not in line and "$" not in line)


@pytest.mark.slow
@pytest.mark.parametrize("line", trainings())
def test_training_commands_compose(line: str) -> None:
    words = [word for word in shlex.split(line) if "=" in word and word != "hydra/launcher=ray"]
    words = [word for word in words if "interval(" not in word]  # what a search draws from
    singles = [re.sub(r"=([^,\[]+),.+$", r"=\1", word) for word in words]
    assert compose_config(singles).seed is not None


def test_the_readme_lists_the_options() -> None:
    text = (PROJECT / "README.md").read_text()
    for group in (
        "loss",
        "decision",
        "augmentation",
        "rates",
        "trainer",
        "logger",
        "callbacks",
        "experiment",
    ):
        (row,) = re.findall(rf"^\| .*`{group}`.* \|(.*)\|$", text, re.MULTILINE)
        options = {path.stem for path in (CONF / group).glob("*.yaml")}
        assert options <= {*re.findall(r"`(\w+)`", row)}, group


def test_the_library_in_ten_lines_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 10
    names: dict = {}
    exec(code, names)
    assert capsys.readouterr().out == "torch.Size([8, 1, 7, 7, 7])\n"
    assert 0 < names["loss"].item() < 1
    assert all(p.grad.abs().max() > 0 for p in names["network"].parameters())


def test_every_room_is_in_the_tree_of_the_code() -> None:
    (tree,) = re.findall(
        r"^src/gaborseg/\n(.*?)```", (PROJECT / "CONTRIBUTING.md").read_text(), re.M | re.S
    )
    rooms = {path.name for path in (PROJECT / "src/gaborseg").iterdir() if path.is_dir()}
    assert set(re.findall(r"(\w+)/ ", tree)) == {room for room in rooms if room[0] != "_"}


def test_the_six_files_to_read_first_exist() -> None:
    text = (PROJECT / "CONTRIBUTING.md").read_text()
    (sentence,) = re.findall(r"\*\*Read these six files first\*\*(.*?)\n\n", text, re.DOTALL)
    files = re.findall(r"`(\w+/\w+\.py)`", sentence)
    assert len(files) == 6
    assert all((PROJECT / "src/gaborseg" / file).is_file() for file in files)


def test_the_readme_is_short() -> None:
    assert len((PROJECT / "README.md").read_text().splitlines()) < 250
