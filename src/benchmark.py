"""python -m src.benchmark: the command of ``gaborseg.commands.benchmark``."""

from gaborseg.commands.benchmark import run

if __name__ == "__main__":
    run()
