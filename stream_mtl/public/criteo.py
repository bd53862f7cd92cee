"""Criteo's conversion logs: a row is a click, with the time of its conversion within 30 days, if there was one.

Chapelle, "Modeling Delayed Feedback in Display Advertising", KDD 2014. No header; times are whole seconds from the
log's beginning; then eight integers and nine hashed texts of undisclosed meaning, each of which may be missing.
"""

import pyarrow as pa

from stream_mtl.public.base import TIME, Faults, Ints, Kind, Log, Parsed
from stream_mtl.public.cells import NONE, moments, whole_numbers, words

INTEGERS = tuple(f"n{i}" for i in range(1, 9))
TEXTS = tuple(f"c{i}" for i in range(1, 10))
COLUMNS = ("click_ts", "conversion_ts", *INTEGERS, *TEXTS)
_ABSENT = ("", "-1")


def parse(texts: pa.RecordBatch, rows: Ints) -> Parsed:
    """Read clicks and their conversions. `click_id` is the number of the row."""
    faults = Faults(len(rows))
    click = moments(texts.column("click_ts"), faults, "click time", required=True)
    conversion = moments(texts.column("conversion_ts"), faults, "conversion time", _ABSENT)
    faults.mark((conversion != NONE) & (conversion < click), "the conversion precedes its click")
    integers = {name: whole_numbers(texts.column(name), faults, name) for name in INTEGERS}
    categories = {name: words(texts.column(name), faults, name) for name in TEXTS}
    clicks = pa.table({TIME: click, "click_id": rows, **integers, **categories})
    conversions = pa.table({TIME: conversion, "click_id": rows})
    return Parsed(
        {
            "click": clicks.filter(pa.array(faults.sound)),
            "conversion": conversions.filter(pa.array(faults.sound & (conversion != NONE))),
        },
        faults,
    )


CRITEO = Log(
    name="criteo",
    title="Criteo conversion logs (Chapelle, KDD 2014)",
    columns=COLUMNS,
    header=False,
    parse=parse,
    kinds=(
        Kind(
            "click",
            {"click_id": "long", **dict.fromkeys(INTEGERS, "long"), **dict.fromkeys(TEXTS, "string")},
            required=("click_id",),
            declared={"id": "click_id"},
        ),
        Kind(
            "conversion",
            {"click_id": "long"},
            required=("click_id",),
            declared={"after": "click", "within": "30d"},
        ),
    ),
    key="click_id",
    tasks={"cvr": {"event": "conversion", "method": "fnw"}},
    features={
        **{name: {"type": "numeric", "log1p": True} for name in INTEGERS},
        **{name: {"type": "categorical", "dim": 8} for name in TEXTS},
    },
)
