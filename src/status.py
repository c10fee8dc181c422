"""python -m src.status: the command of ``gaborseg.commands.status``."""

from gaborseg.commands.status import run

if __name__ == "__main__":
    run()
