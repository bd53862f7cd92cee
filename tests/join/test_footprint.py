"""What waiting costs: bytes of state beside the payload."""

import numpy as np
import pyarrow as pa

from stream_mtl.clock import DAY, MINUTE
from stream_mtl.events.types import Arrivals, Events
from stream_mtl.join.footprint import footprint
from stream_mtl.join.joiner import Joiner
from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec

from .columns import NONE_MALFORMED

CHAIN = ChainSpec(
    key=("id",),
    kinds=(
        KindSpec("impression", id="id"),
        KindSpec("click", ("impression",), within=30 * MINUTE, id="id"),
        KindSpec("conversion", ("click",), within=7 * DAY, id="id"),
    ),
    tasks=(TaskSpec("ctr", "click", waits=(MINUTE,)), TaskSpec("cvr", "conversion", given="ctr")),
)
SCHEMA = pa.schema([("id", pa.int64())])
PARTITIONS = [("impression", 0), ("click", 0), ("conversion", 0)]
CHAINS = 40_000


def waiting_joiner(clicked: bool) -> Joiner:
    """Return a joiner in which all chains wait: for a click, or, a day later, for a conversion."""
    joiner = Joiner(CHAIN, {kind.name: SCHEMA for kind in CHAIN.kinds}, PARTITIONS)
    numbers = np.arange(CHAINS)
    for kind in ("impression", "click") if clicked else ("impression",):
        fields = pa.RecordBatch.from_arrays([pa.array(numbers)], schema=SCHEMA)
        events = Events(kind, numbers, numbers // 100, fields)
        joiner.admit(Arrivals(kind, 0, 0, CHAINS, (events,), NONE_MALFORMED))
    joiner.tell(DAY if clicked else MINUTE)
    return joiner


def test_an_unclicked_chain_that_waits_costs_less_than_100_bytes_beside_its_payload() -> None:
    measured = footprint(waiting_joiner(clicked=False))
    assert measured.chains == CHAINS
    assert measured.beside_each < 100


def test_a_clicked_chain_that_waits_costs_less_than_250_bytes_beside_its_payload() -> None:
    measured = footprint(waiting_joiner(clicked=True))
    assert measured.chains == CHAINS
    assert measured.beside_each < 250
