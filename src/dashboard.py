"""python -m src.dashboard: the command of ``gaborseg.commands.dashboard``."""

from gaborseg.commands.dashboard import run

if __name__ == "__main__":
    run()
