"""python -m src.prepare: the command of ``gaborseg.commands.prepare``."""

from gaborseg.commands.prepare import run

if __name__ == "__main__":
    run()
