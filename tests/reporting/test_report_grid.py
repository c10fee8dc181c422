"""The paper's grid of 225 runs, and every number of the report on it computed anew."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from config import settings_of
from gaborseg.reporting import make_report
from synthetic_runs import KERNELS, LOSSES, RATES, STRUCTURES, split_of, write_grid

COLUMNS = ("dice", "hd95", "nsd", "volume", "true_volume")

TESTED = len({subject for split in range(5) for subject in split_of(split)["test"]})

pytestmark = pytest.mark.slow


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"tables/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folders, and the report on them."""
    folder = tmp_path_factory.mktemp("grid")
    write_grid(folder / "runs")
    make_report(settings_of("report", runs=f"{folder}/runs", output=f"{folder}/report"))
    return folder


@pytest.fixture(scope="module")
def scores(grid: Path) -> dict[tuple[str, str, float, int], dict[str, np.ndarray]]:
    """The scores of every run, read without our code: by subject, (structures, columns)."""
    found = {}
    for folder in (grid / "runs").iterdir():
        record = json.loads((folder / "config.yaml").read_text())
        choices = json.loads((folder / "run.json").read_text())["choices"]
        key = (choices["kernel"], choices["loss"], record["optimizer"]["lr"], record["split"])
        with (folder / "subjects.csv").open() as file:
            rows = list(csv.DictReader(file))
        tested = list(dict.fromkeys(row["subject"] for row in rows))
        numbers = [[float(row[name]) for name in COLUMNS] for row in rows]
        values = np.array(numbers).reshape(len(tested), len(STRUCTURES), len(COLUMNS))
        found[key] = dict(zip(tested, values, strict=True))
    return found


def by_split(scores: dict, kernel: str, loss: str, rate: float, column: int = 0) -> np.ndarray:
    """Mean over subjects, (splits, structures)."""
    runs = [scores[kernel, loss, rate, split] for split in range(5)]
    return np.array([np.mean(list(run.values()), axis=0)[:, column] for run in runs])


@pytest.mark.parametrize(("metric", "factor"), [("dice", 100), ("hd95", 1), ("nsd", 100)])
def test_means_and_deviations_of_the_grid_are_those_of_numpy(
    grid: Path, scores: dict, metric: str, factor: float
) -> None:
    rows = table(grid / "report", f"structures_{metric}")
    assert [row["structure"] for row in rows][-1] == "average"
    headings = [name for name in rows[0] if name.endswith(" mean")]
    assert len(headings) == 9
    for heading in headings:
        kernel, loss = key_of(heading)
        values = by_split(scores, kernel, loss, 1e-3, COLUMNS.index(metric)) * factor
        values = np.column_stack([values, values.mean(axis=1)])
        std = heading.removesuffix("mean") + "std"
        assert [float(row[heading]) for row in rows] == pytest.approx(values.mean(axis=0).tolist())
        assert [float(row[std]) for row in rows] == pytest.approx(
            values.std(axis=0, ddof=1).tolist(), rel=1e-6
        )


def key_of(label: str) -> tuple[str, str]:
    kernel, loss = label.split(" (")[0].split(" · ")
    return kernel.lower(), loss.lower().replace("-", "_")


def test_the_best_of_the_grid_are_bold(grid: Path) -> None:
    with_stars = (grid / "report/tables/structures_dice.md").read_text().splitlines()[4:24]
    rows = table(grid / "report", "structures_dice")
    headings = [name for name in rows[0] if name.endswith(" mean")]
    for line, row in zip(with_stars, rows, strict=True):
        means = [round(float(row[heading]), 1) for heading in headings]
        cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
        bold = [cell.startswith("**") for cell in cells]
        assert bold == [mean == max(means) for mean in means]


def test_the_learning_rates_of_the_grid_are_those_of_numpy(grid: Path, scores: dict) -> None:
    rows = table(grid / "report", "learning_rate")
    assert len(rows) == 9 * 5
    for row in rows:
        kernel, loss = key_of(row["configuration"])
        rate = min(RATES, key=lambda rate: abs(rate - float(row["learning rate"])))
        averages = 100 * by_split(scores, kernel, loss, rate).mean(axis=1)
        assert float(row["test Dice [%] mean"]) == pytest.approx(averages.mean())
        assert float(row["test Dice [%] std"]) == pytest.approx(averages.std(ddof=1))
        assert (row["subjects"], row["replicates"], row["runs"]) == (str(TESTED), "5", "5")


def test_the_robustness_of_the_grid_is_that_of_a_fine_curve(grid: Path, scores: dict) -> None:
    fine = np.linspace(-4, -2, 200_001)
    for row in table(grid / "report", "robustness"):
        assert (row["subjects"], row["replicates"]) == (str(TESTED), "5")
        kernel, loss = key_of(row["configuration"])
        means = [by_split(scores, kernel, loss, rate).mean() for rate in RATES]
        curve = np.interp(fine, np.log10(RATES), means)
        inside = curve >= curve.max() - 0.01
        assert float(row["area: mean Dice over log rate [%] mean"]) == pytest.approx(
            100 * curve.mean(), abs=1e-3
        )
        assert float(row["width within 1 point [decades]"]) == pytest.approx(
            inside.mean() * 2, abs=1e-3
        )


@pytest.mark.parametrize("metric", ["dice", "hd95", "nsd"])
def test_the_comparisons_of_the_grid_are_those_of_scipy(
    grid: Path, scores: dict, metric: str
) -> None:
    rows = table(grid / "report", f"comparisons_{metric}")
    assert len(rows) == 36 * 20
    column = COLUMNS.index(metric)
    heading, factor = ("mm", 1) if metric == "hd95" else ("points", 100)
    for row in rows:
        cases = paired(scores, key_of(row["first"]), key_of(row["second"]), column)
        place = [s.replace("_", " ") for s in STRUCTURES]
        structure = row["structure"].replace("3rd", "third").replace("4th", "fourth").lower()
        structure = structure.replace("inf. ", "inferior ").replace("-", " ")
        values = {
            subject: np.mean(d if structure == "average" else d[:, place.index(structure)])
            for subject, d in cases.items()
        }
        differences = np.array(list(values.values()))
        counts = np.array([len(d) for d in cases.values()])
        mean = factor * (differences * counts).sum() / counts.sum()
        assert float(row[f"first - second [{heading}]"]) == pytest.approx(mean)
        assert int(row["subjects"]) == len(differences)
        assert int(row["cases"]) == sum(len(d) for d in cases.values()) == 65
        expected = stats.wilcoxon(differences[differences != 0])  # an NSD of 1 is common
        assert float(row["p (subjects)"]) == pytest.approx(expected.pvalue, rel=1e-6)
        assert float(row["Cohen's dz"]) == pytest.approx(
            differences.mean() / differences.std(ddof=1)
        )


def paired(
    scores: dict, first: Sequence[str], second: Sequence[str], column: int = 0
) -> dict[str, np.ndarray]:
    """Differences of all cases of each subject, (cases, structures)."""
    found: dict[str, list[np.ndarray]] = {}
    for split in range(5):
        one, other = scores[*first, 1e-3, split], scores[*second, 1e-3, split]
        for subject in one:
            difference = one[subject][:, column] - other[subject][:, column]
            found.setdefault(subject, []).append(difference)
    return {subject: np.array(cases) for subject, cases in found.items()}


def test_holm_intervals_and_trainings_of_the_grid_are_recomputed(grid: Path, scores: dict) -> None:
    rows = [r for r in table(grid / "report", "comparisons_dice") if r["structure"] == "average"]
    p = np.array([float(row["p (subjects)"]) for row in rows])
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, steps)
    assert [float(row["p (Holm)"]) for row in rows] == pytest.approx(adjusted.tolist())
    sizes = split_of(0)
    overlap = len(sizes["test"]) / len(sizes["train"])
    for row in rows:
        one, other = (
            by_split(scores, *key_of(row[name]), 1e-3).mean(axis=1) for name in ("first", "second")
        )
        d = one - other
        assert float(row["first - second [points]"]) == pytest.approx(100 * d.mean())
        t = d.mean() / np.sqrt((1 / 5 + overlap) * d.var(ddof=1))
        assert float(row["p (trainings)"]) == pytest.approx(2 * stats.t.sf(abs(t), 4), rel=1e-6)
    cases = paired(scores, key_of(rows[0]["first"]), key_of(rows[0]["second"]))
    sums = np.array([[d.mean(axis=1).sum(), len(d)] for d in cases.values()])

    draws = np.random.default_rng(9).integers(len(sums), size=(20_000, len(sums)))
    means = 100 * sums[draws, 0].sum(axis=1) / sums[draws, 1].sum(axis=1)
    n = len(sums)
    tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    assert float(rows[0]["95 % from [points]"]) == pytest.approx(low, abs=0.05 * (high - low))
    assert float(rows[0]["to [points]"]) == pytest.approx(high, abs=0.05 * (high - low))


def test_the_ranks_of_the_grid_are_those_of_its_subjects(grid: Path, scores: dict) -> None:
    subjects = sorted({s for split in range(5) for s in split_of(split)["test"]})
    means = np.array(
        [
            [
                np.mean(
                    [
                        scores[kernel, loss, 1e-3, split][subject][:, 0].mean()
                        for split in range(5)
                        if subject in scores[kernel, loss, 1e-3, split]
                    ]
                )
                for subject in subjects
            ]
            for kernel in KERNELS
            for loss in LOSSES
        ]
    )
    expected = stats.rankdata(-means, axis=0).mean(axis=1)
    ranks = {
        key_of(r["configuration"]): float(r["mean rank"]) for r in table(grid / "report", "ranks")
    }
    pairs = [(kernel, loss) for kernel in KERNELS for loss in LOSSES]
    assert [ranks[pair] for pair in pairs] == pytest.approx(expected.tolist())


def test_the_volumes_of_the_grid_are_those_of_numpy(grid: Path, scores: dict) -> None:
    rows = table(grid / "report", "volumes")
    assert len(rows) == len(STRUCTURES)
    headings = [name for name in rows[0] if name != "structure"]
    assert len(headings) == 18
    for heading in headings:
        kernel, loss = key_of(heading.split(" [")[0])
        score = "true_volume" if heading.endswith("truth]") else "volume"
        volumes = by_split(scores, kernel, loss, 1e-3, COLUMNS.index(score)).mean(axis=0)
        assert [float(row[heading]) for row in rows] == pytest.approx(volumes.tolist())


def test_the_grid_stands_beside_the_papers_numbers(grid: Path) -> None:
    rows = table(grid / "report", "paper")
    assert rows[-1]["mixed · PCC, paper mean"] == "83"
    assert not any("cross-entropy" in heading for heading in rows[0])


def test_every_table_and_figure_of_the_grid_is_there_in_every_format(grid: Path) -> None:
    names = {str(path.relative_to(grid / "report")) for path in (grid / "report").rglob("*.*")}
    tables = {Path(name).stem for name in names if name.startswith("tables/")}
    assert {"structures_dice", "learning_rate", "robustness", "comparisons_dice", "ranks"} <= tables
    assert {"volumes", "parameters", "cost", "coverage", "runs", "paper"} <= tables
    assert {f"tables/{t}.{kind}" for t in tables for kind in ("csv", "md", "tex")} <= names
    figures = {Path(name).stem for name in names if name.startswith("figures/")}
    assert {"learning_rate", "structures", "surface", "differences", "training_curves"} <= figures
    assert {f"figures/{f}.{kind}" for f in figures for kind in ("svg", "png")} <= names
