"""python -m src.train: the command of ``gaborseg.commands.train``."""

from gaborseg.commands.train import run

if __name__ == "__main__":
    run()
