"""python -m src.evaluate: the command of ``gaborseg.commands.evaluate``."""

from gaborseg.commands.evaluate import run

if __name__ == "__main__":
    run()
