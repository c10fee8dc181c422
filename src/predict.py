"""python -m src.predict: the command of ``gaborseg.commands.predict``."""

from gaborseg.commands.predict import run

if __name__ == "__main__":
    run()
