"""python -m src.export: the command of ``gaborseg.commands.export``."""

from gaborseg.commands.export import run

if __name__ == "__main__":
    run()
