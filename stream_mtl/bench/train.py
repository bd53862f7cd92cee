"""The whole training loop beside a bare torch loop of the same shapes, by turns in one process, on one thread.

The bare loop has ready row numbers in one fixed table and does nothing but gather, forward, backward, row-wise
Adagrad on the distinct rows and fused Adam. The whole loop begins at Arrow columns of integers: hashing, finding and
admitting ids, evicting, predictions before learning with all their measures, finite checks, reports.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import nn

from stream_mtl.bench.measure import Compared, Rate, Run, peak_megabytes, timed
from stream_mtl.errors import StreamMtlError
from stream_mtl.join.spec import TaskSpec
from stream_mtl.learn.features import Categorical, FeatureSpec
from stream_mtl.learn.recipe import LearnOptions, Recipe
from stream_mtl.learn.sharing import ModelOptions
from stream_mtl.learn.trainer import Trainer
from stream_mtl.measures import count

FEATURES, DIM, IDS = 20, 16, 100_000
ROWS = 8_192  # of one block, where a batch is not larger

NAMES = ("the bare loop", "the whole loop", "the whole loop, as `run train` sets torch")


@dataclass(frozen=True, slots=True)
class Block:
    """Rows to learn."""

    ids: npt.NDArray[np.int64]  # (n, FEATURES)
    labels: npt.NDArray[np.float32]  # (n, 2)


def bench_train(batch: int, blocks: int) -> list[Compared]:
    """Learn so many blocks of skewed and of even ids; a quarter of them, the first, warm up and do not count."""
    torch.set_num_threads(1)
    return [_compare(batch, blocks, zipf) for zipf in (True, False)]


def _compare(batch: int, blocks: int, zipf: bool) -> Compared:
    rng = np.random.default_rng(0)
    bare, whole, exact = Bare(), Trainer(_recipe(batch)), Trainer(_recipe(batch))
    rounds: list[tuple[Run[None], Run[None], Run[None]]] = []
    size = -(-max(batch, ROWS) // batch) * batch
    for _ in range(blocks):
        block = _draw(size, zipf, rng)
        alone, ours = _bare(bare, block, batch), _whole(whole, block)
        with _repeatable():
            rounds.append((alone, ours, _whole(exact, block)))
    for trainer in (whole, exact):
        if count(trainer.measures["a"]) != size * blocks:
            raise StreamMtlError("the whole loop did not predict and learn every row; this is a bug")
    about = f"{'Zipf 1.2' if zipf else 'uniform'} ids, batches of {batch:,}, blocks of {size:,} rows"
    return Compared(about, "rows", _rates(rounds[blocks // 4 :], size), peak_megabytes())


def _rates(rounds: list[tuple[Run[None], Run[None], Run[None]]], rows: int) -> list[Rate]:
    return [
        Rate(name, rows, tuple(run.cpu for run in runs), tuple(run.wall for run in runs))
        for name, runs in zip(NAMES, zip(*rounds, strict=True), strict=True)
    ]


def _draw(rows: int, zipf: bool, rng: np.random.Generator) -> Block:
    shape = (rows, FEATURES)
    ids = rng.zipf(1.2, shape) % IDS if zipf else rng.integers(0, IDS, shape)
    return Block(ids, (rng.random((rows, 2)) < 0.3).astype(np.float32))


def _bare(bare: "Bare", block: Block, batch: int) -> Run[None]:
    rows, labels = torch.from_numpy(block.ids + np.arange(FEATURES) * IDS), torch.from_numpy(block.labels)
    return timed(partial(bare.steps, rows, labels, batch))


def _whole(trainer: Trainer, block: Block) -> Run[None]:
    table = pa.table({f"f{i}": block.ids[:, i] for i in range(FEATURES)})
    labels = {"a": block.labels[:, 0], "b": block.labels[:, 1]}
    run = timed(partial(trainer.learn_rows, table, labels))
    return Run(None, run.cpu, run.wall)


@contextmanager
def _repeatable() -> Iterator[None]:
    """Set torch as `processes.recipe.prepare_torch` does, for a while."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)


def _recipe(batch: int) -> Recipe:
    return Recipe(
        FeatureSpec({f"f{i}": Categorical(dim=DIM) for i in range(FEATURES)}),
        (TaskSpec("a", "a"), TaskSpec("b", "b")),
        model=ModelOptions(bottom=(256, 128), towers=(64,)),
        learn=LearnOptions(batch_size=batch),
    )


class Bare:
    """The least that trains."""

    def __init__(self) -> None:
        self.bottom = nn.Sequential(*_layer(FEATURES * DIM, 256), *_layer(256, 128))
        self.towers = nn.ModuleList(nn.Sequential(*_layer(128, 64), nn.Linear(64, 1)) for _ in range(2))
        parameters = [*self.bottom.parameters(), *self.towers.parameters()]
        self.adam = torch.optim.Adam(parameters, lr=3e-3, fused=True)
        self.weight = torch.randn(FEATURES * IDS, DIM) * 0.05
        self.squares = torch.zeros(FEATURES * IDS)

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
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        assert leaf.grad is not None
        squares = self.squares[rows] + leaf.grad.square().mean(1)
        self.squares[rows] = squares
        self.weight.index_add_(0, rows, leaf.grad * (-0.05 / (squares.sqrt() + 1e-10)).unsqueeze(1))


def _layer(width: int, out: int) -> list[nn.Module]:
    return [nn.Linear(width, out), nn.LayerNorm(out), nn.ReLU()]
