"""The speed of encoding features alone: Arrow columns in, ids, bags and numbers out."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from stream_mtl.bench.measure import Compared, by_turns, peak_megabytes, timed
from stream_mtl.learn.features import Categorical, Feature, FeatureSpec, Numeric
from stream_mtl.learn.features import Sequence as Items

BATCHES = (256, 2_048, 10_000)
IDS = 100_000


def bench_features(rows: int, rounds: int, batches: Sequence[int] = BATCHES) -> list[Compared]:
    """Encode so many rows of each set of features, in batches of each size."""
    rng = np.random.default_rng(0)
    sets = {
        "20 categorical integers": (_integers(), _integer_columns(rows, rng)),
        "5 integers, 5 texts, 5 numbers, 2 sequences": (_mixed(), _mixed_columns(rows, rng)),
    }
    return [
        _compare(f"{name}, {rows:,} rows", FeatureSpec(features), pa.table(columns), rounds, batches)
        for name, (features, columns) in sets.items()
    ]


def _compare(about: str, spec: FeatureSpec, table: pa.Table, rounds: int, batches: Sequence[int]) -> Compared:
    ways = {
        f"batches of {batch:,}": partial(timed, partial(_encode, spec, _parts(table, batch)))
        for batch in batches
    }
    rates = by_turns(ways, table.num_rows, rounds)
    return Compared(about, "rows", rates, peak_megabytes())


def _parts(table: pa.Table, batch: int) -> list[pa.Table]:
    """Return tables with memory of their own, as they come from a join or a request."""
    starts = range(0, table.num_rows, batch)
    return [table.take(pa.array(np.arange(table.num_rows)[start : start + batch])) for start in starts]


def _encode(spec: FeatureSpec, parts: Sequence[pa.Table]) -> None:
    for part in parts:
        spec.encode(part)


def _integers() -> dict[str, Feature]:
    return {f"i{i}": Categorical() for i in range(20)}


def _integer_columns(rows: int, rng: np.random.Generator) -> Mapping[str, pa.Array]:
    return {f"i{i}": pa.array(rng.integers(0, IDS, rows)) for i in range(20)}


def _mixed() -> dict[str, Feature]:
    features: dict[str, Feature] = {f"i{i}": Categorical() for i in range(5)}
    features |= {f"t{i}": Categorical() for i in range(5)}
    features |= {f"n{i}": Numeric(log1p=i == 0) for i in range(5)}
    return features | {"words": Items(), "numbers": Items()}


def _mixed_columns(rows: int, rng: np.random.Generator) -> Mapping[str, pa.Array]:
    texts = pa.array([f"value-{i}" for i in range(10_000)])
    columns = {f"i{i}": pa.array(rng.integers(0, IDS, rows)) for i in range(5)}
    columns |= {f"t{i}": texts.take(pa.array(rng.integers(0, 10_000, rows))) for i in range(5)}
    columns |= {f"n{i}": pa.array(rng.lognormal(0, 1, rows)) for i in range(5)}
    offsets = pa.array(np.append(0, rng.integers(0, 11, rows).cumsum()).astype(np.int32))
    items = rng.integers(0, 10_000, offsets[-1].as_py())
    columns["words"] = pa.ListArray.from_arrays(offsets, texts.take(pa.array(items)))
    columns["numbers"] = pa.ListArray.from_arrays(offsets, pa.array(items))
    return columns
