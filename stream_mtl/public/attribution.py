"""The "Criteo Attribution Modeling for Bidding" log: a row is an impression, with its click and a later conversion.

Diemert et al., AdKDD 2017. The first line names the columns; times are whole seconds from the log's beginning; -1
stands for what there is not. What a click was worth after the fact (click_pos, click_nb) is no field of an event.

- The log does not say when a click came: it is given the time of its impression.
- A conversion belongs to every row whose user converted within 30 days of it. Of a row without a click it is left
  out and counted: the tasks are a click, and a conversion given the click.
"""

import numpy as np
import pyarrow as pa

from stream_mtl.public.base import TIME, Faults, Ints, Kind, Log, Parsed
from stream_mtl.public.cells import NONE, moments, numbers, whole_numbers, words

CATEGORIES = ("uid", "campaign", *(f"cat{i}" for i in range(1, 10)))
COLUMNS = (
    "timestamp",
    "uid",
    "campaign",
    "conversion",
    "conversion_timestamp",
    "conversion_id",
    "attribution",
    "click",
    "click_pos",
    "click_nb",
    "cost",
    "cpo",
    "time_since_last_click",
    *(f"cat{i}" for i in range(1, 10)),
)
_ABSENT = ("", "-1")


def parse(texts: pa.RecordBatch, rows: Ints) -> Parsed:
    """Read impressions, clicks and conversions. `impression_id` is the number of the row."""
    faults = Faults(len(rows))
    shown = moments(texts.column("timestamp"), faults, "timestamp", required=True)
    at = moments(texts.column("conversion_timestamp"), faults, "conversion_timestamp", _ABSENT)
    clicked, converted, attributed = (
        _flag(texts, name, faults) for name in ("click", "conversion", "attribution")
    )
    faults.mark((converted == 1) & (at == NONE), "a conversion without its time")
    faults.mark((converted == 1) & (at < shown), "the conversion precedes its impression")
    fields = {name: words(texts.column(name), faults, name) for name in CATEGORIES}
    fields |= {name: numbers(texts.column(name), faults, name) for name in ("cost", "cpo")}
    since = texts.column("time_since_last_click")
    fields["since_click"] = whole_numbers(since, faults, "time_since_last_click", _ABSENT)
    number = whole_numbers(texts.column("conversion_id"), faults, "conversion_id", _ABSENT)
    key = {"impression_id": rows}
    kept = faults.sound & (converted == 1)
    conversions = {TIME: at, **key, "conversion_id": number, "attribution": attributed}
    return Parsed(
        {
            "impression": pa.table({TIME: shown, **key, **fields}).filter(pa.array(faults.sound)),
            "click": pa.table({TIME: shown, **key}).filter(pa.array(faults.sound & (clicked == 1))),
            "conversion": pa.table(conversions).filter(pa.array(kept & (clicked == 1))),
        },
        faults,
        {"conversions of impressions without a click, left out": int((kept & (clicked != 1)).sum())},
    )


def _flag(texts: pa.RecordBatch, name: str, faults: Faults) -> Ints:
    """Return 0 or 1. (n,)"""
    values = whole_numbers(texts.column(name), faults, name, absent=())
    flag: Ints = values.fill_null(0).to_numpy(zero_copy_only=False)
    faults.mark((flag != 0) & (flag != 1), f"{name} is neither 0 nor 1")
    return np.asarray(flag)


ATTRIBUTION = Log(
    name="criteo-attribution",
    title="Criteo Attribution Modeling for Bidding (Diemert et al., AdKDD 2017)",
    columns=COLUMNS,
    header=True,
    parse=parse,
    kinds=(
        Kind(
            "impression",
            {
                "impression_id": "long",
                **dict.fromkeys(CATEGORIES, "string"),
                "cost": "double",
                "cpo": "double",
                "since_click": "long",
            },
            required=("impression_id",),
            declared={"id": "impression_id"},
        ),
        Kind(
            "click",
            {"impression_id": "long"},
            required=("impression_id",),
            declared={"after": "impression", "within": "1m"},
        ),
        Kind(
            "conversion",
            {"impression_id": "long", "conversion_id": "long", "attribution": "long"},
            required=("impression_id",),
            declared={"after": "click", "within": "30d"},
        ),
    ),
    key="impression_id",
    tasks={
        "ctr": {"event": "click", "method": "wait"},
        "cvr": {"event": "conversion", "given": "ctr", "method": "fnw"},
    },
    features={
        **{name: {"type": "categorical", "dim": 8} for name in CATEGORIES},
        "since_click": {"type": "numeric", "log1p": True},
    },
)
