from pathlib import Path

from gaborseg.runs import Run
from gaborseg.training import CsvLogger


def logger_in(folder: Path) -> CsvLogger:
    return CsvLogger(Run(folder, {}, "name", (), "group"))


def lines(folder: Path) -> list[str]:
    return (folder / "metrics.csv").read_text().splitlines()


def test_parts_of_an_epoch_become_one_row(tmp_path: Path) -> None:
    logger = logger_in(tmp_path)
    logger.log_metrics({"val/dice": 0.5, "epoch": 0}, step=3)
    logger.log_metrics({"train/loss": 0.25, "epoch": 0}, step=3)
    logger.save()
    assert lines(tmp_path) == ["epoch,val/dice,train/loss", "0,0.5,0.25"]


def test_a_new_column_leaves_old_rows_empty(tmp_path: Path) -> None:
    logger = logger_in(tmp_path)
    logger.log_metrics({"a": 1.0, "epoch": 0})
    logger.log_metrics({"b": 2.0, "epoch": 1})
    logger.save()
    assert lines(tmp_path) == ["epoch,a,b", "0,1.0,", "1,,2.0"]


def test_a_resumed_run_keeps_the_past_and_replaces_what_is_trained_again(tmp_path: Path) -> None:
    first = logger_in(tmp_path)
    for epoch in range(3):
        first.log_metrics({"a": float(epoch), "epoch": epoch})
    first.save()
    second = logger_in(tmp_path)
    second.log_metrics({"a": 9.0, "epoch": 2})
    second.save()
    assert lines(tmp_path) == ["epoch,a", "0,0.0", "1,1.0", "2,9.0"]


def test_test_metrics_are_left_to_the_table_of_subjects(tmp_path: Path) -> None:
    logger = logger_in(tmp_path)
    logger.log_metrics({"test/dice": 0.5, "epoch": 7})
    logger.save()
    assert lines(tmp_path) == ["epoch"]


def test_what_belongs_to_no_epoch_is_left_out(tmp_path: Path) -> None:
    logger = logger_in(tmp_path)
    logger.log_metrics({"lr-SGD": 0.1}, step=0)
    logger.save()
    assert lines(tmp_path) == ["epoch"]
