"""CASCADE: clicks on Taobao that are paid, and payments that are refunded (Luo et al., WWW 2026).

The authors publish what the log holds (`click_time`, `pay_time`, `refund_time`, features of user and item), and the
script that reads it: tab-separated, no header, click time in seconds, then pay and refund times as lists of which the
first counts, then 22 columns of features, each a text or a list of which the first counts. The names of the features
are not told. What that script writes, with hashed features and -1 for a time that is not there, has the same columns
and is read too, and so is a first line with the names of the three times.
"""

import pyarrow as pa
import pyarrow.compute as pc

from stream_mtl.public.base import TIME, Faults, Ints, Kind, Log, Parsed
from stream_mtl.public.cells import NONE, first_of_list, moments, words

FEATURES = tuple(f"f{i}" for i in range(1, 23))
COLUMNS = ("click_time", "pay_time", "refund_time", *FEATURES)
_ABSENT = ("", "-1", "None", "nan", "NULL", r"\N")


def parse(texts: pa.RecordBatch, rows: Ints) -> Parsed:
    """Read clicks, payments and refunds. `click_id` is the number of the row."""
    faults = Faults(len(rows))
    click = moments(texts.column("click_time"), faults, "click_time", required=True)
    pay, refund = (_first(texts, name, faults) for name in ("pay_time", "refund_time"))
    paid, refunded = pay != NONE, refund != NONE
    faults.mark(paid & (pay < click), "the payment precedes its click")
    faults.mark(refunded & ~paid, "a refund without a payment")
    faults.mark(refunded & (refund < pay), "the refund precedes its payment")
    fields = {name: words(_item(texts.column(name)), faults, name) for name in FEATURES}
    key = {"click_id": rows}
    return Parsed(
        {
            "click": pa.table({TIME: click, **key, **fields}).filter(pa.array(faults.sound)),
            "pay": pa.table({TIME: pay, **key}).filter(pa.array(faults.sound & paid)),
            "refund": pa.table({TIME: refund, **key}).filter(pa.array(faults.sound & refunded)),
        },
        faults,
    )


def _first(texts: pa.RecordBatch, name: str, faults: Faults) -> Ints:
    """Return the first of a list of times, ms. (n,)"""
    return moments(first_of_list(texts.column(name)), faults, name, _ABSENT)


def _item(texts: pa.Array) -> pa.Array:
    """Return a feature: of a list the first, of a missing one an empty text."""
    first = first_of_list(texts)
    return pc.if_else(pc.is_in(first, pa.array([r"\N"], pa.string())), "", first)


CASCADE = Log(
    name="cascade",
    title="CASCADE, click, payment and refund (Luo et al., WWW 2026)",
    columns=COLUMNS,
    header=False,
    parse=parse,
    kinds=(
        Kind(
            "click",
            {"click_id": "long", **dict.fromkeys(FEATURES, "string")},
            required=("click_id",),
            declared={"id": "click_id"},
        ),
        Kind(
            "pay", {"click_id": "long"}, required=("click_id",), declared={"after": "click", "within": "3d"}
        ),
        Kind(
            "refund", {"click_id": "long"}, required=("click_id",), declared={"after": "pay", "within": "3d"}
        ),
    ),
    key="click_id",
    tasks={
        "cvr": {"event": "pay", "method": "es_dfm:15m"},
        "refund": {"event": "refund", "given": "cvr", "method": "es_dfm:15m"},
    },
    features={name: {"type": "categorical", "dim": 8} for name in FEATURES},
)
