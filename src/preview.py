"""python -m src.preview: the command of ``gaborseg.commands.preview``."""

from gaborseg.commands.preview import run

if __name__ == "__main__":
    run()
