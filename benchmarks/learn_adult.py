"""Adult census rows, two tasks, one pass, predict then train: `python benchmarks/learn_adult.py FOLDER [batch ...]`.

FOLDER holds adult.data.gz (and adult.test.gz) of the UCI repository. The second half of the rows is scored.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch

from stream_mtl import measures
from stream_mtl.join.spec import TaskSpec
from stream_mtl.learn.features import Categorical, Feature, FeatureSpec, Numeric
from stream_mtl.learn.recipe import LearnOptions, Recipe
from stream_mtl.learn.sharing import ModelOptions
from stream_mtl.learn.trainer import Trainer

NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
WORDS = ("workclass", "education", "occupation", "relationship", "race", "sex", "native-country")
COLUMNS = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
)


def read(path: Path) -> pa.Table:
    """Return the rows of a file, words without the blank in front; the test file's first line is a remark."""
    text = pa.input_stream(path, compression="gzip").read().decode()
    lines = [line for line in text.splitlines() if "," in line]
    words = [[word.strip() for word in line.split(",")] for line in lines]
    columns = dict(zip(COLUMNS, zip(*words, strict=True), strict=True))
    return pa.table(
        {n: pa.array(c) if n not in NUMBERS else pa.array(map(float, c)) for n, c in columns.items()}
    )


def labels(rows: pa.Table) -> dict[str, np.ndarray]:
    """Return the two tasks' labels."""
    income = np.array([word.startswith(">50K") for word in rows["income"].to_pylist()], float)
    never = np.array([word == "Never-married" for word in rows["marital-status"].to_pylist()], float)
    return {"income": income, "never_married": never}


def recipe(batch: int, seed: int = 0, **changes: float) -> Recipe:
    """Return the defaults."""
    features: dict[str, Feature] = {name: Categorical(dim=8) for name in WORDS}
    features |= {name: Numeric() for name in NUMBERS}
    return Recipe(
        FeatureSpec(features),
        (TaskSpec("income", "income"), TaskSpec("never_married", "never_married")),
        model=ModelOptions(bottom=(64, 32), towers=(16,)),
        learn=LearnOptions(batch_size=batch, seed=seed, **changes),
    )


def run(rows: pa.Table, batch: int, seed: int = 0, **changes: float) -> tuple[list[float], float]:
    """Return (AUC, AUC, log loss, log loss) of the second half, and rows per CPU second."""
    trainer = Trainer(recipe(batch, seed, **changes))
    told = labels(rows)
    half = len(rows) // 2
    begin = time.process_time()
    trainer.learn_rows(rows.slice(0, half), {name: label[:half] for name, label in told.items()})
    before = trainer.measures
    trainer.learn_rows(rows.slice(half), {name: label[half:] for name, label in told.items()})
    trainer.flush()
    spent = time.process_time() - begin
    sums = [trainer.measures[name] - before[name] for name in told]
    return [measures.auc(s) for s in sums] + [measures.log_loss(s) for s in sums], len(rows) / spent


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    rows = read(folder / "adult.data.gz")
    for batch in map(int, sys.argv[2:] or ("16", "64", "256")):
        found = [run(rows, batch, seed) for seed in range(3)]
        mean = np.mean([values for values, _ in found], axis=0)
        speed = np.median([speed for _, speed in found])
        aucs, losses = (" ".join(f"{value:.4f}" for value in part) for part in (mean[:2], mean[2:]))
        print(f"batch {batch:4}  AUC {aucs}  log loss {losses}  {speed:9,.0f} rows/s")


if __name__ == "__main__":
    main()
