"""python -m src.report: the command of ``gaborseg.commands.report``."""

from gaborseg.commands.report import run

if __name__ == "__main__":
    run()
