"""The whole training loop beside a bare torch loop of the same shapes, by turns in one process, on one thread.

`python benchmarks/learn_speed.py BATCH BLOCKS`: 20 categorical features of width 16, bottom 256-128, two towers of
64. The bare loop has ready row numbers in one fixed table and does nothing but gather, forward, backward, row-wise
Adagrad on the distinct rows and fused Adam. The whole loop begins at Arrow columns of integers: hashing, finding and
admitting ids, evicting, predictions before learning with all their measures, finite checks, reports.
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from stream_mtl.join.spec import TaskSpec
from stream_mtl.learn.features import Categorical, FeatureSpec
from stream_mtl.learn.recipe import LearnOptions, Recipe
from stream_mtl.learn.sharing import ModelOptions
from stream_mtl.learn.trainer import Trainer

FEATURES, DIM, IDS = 20, 16, 100_000
BLOCK = 8_192  # rows of one Arrow table


def draw(rows: int, zipf: bool, rng: np.random.Generator) -> np.ndarray:
    """Return ids, (rows, FEATURES)."""
    if zipf:
        return rng.zipf(1.2, (rows, FEATURES)) % IDS
    return rng.integers(0, IDS, (rows, FEATURES))


class Bare:
    """The least that trains."""

    def __init__(self, batch: int) -> None:
        width = FEATURES * DIM
        self.bottom = nn.Sequential(*self.layer(width, 256), *self.layer(256, 128))
        self.towers = nn.ModuleList(nn.Sequential(*self.layer(128, 64), nn.Linear(64, 1)) for _ in range(2))
        parameters = [*self.bottom.parameters(), *self.towers.parameters()]
        self.adam = torch.optim.Adam(parameters, lr=3e-3, fused=True)
        self.weight = torch.randn(FEATURES * IDS, DIM) * 0.05
        self.squares = torch.zeros(FEATURES * IDS)

    @staticmethod
    def layer(width: int, out: int) -> list[nn.Module]:
        """Return linear, norm, activation."""
        return [nn.Linear(width, out), nn.LayerNorm(out), nn.ReLU()]

    def steps(self, ids: torch.Tensor, labels: torch.Tensor, batch: int) -> None:
        """Learn a block, batch by batch."""
        for start in range(0, len(ids), batch):
            self.step(ids[start : start + batch], labels[start : start + batch])

    def step(self, ids: torch.Tensor, labels: torch.Tensor) -> None:
        """Learn one batch: (B, FEATURES) row numbers, (B, 2) labels."""
        rows, inverse = torch.unique(ids.view(-1), return_inverse=True)
        leaf = self.weight.index_select(0, rows).requires_grad_()
        shared = self.bottom(leaf.index_select(0, inverse).view(len(ids), -1))
        logits = torch.cat([tower(shared) for tower in self.towers], dim=1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        squares = self.squares[rows] + leaf.grad.square().mean(1)
        self.squares[rows] = squares
        self.weight.index_add_(0, rows, leaf.grad * (-0.05 / (squares.sqrt() + 1e-10)).unsqueeze(1))


def recipe(batch: int) -> Recipe:
    """Return the same shapes."""
    return Recipe(
        FeatureSpec({f"f{i}": Categorical(dim=DIM) for i in range(FEATURES)}),
        (TaskSpec("a", "a"), TaskSpec("b", "b")),
        model=ModelOptions(bottom=(256, 128), towers=(64,)),
        learn=LearnOptions(batch_size=batch),
    )


def spent(work: Callable[[], object]) -> float:
    """Return the CPU seconds that something takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def compare(batch: int, blocks: int, zipf: bool) -> None:
    """Print both loops' rows per CPU second, medians, and their ratio."""
    rng = np.random.default_rng(0)
    bare, trainer = Bare(batch), Trainer(recipe(batch))
    times: list[tuple[float, float]] = []
    block = max(batch, BLOCK)
    for _ in range(blocks):
        ids = draw(block, zipf, rng)
        labels = (rng.random((block, 2)) < 0.3).astype(np.float32)
        rows, marks = torch.from_numpy(ids + np.arange(FEATURES) * IDS), torch.from_numpy(labels)
        table = pa.table({f"f{i}": ids[:, i] for i in range(FEATURES)})
        targets = {"a": labels[:, 0], "b": labels[:, 1]}
        alone = spent(partial(bare.steps, rows, marks, batch))
        whole = spent(partial(trainer.learn_rows, table, targets))
        times.append((alone, whole))
    alone, whole = np.median(np.array(times[blocks // 4 :]), axis=0)
    name = "zipf" if zipf else "uniform"
    print(
        f"{name:8} bare {block / alone:9,.0f}  whole {block / whole:9,.0f} rows/s  ratio {alone / whole:.2f}"
    )


def main() -> None:
    """Compare on skewed and on even ids."""
    torch.set_num_threads(1)
    batch, blocks = (int(argument) for argument in (sys.argv[1:] or ("2048", "24")))
    for zipf in (True, False):
        compare(batch, blocks, zipf)


if __name__ == "__main__":
    main()
