"""What the plain join makes of a generated stream: the other way to the same accounts and labels."""

from stream_mtl.generate.faults import Breakage
from stream_mtl.generate.fields import chain_spec
from stream_mtl.generate.generated import Generated, Stream
from stream_mtl.join.chain import Row
from stream_mtl.join.plain import PlainJoin, PlainRecord


def records(stream: Stream, partition: int) -> list[PlainRecord]:
    """Return the valid records of one partition's log."""
    log = stream.of(partition)
    return [
        PlainRecord((log.kind, partition), log.kind, position, row.pop("ts"), row)
        for position, row in enumerate(log.table.to_pylist())
        if log.broken[position] == Breakage.NONE
    ]


def join(generated: Generated) -> tuple[dict[str, dict[str, int]], list[Row]]:
    """Return the accounts and all rows told."""
    options = generated.options
    partitions = range(options.partitions)
    homes = [(kind, partition) for kind in generated.streams for partition in partitions]
    plain = PlainJoin(chain_spec(options), homes)
    for stream in generated.streams.values():
        for partition in partitions:
            plain.feed(records(stream, partition))
    plain.end()
    rows = plain.tell()
    return plain.accounts(), rows
