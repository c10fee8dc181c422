"""python -m src.parameters: the command of ``gaborseg.commands.parameters``."""

from gaborseg.commands.parameters import run

if __name__ == "__main__":
    run()
