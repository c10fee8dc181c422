"""The kill storm, the bit rot and the hostile files, small; the scripts do the same at any size."""

from pathlib import Path

import pytest

from warm import run_command

HERE = Path(__file__).parent
SCRIPT = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], None, '__main__')"


def run(script: str, *words: str | Path) -> None:
    """Run a script; it must end well."""
    ending = run_command("-c", SCRIPT, str(HERE / script), *map(str, words))
    assert ending.returncode == 0, ending.stdout[-4000:] + ending.stderr[-2000:]


@pytest.mark.slow
def test_a_sweep_survives_blows(tmp_path: Path) -> None:
    run("kill_storm.py", tmp_path / "sweeps", "--tiny", "--blows", "2")


@pytest.mark.slow
def test_damaged_files_are_noticed_and_hostile_ones_do_no_harm(tmp_path: Path) -> None:
    run("bit_rot.py", tmp_path / "rot", "--tries", "6")
    sound = "--sound", tmp_path / "rot" / "sound"
    run("hostile_files.py", tmp_path / "attacks", "--every", "15", *sound)
