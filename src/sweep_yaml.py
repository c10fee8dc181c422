"""python -m src.sweep_yaml: the command of ``gaborseg.commands.sweep_yaml``."""

from gaborseg.commands.sweep_yaml import run

if __name__ == "__main__":
    run()
