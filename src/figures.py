"""python -m src.figures: the command of ``gaborseg.commands.figures``."""

from gaborseg.commands.figures import run

if __name__ == "__main__":
    run()
