"""From encoded features to the model's input, and from its gradient back to the rows and the scaler."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_mtl.clock import Millis
from stream_mtl.learn.arrays import Arrays, put_under, under
from stream_mtl.learn.embedding import Table
from stream_mtl.learn.encoded import Encoded, Ids
from stream_mtl.learn.features import FeatureSpec, TableSpec
from stream_mtl.learn.ids import Numbers
from stream_mtl.learn.scaling import Scaler

Pool = Callable[[Tensor, Tensor, Tensor], Tensor]


def _sum(items: Tensor, rows: Tensor, lengths: Tensor) -> Tensor:
    return items.new_zeros(len(lengths), items.shape[1]).index_add(0, rows, items)


def _mean(items: Tensor, rows: Tensor, lengths: Tensor) -> Tensor:
    return _sum(items, rows, lengths) / lengths.clamp(min=1).unsqueeze(1)


def _max(items: Tensor, rows: Tensor, lengths: Tensor) -> Tensor:
    zeros = items.new_zeros(len(lengths), items.shape[1])
    index = rows.unsqueeze(1).expand_as(items)
    return zeros.scatter_reduce(0, index, items, "amax", include_self=False)


POOLINGS: Mapping[str, Pool] = {"mean": _mean, "sum": _sum, "max": _max}
"""(m, dim) items, (m,) the row each belongs to, (n,) items of each row -> (n, dim); no items give zeros."""


@dataclass(frozen=True, slots=True)
class Read:
    """What one table was asked for by a batch."""

    rows: Numbers  # (u,) distinct
    leaf: Tensor  # (u, dim) their weights, which collect the gradient
    unknown: Ids  # (k,) ids without a row of their own, repeats included
    owners: Numbers  # (k,)


@dataclass(frozen=True, slots=True)
class Opened:
    """A batch's input with what is needed to learn from its gradient."""

    x: Tensor  # (n, width)
    reads: tuple[Read, ...]  # per table
    numbers: npt.NDArray[np.float64]

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients of the rows, after a backward pass."""
        return [read.leaf.grad for read in self.reads if read.leaf.grad is not None]


class Inputs:
    """The tables and the scaler of a feature spec."""

    def __init__(self, spec: FeatureSpec, seed: int = 0, rate: float = 0.0) -> None:
        self.spec = spec
        self.tables = tuple(Table(table, seed, rate) for table in spec.tables)
        self.scaler = Scaler(spec.standardised)

    def read(self, encoded: Encoded) -> Tensor:
        """Return the model's input, (n, width), to predict from."""
        parts: list[Tensor] = []
        for table in self.tables:
            ids = _flat(table.spec, encoded)
            rows, _, _ = _find(table, ids, encoded)
            parts += _lay_out(table.spec, table.weight.index_select(0, torch.from_numpy(rows)), encoded)
        return self._join(parts, encoded)

    def open(self, encoded: Encoded) -> Opened:
        """Return the model's input to learn from. It is the same input."""
        parts: list[Tensor] = []
        reads = []
        for table in self.tables:
            ids = _flat(table.spec, encoded)
            rows, unknown, owners = _find(table, ids, encoded)
            distinct = table.distinct(rows)
            leaf = table.weight.index_select(0, torch.from_numpy(distinct.rows)).requires_grad_()
            items = leaf.index_select(0, torch.from_numpy(distinct.inverse))
            parts += _lay_out(table.spec, items, encoded)
            reads.append(Read(distinct.rows, leaf, ids[unknown], owners))
        return Opened(self._join(parts, encoded), tuple(reads), encoded.numbers)

    def close(self, opened: Opened, now: Millis, step: int) -> int:
        """Learn from the gradient that a backward pass has left, and return how many ids were admitted.

        Only the rows that the batch read are touched.
        """
        admitted = 0
        self.scaler.learn(opened.numbers)
        for table, read in zip(self.tables, opened.reads, strict=True):
            if read.leaf.grad is not None:
                table.learn(read.rows, read.leaf.grad, now, step)
            admitted += table.admit(read.unknown, read.owners, now, step)
        return admitted

    def evict(self, now: Millis) -> int:
        """Let every table forget what is too old, and return how many ids lost their row."""
        return sum(table.evict(now) for table in self.tables)

    def arrays(self) -> Arrays:
        """Return the state by name, to be saved."""
        tables = {str(table.spec.dim): table.arrays() for table in self.tables}
        return put_under(table=put_under(**tables), scale=self.scaler.arrays())

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `arrays` gave."""
        for table in self.tables:
            table.restore(under(arrays, f"table.{table.spec.dim}"))
        self.scaler.restore(under(arrays, "scale"))

    def weights(self, since: int = -1) -> Arrays:
        """Return a copy of what predicting needs, by name; of the tables only rows changed after step `since`."""
        tables = {str(table.spec.dim): table.weights(since) for table in self.tables}
        return put_under(table=put_under(**tables), scale=self.scaler.arrays())

    def load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take back what `weights` gave. Raises KeyError if one is missing."""
        for table in self.tables:
            table.load(under(arrays, f"table.{table.spec.dim}"))
        self.scaler.restore(under(arrays, "scale"))

    def _join(self, parts: Sequence[Tensor], encoded: Encoded) -> Tensor:
        if encoded.numbers.shape[1] == 0 and len(parts) == 1:
            return parts[0]
        return torch.cat([*parts, torch.from_numpy(self.scaler.scale(encoded.numbers))], dim=1)


def _flat(spec: TableSpec, encoded: Encoded) -> Ids:
    """Return all ids that a table is asked for: those of the columns row by row, then those of the bags."""
    columns = encoded.ids[:, spec.columns].reshape(-1)
    if not spec.bags:
        return columns
    return np.concatenate([columns, *(encoded.bags[bag].ids for bag in spec.bags)])


def _find(table: Table, ids: Ids, encoded: Encoded) -> tuple[Numbers, Numbers, Numbers]:
    """Return the row of every id; and the places of those that have none, with the owners whose rows they read."""
    rows, unknown = table.find(ids)
    owners = _owners(table.spec, unknown, encoded)
    rows[unknown] = owners
    return rows, unknown, owners


def _owners(spec: TableSpec, places: Numbers, encoded: Encoded) -> Numbers:
    """Return the owner of the ids at these places of `_flat`."""
    if len(places) == 0:
        return places
    width = len(spec.column_owners)
    ends = np.cumsum([width * len(encoded)] + [len(encoded.bags[bag].ids) for bag in spec.bags])
    bag = np.searchsorted(ends, places, side="right") - 1
    owners = np.array([*spec.bag_owners, 0])[bag]
    in_column = bag < 0
    if width:
        owners[in_column] = np.array(spec.column_owners)[places[in_column] % width]
    return owners


def _lay_out(spec: TableSpec, items: Tensor, encoded: Encoded) -> list[Tensor]:
    """Return a table's parts of the input, (n, spec.width) side by side, from the rows of all ids, (m, dim)."""
    n, at = len(encoded), len(spec.column_owners) * len(encoded)
    parts = [items[:at].view(n, -1)] if at else []
    for bag, pooling in zip(spec.bags, spec.pooling, strict=True):
        lengths = encoded.bags[bag].lengths
        rows = torch.from_numpy(np.repeat(np.arange(n), lengths))
        end = at + len(rows)
        parts.append(POOLINGS[pooling](items[at:end], rows, torch.from_numpy(lengths)))
        at = end
    return parts or [items.new_zeros(n, spec.width)]
