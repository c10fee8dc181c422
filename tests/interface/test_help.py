"""Help, its examples, and the commands that commands name at their end."""

import re
import shlex
from pathlib import Path

import pytest

from config import CONF, PROJECT, compose_config
from gaborseg.commands import benchmark, sweep_yaml
from gaborseg.interface import CONSOLE, prediction_line, quote_values, report_line
from gaborseg.interface.help import help_text

DOCSTRINGS = {
    path.stem: path.read_text().split('"""')[1]
    for path in sorted((PROJECT / "src/gaborseg/commands").glob("[!_]*.py"))
}
SETTINGS = {path.stem for path in CONF.glob("*.yaml")} | {"train"}
EXAMPLES = [
    (name, example)
    for name, text in DOCSTRINGS.items()
    for example in re.findall(r"^    python -m src\.\w+ ?(.*)$", text, re.MULTILINE)
]


def told(name: str) -> str:
    settings = "config" if name == "train" else name if name in SETTINGS else None
    return help_text(DOCSTRINGS[name], settings)


@pytest.mark.parametrize("name", DOCSTRINGS)
def test_help_ends_with_three_examples(name: str) -> None:
    before, heading, examples = told(name).rpartition("\n\nExamples\n\n")
    assert heading
    assert len(examples.splitlines()) == 3
    assert all(line.startswith(f"  python -m src.{name}") for line in examples.splitlines())
    assert f"  python -m src.{name}" not in before


def test_examples_are_those_of_the_program_that_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONSOLE, "1")
    assert "\n  gaborseg report runs=outputs/runs " in told("report")
    assert "python -m" not in told("report")


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=lambda value: value)
def test_an_example_is_one_that_the_command_takes(
    name: str, example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(example, comments=True)
    if name == "benchmark":
        benchmark._check(words)
    elif name == "sweep_yaml":
        sweep_yaml.main(words[: words.index(">")])
        assert "program: gaborseg.commands.train" in capsys.readouterr().out
    elif name != "status":
        single = [re.sub(r"=([^,\[]+),.+$", r"=\1", word) for word in words if word != "-m"]
        free = ("name", "output", "checkpoint")
        settings = name if name in SETTINGS - {"train"} else "config"
        assert compose_config(quote_values(single, free), settings)


def test_a_run_names_the_commands_that_come_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "outputs" / "runs" / "kernel=gabor,split=1"
    assert report_line(run) == (
        "Report with: python -m src.report runs=outputs/runs/kernel=gabor,split=1 "
        "output=outputs/reports/kernel=gabor,split=1"
    )
    assert prediction_line(run / "my run").split()[3:] == [
        "python", "-m", "src.predict", "'checkpoint=outputs/runs/kernel=gabor,split=1/my", "run'",
        "input=scans", "output=segmented",
    ]  # fmt: skip


def test_a_run_elsewhere_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "checkpoint=/data/run " in prediction_line(Path("/data/run"))
