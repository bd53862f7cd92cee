"""What is known at an exposure, declared: from Arrow columns to ids, bags of ids and numbers.

Nothing is looked up in a vocabulary and nothing raises for a value: a text or an integer is hashed to 64 bits,
salted by the feature, a null is a value of its own, an unknown id is the embedding's affair. Missing numbers
stay nan (the scaler puts the mean there); an infinite one, or one that is not a number, marks its row as bad.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stream_mtl.clock import Millis
from stream_mtl.errors import ConfigError
from stream_mtl.hashing import Hashes, hash_columns, mix
from stream_mtl.learn.cells import hash_each, read_numbers
from stream_mtl.learn.encoded import Bag, Encoded, Ids, gather

Pooling: TypeAlias = Literal["mean", "sum", "max"]


@dataclass(frozen=True, slots=True)
class Categorical:
    """One value of an open set, an integer or a text, embedded."""

    field: str | None = None  # the column; the feature's own name when None
    dim: int = 16
    buckets: int | None = None  # hash into so many rows; None: every value has its own
    share: str | None = None  # the feature whose embedding rows this one uses
    admit: int = 1  # how often an id must have been seen before it has a row of its own
    evict_after: Millis | None = None  # event time after which an unseen id loses its row


@dataclass(frozen=True, slots=True)
class Sequence:
    """Several values of an open set, embedded and pooled; none of them gives zeros."""

    field: str | None = None
    dim: int = 16
    buckets: int | None = None
    share: str | None = None
    admit: int = 1
    evict_after: Millis | None = None
    pooling: Pooling = "mean"
    max_items: int = 50  # the last ones are used


@dataclass(frozen=True, slots=True)
class Numeric:
    """A number: standardised as the stream goes, or scaled between limits, or cut into embedded buckets."""

    field: str | None = None
    log1p: bool = False  # take sign(x) log(1 + |x|) first
    limits: tuple[float, float] | None = None  # clip to [low, high] and scale to 0..1
    boundaries: tuple[float, ...] = ()  # bucket = number of boundaries <= x
    dim: int = 8  # of the embedded buckets


Feature: TypeAlias = Categorical | Sequence | Numeric


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose embedding rows: the rules of one feature's ids, and those of the features that share them."""

    name: str
    admit: int = 1
    evict_after: Millis | None = None


@dataclass(frozen=True, slots=True)
class TableSpec:
    """All features of one width: they live in one table."""

    dim: int
    owners: tuple[Owner, ...]
    columns: slice  # of Encoded.ids
    column_owners: tuple[int, ...]  # per column: place in `owners`
    bags: tuple[int, ...]  # of Encoded.bags
    bag_owners: tuple[int, ...]
    pooling: tuple[Pooling, ...]  # per bag

    @property
    def width(self) -> int:
        """How many inputs of the model it gives."""
        return self.dim * (len(self.column_owners) + len(self.bags))


class FeatureSpec:
    """Features by name, and the layout they are encoded to.

    The model's input is, for every embedding width in order of first use, its columns and then its bags, each in
    order of declaration; and then the numbers. Raises ConfigError for a `share` that names no feature of its width.
    """

    def __init__(self, features: Mapping[str, Feature], seed: int = 0) -> None:
        self.features = dict(features)
        self.seed = seed
        ids = {n: f for n, f in features.items() if not isinstance(f, Sequence) and not _plain_number(f)}
        self._dims = list(dict.fromkeys(f.dim for f in features.values() if not _plain_number(f)))
        self.id_columns = [name for dim in self._dims for name, f in ids.items() if f.dim == dim]
        self.bag_columns = [n for n, f in features.items() if isinstance(f, Sequence)]
        self.number_columns = [n for n, f in features.items() if _plain_number(f)]
        self.tables = tuple(self._table(dim) for dim in self._dims)
        self._fields = {name: f.field or name for name, f in features.items()}
        self._categorical = [name for name, f in features.items() if isinstance(f, Categorical)]
        self._numeric = [name for name, f in features.items() if isinstance(f, Numeric)]
        self._buckets = {
            name: np.uint64(f.buckets)
            for name, f in features.items()
            if not isinstance(f, Numeric) and f.buckets is not None
        }
        self._boundaries = {
            name: np.array(f.boundaries)
            for name, f in features.items()
            if isinstance(f, Numeric) and f.boundaries
        }
        salts = self._salted([*self.id_columns, *self.bag_columns])
        self._column_salts = salts[: len(self.id_columns)]
        self._salts = dict(zip(self.bag_columns, salts[len(self.id_columns) :], strict=True))

    @property
    def width(self) -> int:
        """How many inputs the model gets."""
        return sum(table.width for table in self.tables) + len(self.number_columns)

    @property
    def dims(self) -> tuple[int, ...]:
        """The widths of the embedded features, in the order of the model's input."""
        counts = ((table.dim, len(table.column_owners) + len(table.bags)) for table in self.tables)
        return tuple(dim for dim, count in counts for _ in range(count))

    @property
    def standardised(self) -> npt.NDArray[np.bool_]:
        """Which number columns are scaled as the stream goes. (number columns,)"""
        features = [self.features[name] for name in self.number_columns]
        return np.array([isinstance(f, Numeric) and f.limits is None for f in features], np.bool_)

    def fingerprint(self) -> str:
        """Return what the encoding depends on, as text: equal texts encode equally."""
        declared = {name: [type(f).__name__, asdict(f)] for name, f in self.features.items()}
        return json.dumps([declared, self.seed])

    def encode(self, fields: pa.Table) -> Encoded:
        """Encode rows of fields. A column that is not there is all missing; ConfigError for one of a wrong type."""
        rows, columns = fields.num_rows, self._columns(fields)
        found, bad = read_numbers({name: columns[name] for name in self._numeric}, rows)
        real = {name: self._scaled(name, values) for name, values in found.items()}
        lists = {name: self._lists(name, columns[name]) for name in self.bag_columns}
        hashes = self._hashes(columns, real, lists)
        ids = _side_by_side([hashes[name] for name in self.id_columns], rows, np.uint64)
        numbers = _side_by_side([real[name] for name in self.number_columns], rows, np.float64)
        bags = tuple(one.bag(_ids(hashes[name], self._salts[name])) for name, one in lists.items())
        return Encoded(_ids(ids, self._column_salts), bags, numbers, bad)

    def _table(self, dim: int) -> TableSpec:
        columns = [name for name in self.id_columns if self.features[name].dim == dim]
        bags = [name for name in self.bag_columns if self.features[name].dim == dim]
        owners = list(dict.fromkeys(self._owner(name) for name in [*columns, *bags]))
        first = self.id_columns.index(columns[0]) if columns else 0
        pooling = [f.pooling for name in bags if isinstance(f := self.features[name], Sequence)]
        return TableSpec(
            dim,
            tuple(self._rules(owner) for owner in owners),
            slice(first, first + len(columns)),
            tuple(owners.index(self._owner(name)) for name in columns),
            tuple(self.bag_columns.index(name) for name in bags),
            tuple(owners.index(self._owner(name)) for name in bags),
            tuple(pooling),
        )

    def _owner(self, name: str) -> str:
        feature = self.features[name]
        if isinstance(feature, Numeric) or feature.share is None:
            return name
        other = self.features.get(feature.share)
        if other is None or isinstance(other, Numeric) or other.share is not None or other.dim != feature.dim:
            raise ConfigError(
                f"features.{name}: shares the embedding of {feature.share}, which is no feature of width "
                f"{feature.dim} with an embedding of its own"
            )
        return feature.share

    def _rules(self, name: str) -> Owner:
        feature = self.features[name]
        if isinstance(feature, Numeric):
            return Owner(name)
        return Owner(name, feature.admit, feature.evict_after)

    def _columns(self, fields: pa.Table) -> dict[str, pa.Array]:
        """Return the column of every feature, in one piece."""
        there = set(fields.column_names)
        return {
            name: _whole(fields.column(field)) if field in there else pa.nulls(fields.num_rows)
            for name, field in self._fields.items()
        }

    def _hashes(
        self,
        columns: Mapping[str, pa.Array],
        real: Mapping[str, npt.NDArray[np.float64]],
        lists: Mapping[str, "_Lists"],
    ) -> dict[str, Hashes]:
        """Return the hash of every value that is embedded, by feature; of a list, those of its items."""
        values = {name: columns[name] for name in self._categorical}
        hashes = hash_each(values | {name: one.items for name, one in lists.items()})
        for name, buckets in self._buckets.items():
            hashes[name] = hashes[name] % buckets
        for name, boundaries in self._boundaries.items():
            hashes[name] = _bucket(real[name], boundaries)
        return hashes

    def _lists(self, name: str, column: pa.Array) -> "_Lists":
        feature = self.features[name]
        assert isinstance(feature, Sequence)
        if pa.types.is_null(column.type):
            return _Lists(pa.nulls(0), np.zeros(len(column), np.int64), np.zeros(len(column), np.int64))
        if not pa.types.is_list(column.type):
            raise ConfigError(f"features.{name}: a sequence needs a column of lists, not of {column.type}")
        offsets = column.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
        lengths = np.minimum(np.diff(offsets), feature.max_items)
        if column.null_count:
            lengths[column.is_null().to_numpy(zero_copy_only=False)] = 0
        first = int(offsets[0])  # of a slice: the values are those of all rows
        items = column.values.slice(first, int(offsets[-1]) - first)
        return _Lists(items, offsets[1:] - lengths - first, lengths)

    def _scaled(self, name: str, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        feature = self.features[name]
        assert isinstance(feature, Numeric)
        if feature.log1p:
            values = np.sign(values) * np.log1p(np.abs(values))
        if feature.limits is None or feature.boundaries:
            return values
        low, high = feature.limits
        return (np.clip(values, low, high) - low) / (high - low)

    def _salted(self, names: list[str]) -> Hashes:
        """Return what makes ids of different features, under different seeds, different ones."""
        owners = pa.array([self._owner(name) for name in names], pa.string())
        return mix(hash_columns([owners]) ^ mix(np.array([self.seed % 2**64], np.uint64)))


@dataclass(frozen=True, slots=True)
class _Lists:
    """A column of lists: row i has items[starts[i] : starts[i] + lengths[i]]."""

    items: pa.Array
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    def bag(self, ids: Ids) -> Bag:
        """Return the bag of the rows, given the id of every item."""
        return gather(ids, self.starts, self.lengths)


def _plain_number(feature: Feature) -> bool:
    return isinstance(feature, Numeric) and not feature.boundaries


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _side_by_side(columns: list[npt.NDArray[Any]], rows: int, kind: type[np.generic]) -> npt.NDArray[Any]:
    """Return columns, (rows,) each, as a matrix, (rows, columns)."""
    matrix = np.empty((rows, len(columns)), kind)
    for i, column in enumerate(columns):
        matrix[:, i] = column
    return matrix


def _bucket(values: npt.NDArray[np.float64], boundaries: npt.NDArray[np.float64]) -> Hashes:
    """Return the number of boundaries that are not greater; a missing value has a bucket of its own."""
    bucket = np.searchsorted(boundaries, values, side="right").astype(np.int64)
    bucket[np.isnan(values)] = -1
    return bucket.view(np.uint64)


def _ids(hashes: Hashes, salts: Hashes | np.uint64) -> Ids:
    """Return ids; 0 is left free for "no id"."""
    ids = mix(hashes ^ salts).view(np.int64)
    ids[ids == 0] = 1
    return ids
