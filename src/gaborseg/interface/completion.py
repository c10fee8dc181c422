"""Tab completion in bash: commands, groups and their options, settings and their defaults.

    eval "$(gaborseg train -sc install=bash)"

Hydra finds what may come next. Its own script for bash knows neither ``python -m`` nor a console
program with several commands; ours calls both with what has been typed so far.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra._internal.core_plugins.bash_completion import BashCompletion
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra

from gaborseg.interface.configuration import hydra_started, spelt_out

_COMMANDS = Path(__file__).parents[1] / "commands"
_FLAGS = {"-sc", "--shell-completion"}
_FUNCTION = "_gaborseg"
_PROGRAMS = "gaborseg python python3"
_INSTALL = f"""\
{_FUNCTION}() {{
    local IFS=$'\\n' call=("$1") at=1 prefix=
    if [[ $1 != *gaborseg ]]; then
        [[ ${{COMP_WORDS[1]}} == -m && ${{COMP_WORDS[2]}} == src* ]] || return
        call+=(-m) at=2 prefix=src.
    fi
    if (( COMP_CWORD == at )); then
        mapfile -t COMPREPLY < <(compgen -P "$prefix" -W $'COMMANDS' -- "${{2#"$prefix"}}")
        return
    fi
    call+=("${{COMP_WORDS[at]}}" -sc query=bash)
    mapfile -t COMPREPLY < <(COMP_LINE=${{COMP_LINE:0:COMP_POINT}} \\
        COMP_WORDBREAKS=$COMP_WORDBREAKS "${{call[@]}}" 2> /dev/null)
    [[ ${{COMPREPLY[0]}} != *[=./] ]] || compopt -o nospace
}}
complete -o default -F {_FUNCTION} {_PROGRAMS}"""
_UNINSTALL = f"complete -r {_PROGRAMS}; unset -f {_FUNCTION}"


def shell_completion(arguments: Sequence[str], settings: str | None) -> str | None:
    """Return what a command prints for a shell that completes it; None if it was not asked to.

    Args:
        arguments: The command's: ``-sc`` with ``install=bash``, ``uninstall=bash``, ``query=bash``.
        settings: Name of the command's YAML file in ``conf/``, if it has one.

    Raises:
        ValueError: It was asked for anything else.
    """
    if not _FLAGS & {*arguments}:
        return None
    match [argument for argument in arguments if argument not in _FLAGS]:
        case ["install=bash"]:
            return _INSTALL.replace("COMMANDS", "\\n".join(_commands()))
        case ["uninstall=bash"]:
            return _UNINSTALL
        case ["query=bash"]:
            return "\n".join(_candidates(os.environ["COMP_LINE"], settings)) if settings else ""
        case others:
            wanted = "install=bash, uninstall=bash or query=bash"
            raise ValueError(f"-sc must go with {wanted}, got {' '.join(others) or 'nothing'}")


def _commands() -> list[str]:
    return sorted(path.stem for path in _COMMANDS.glob("[!_]*.py"))


def _candidates(line: str, settings: str) -> Iterator[str]:
    """Yield what may stand in the place of the last word of a line.

    Of several values of a sweep the last one is completed. Paths are left to bash. Where bash ends
    words at ``=``, as it does by default, it wants no more than what comes after it.

    Args:
        line: What has been typed, up to the cursor.
        settings: Name of the command's YAML file.
    """
    *before, word = _arguments(line)
    start, equals, values = word.rpartition("=")
    if word.startswith("-") or values.startswith(("/", ".", "~")):
        return
    done, comma, value = values.rpartition(",") if equals else ("", "", values)
    kept = len(start + equals) if "=" in os.environ["COMP_WORDBREAKS"] else 0
    for found in _asked_of_hydra([*before, f"{start}{equals}{value}"], settings):
        name = found.removeprefix(f"{start}{equals}")
        if not name.startswith("_") and name != value:
            yield f"{start}{equals}{done}{comma}{name}"[kept:]


def _arguments(line: str) -> list[str]:
    """Return the words after a command's name, of which the last may be empty.

    Example:
        >>> _arguments("gaborseg train kernel=ga"), _arguments("python -m src.train -m ")
        (['kernel=ga'], ['-m', ''])
    """
    words = line.split() + ([""] if line.endswith(" ") else [])
    return words[3 if words[1] == "-m" else 2 :]


def _asked_of_hydra(words: Sequence[str], settings: str) -> list[str]:
    """Return Hydra's candidates for the last of some words, which the others decide."""
    own, apart = get_args_parser().parse_known_args(words)
    brought = own.config_dir and f"hydra.searchpath=[file://{Path(own.config_dir).absolute()}]"
    asked = [*filter(None, [brought]), *spelt_out([*own.overrides, *apart], settings)]
    with hydra_started():
        hydra = BashCompletion(GlobalHydra.instance().config_loader())
        return hydra._query(settings, " ".join(asked))
