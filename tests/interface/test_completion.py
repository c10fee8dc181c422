"""Tab completion: what Hydra finds, and the function of bash that asks for it."""

import subprocess
from pathlib import Path

import pytest

from gaborseg.interface.completion import shell_completion

ENDS_WORDS_AT = " \"'@><=;|&(:"


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch):
    def ask(line: str, settings: str = "config", breaks: str = ENDS_WORDS_AT) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_WORDBREAKS", breaks)
        return (shell_completion(["-sc", "query=bash"], settings) or "").splitlines()

    return ask


@pytest.mark.parametrize("called", ["gaborseg train", "python -m src.train"])
def test_options_of_a_group(complete, called: str) -> None:
    assert complete(f"{called} experiment=") == ["paper", "quickstart", "smoke"]
    assert complete(f"{called} loss=dice seed=1 kernel=gabor_") == [
        "gabor_3", "gabor_5", "gabor_9", "gabor_fixed", "gabor_general",
    ]  # fmt: skip


def test_groups_and_settings(complete) -> None:
    assert complete("gaborseg train ke") == ["kernel.", "kernel="]
    assert complete("gaborseg train optimizer.l") == ["optimizer.lr="]
    assert complete("gaborseg report out", "report") == ["output="]


def test_a_default_is_the_value(complete) -> None:
    assert complete("gaborseg figures output=", "figures") == ["outputs/figures"]


def test_settings_of_an_option_that_was_chosen(complete) -> None:
    assert complete("gaborseg train data=folder data.ro") == ["data.root="]


def test_options_that_others_are_made_of_are_left_out(complete) -> None:
    assert complete("gaborseg train data=") == ["atlas", "atlas_128", "atlas_smoke", "folder"]


def test_the_last_of_several_values(complete) -> None:
    assert complete("gaborseg train -m kernel=gabor,mi") == ["gabor,mixed"]


def test_sweeps(complete) -> None:
    assert "+sweeps=" in complete("gaborseg train +sw")
    assert "paper_grid" in complete("gaborseg train +sweeps=paper")


def test_the_whole_word_where_bash_wants_it(complete) -> None:
    assert complete("gaborseg train trainer=ddp_", breaks=" ") == ["trainer=ddp_cpu"]


def test_options_of_the_users_own(complete, tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("_target_: torch.nn.MSELoss\n")
    assert complete(f"gaborseg train --config-dir {tmp_path} loss=mi") == ["mine"]


@pytest.mark.parametrize("path", ["/", "./sc", "../", "~/"])
def test_paths_are_left_to_bash(complete, path: str) -> None:
    assert complete(f"gaborseg predict checkpoint={path}", "predict") == []


def test_a_command_without_settings_has_none_to_offer() -> None:
    assert shell_completion(["-sc", "query=bash"], None) == ""


def test_without_the_flag_nothing_is_completed() -> None:
    assert shell_completion(["kernel=gabor"], "config") is None


@pytest.mark.parametrize("words", [[], ["install=zsh"]])
def test_other_shells_are_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="-sc must go with install=bash"):
        shell_completion(["-sc", *words], "config")


def in_bash(words: str, at: int, line: str) -> list[str]:
    """What bash offers at a word of a line, with a program that says what it is asked."""
    script = f"""
        {shell_completion(["-sc", "install=bash"], None)}
        asked() {{ printf '%s ' "$@"; printf '\\n%s\\n' "$COMP_LINE"; }}
        gaborseg() {{ asked "$@"; }}
        python() {{ asked "$@"; }}
        compopt() {{ echo "compopt $*"; }}
        COMP_WORDS=({words}) COMP_CWORD={at} COMP_LINE={line!r} COMP_POINT=${{#COMP_LINE}}
        _gaborseg "${{COMP_WORDS[0]}}" "${{COMP_WORDS[$COMP_CWORD]}}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_bash_knows_the_commands() -> None:
    assert in_bash("gaborseg pre", 1, "gaborseg pre") == ["predict", "prepare", "preview"]
    assert in_bash("python -m src.exp", 2, "python -m src.exp") == ["src.export"]


def test_bash_asks_the_command_itself() -> None:
    line = "gaborseg train kernel=ga"
    assert in_bash("gaborseg train kernel = ga", 4, line) == ["train -sc query=bash ", line]
    line = "python -m src.train kernel=ga"
    assert in_bash("python -m src.train kernel = ga", 5, line) == [
        "-m src.train -sc query=bash ",
        line,
    ]


def test_bash_leaves_other_programs_alone() -> None:
    assert in_bash("python script.py a", 2, "python script.py a") == [""]
