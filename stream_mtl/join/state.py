"""A joiner as tables and back: everything it knows, so that a restored one goes on as if it had never stopped."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from stream_mtl.events.watermark import Watermarks
from stream_mtl.join.children import Children, Identity, Waiters
from stream_mtl.join.hold import Facts
from stream_mtl.join.joiner import Joiner
from stream_mtl.join.keys import Keys
from stream_mtl.join.rows import Pile, Ring, empty
from stream_mtl.join.spec import ChainSpec
from stream_mtl.join.store import State

_RAW = "\x00"  # in front of the names of columns that are ours, beside the user's fields


def save(joiner: Joiner) -> State:
    """Return the joiner's state. Its tables share memory with the joiner: store it before going on."""
    tables: dict[str, pa.Table] = {}
    sealed: set[str] = set()
    exposures, touched = joiner.exposures, joiner.touched
    ours = [name for name in exposures.ring.columns if name != "touched"]
    _save_pile("exposures", exposures.pile, exposures.ring, ours, tables, sealed)
    _save_pile("touched", touched.pile, touched.ring, [], tables, sealed)
    tables["touched"] = pa.table(touched.ring.live())
    tables["hold"] = _facts_table(joiner.hold.contents(), {})
    for name, children in joiner.children.items():
        tables[f"hold.{name}"] = _facts_table(children.hold.contents(), {})
        waiters = children.waiters
        extra = {"exposure": waiters.exposure, "touched": waiters.touched, "id_row": waiters.id_row}
        tables[f"waiters.{name}"] = _facts_table(waiters.facts, extra)
        _save_ids(name, children.identity, tables, sealed)
    if joiner.scores is not None:
        scores = joiner.scores
        tables[f"hold.{scores.kind.name}"] = _facts_table(scores.hold.contents(), {})
        _save_pile("scores", scores.pile, scores.ring, [], tables, sealed)
        tables["scores"] = pa.table(scores.ring.live())
        _save_ids(scores.kind.name, scores.identity, tables, sealed)
    for name, standing in joiner.standing.items():
        tables[f"standing.{name}"] = pa.table(standing.ring.live())
    for (kind, offset), (at, rows) in joiner.ripener.live().items():
        tables[f"due.{kind}.{offset}"] = pa.table({"at": at, "row": rows})
    return State(_meta(joiner), tables, frozenset(sealed))


def restore(joiner: Joiner, state: State) -> None:
    """Make a newly built joiner what the saved one was."""
    meta, tables = state.meta, state.tables
    joiner.positions = {(p["source"], p["partition"]): p["next"] for p in meta["positions"]}
    joiner.watermarks = Watermarks.from_dict(meta["watermarks"])
    joiner.counts = {kind: dict(counts) for kind, counts in meta["counts"].items()}
    joiner.ignored, joiner.told_before = meta["ignored"], meta["told_before"]
    exposures, touched = joiner.exposures, joiner.touched
    _restore_pile("exposures", exposures.pile, meta, tables, exposures.ring, {"touched": -1})
    exposures.ring.drop_before(meta["rings"]["exposures"][0])
    exposures.untold = dict(meta["untold"])
    _restore_pile("touched", touched.pile, meta, tables)
    touched.ring.restore(meta["rings"]["touched"][0], _numpy(tables["touched"]))
    rows = np.arange(touched.ring.first, touched.ring.next)
    numbers = touched.ring.get("exposure", rows)
    in_log = numbers >= exposures.ring.first
    exposures.ring.put("touched", numbers[in_log], rows[in_log])
    joiner.hold.restore(_facts(tables["hold"], joiner.hold.schema)[0])
    for name, children in joiner.children.items():
        _restore_children(name, children, meta, tables)
    if joiner.scores is not None:
        scores = joiner.scores
        scores.hold.restore(_facts(tables[f"hold.{scores.kind.name}"], scores.hold.schema)[0])
        _restore_pile("scores", scores.pile, meta, tables)
        scores.ring.restore(meta["rings"]["scores"][0], _numpy(tables["scores"]))
        _restore_ids(scores.kind.name, scores.identity, meta, tables)
    for name, standing in joiner.standing.items():
        standing.ring.restore(meta["rings"][f"standing.{name}"][0], _numpy(tables[f"standing.{name}"]))
    joiner.ripener.restore(
        {(kind, offset): _due(tables[f"due.{kind}.{offset}"]) for kind, offset in joiner.ripener.live()}
    )
    for name, keys in _keys(joiner).items():
        keys.restore(*_aliases(meta["keys"][name]))
        keys.index.rebuild()
    touched.index.rebuild()


def _meta(joiner: Joiner) -> dict[str, Any]:
    rings = {"exposures": joiner.exposures.ring, "touched": joiner.touched.ring}
    piles = {"exposures": joiner.exposures.pile, "touched": joiner.touched.pile}
    if joiner.scores is not None:
        rings["scores"], piles["scores"] = joiner.scores.ring, joiner.scores.pile
    for name, identity in joiner.identities().items():
        if identity.ids is not None:
            rings[f"ids.{name}"], piles[f"ids.{name}"] = identity.ids.ring, identity.ids.pile
    rings |= {f"standing.{name}": standing.ring for name, standing in joiner.standing.items()}
    return {
        "positions": [{"source": s, "partition": p, "next": n} for (s, p), n in joiner.positions.items()],
        "watermarks": joiner.watermarks.to_dict(),
        "counts": joiner.counts,
        "ignored": joiner.ignored,
        "told_before": joiner.told_before,
        "untold": list(joiner.exposures.untold.items()),
        "rings": {name: [ring.first, ring.next] for name, ring in rings.items()},
        "piles": {name: [pile.first, pile.next] for name, pile in piles.items()},
        "keys": {
            name: {
                "aliases": [[list(key), alias] for key, alias in keys.aliases.items()],
                "shared": keys.shared,
            }
            for name, keys in _keys(joiner).items()
        },
    }


def _keys(joiner: Joiner) -> dict[str, Keys]:
    keys = {"key": joiner.exposures.keys}
    if joiner.exposures.has_id_index:
        keys["id"] = joiner.exposures.ids
    if joiner.scores is not None:
        keys["scores"] = joiner.scores.keys
    for name, identity in joiner.identities().items():
        if identity.ids is not None:
            keys[f"ids.{name}"] = identity.ids.keys
    return keys


def _aliases(plain: Mapping[str, Any]) -> tuple[dict[tuple[object, ...], int], list[int]]:
    return {tuple(key): alias for key, alias in plain["aliases"]}, plain["shared"]


def _save_ids(name: str, identity: Identity, tables: dict[str, pa.Table], sealed: set[str]) -> None:
    if identity.ids is not None:
        _save_pile(f"ids.{name}", identity.ids.pile, identity.ids.ring, [], tables, sealed)
        tables[f"ids.{name}"] = pa.table(identity.ids.ring.live())


def _restore_ids(
    name: str, identity: Identity, meta: Mapping[str, Any], tables: Mapping[str, pa.Table]
) -> None:
    if identity.ids is not None:
        _restore_pile(f"ids.{name}", identity.ids.pile, meta, tables)
        identity.ids.ring.restore(meta["rings"][f"ids.{name}"][0], _numpy(tables[f"ids.{name}"]))


def _save_pile(
    name: str, pile: Pile, ring: Ring, columns: list[str], tables: dict[str, pa.Table], sealed: set[str]
) -> None:
    """Add the pile's batches, each with the ring's columns of the same rows.

    Rows that the ring has dropped but whose batch is still held carry zeros; nobody asks.
    """
    for start, batch, old in pile.parts():
        stop = start + batch.num_rows
        table = pa.Table.from_batches([batch])
        for column in columns:
            table = table.append_column(_RAW + column, pa.array(_beside(ring, column, start, stop)))
        tables[f"{name}-{start}"] = table
        if old:
            sealed.add(f"{name}-{start}")


def _beside(ring: Ring, column: str, start: int, stop: int) -> np.ndarray:
    if start >= ring.first:
        return ring.range(column, start, stop)
    live = ring.range(column, ring.first, stop)
    return np.concatenate([np.zeros(ring.first - start, live.dtype), live])


def _restore_pile(
    name: str,
    pile: Pile,
    meta: Mapping[str, Any],
    tables: Mapping[str, pa.Table],
    ring: Ring | None = None,
    defaults: Mapping[str, int] | None = None,
) -> None:
    parts = sorted((int(key.rsplit("-", 1)[1]), key) for key in tables if key.rpartition("-")[0] == name)
    first, next_ = meta["piles"][name]
    whole = [tables[key].combine_chunks() for _, key in parts]
    pile.restore(first, [_batch(table.select(pile.schema.names), pile.schema) for table in whole])
    pile.next = next_
    if ring is not None:
        ring.restore(first, {})
        for table in whole:
            raw = {n[1:]: table.column(n).to_numpy() for n in table.schema.names if n.startswith(_RAW)}
            ring.append(table.num_rows, raw | dict(defaults or {}))


def _restore_children(
    name: str, children: Children, meta: Mapping[str, Any], tables: Mapping[str, pa.Table]
) -> None:
    children.hold.restore(_facts(tables[f"hold.{name}"], children.schema)[0])
    facts, extra = _facts(tables[f"waiters.{name}"], children.schema)
    children.waiters = Waiters(facts, extra["exposure"], extra["touched"], extra["id_row"])
    _restore_ids(name, children.identity, meta, tables)


def _facts_table(facts: Facts, extra: Mapping[str, np.ndarray]) -> pa.Table:
    table = pa.Table.from_batches([facts.fields])
    ours = {"time": facts.time, "partition": facts.partition, "position": facts.position, **extra}
    for name, column in ours.items():
        table = table.append_column(_RAW + name, pa.array(column))
    return table


def _facts(table: pa.Table, schema: pa.Schema) -> tuple[Facts, dict[str, np.ndarray]]:
    ours = {n[1:]: table.column(n).to_numpy() for n in table.schema.names if n.startswith(_RAW)}
    fields = _batch(table.select(schema.names).combine_chunks(), schema)
    rows = np.arange(table.num_rows)
    return Facts(ours.pop("time"), ours.pop("partition"), ours.pop("position"), fields, rows), ours


def _due(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    return table.column("at").to_numpy(), table.column("row").to_numpy()


def _numpy(table: pa.Table) -> dict[str, np.ndarray]:
    return {name: table.column(name).to_numpy() for name in table.schema.names}


def _batch(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    return next(iter(table.to_batches()), empty(schema))


def declaration(chain: ChainSpec, schemas: Mapping[str, pa.Schema]) -> dict[str, Any]:
    """Return what the state and the log depend on, fit for JSON, with a `fingerprint` of all of it."""
    fields = {kind: {f.name: str(f.type) for f in schema} for kind, schema in sorted(schemas.items())}
    plain = {"chain": _declared(chain), "fields": fields}
    return {**plain, "fingerprint": hashlib.sha256(msgspec.json.encode(plain)).hexdigest()[:16]}


def _declared(chain: ChainSpec) -> dict[str, Any]:
    """Return the chain without what it does not say: a log that knows nothing of it goes on under its old fingerprint."""
    plain: dict[str, Any] = msgspec.to_builtins(chain)
    for kind in plain["kinds"]:
        _drop(kind, "retracts")
    if plain["before"] is not None:
        _drop(plain["before"], "retracts")
    for task in plain["tasks"]:
        _drop(task, "less")
        # The first two follow from the kinds; the log knows nothing of the last.
        for name in ("retracted", "unsure", "absent"):
            del task[name]
    return plain


def _drop(plain: dict[str, Any], name: str) -> None:
    if not plain[name]:
        del plain[name]
