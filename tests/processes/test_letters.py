"""Dead letters in a folder are kept for as long and as many bytes as the configuration says."""

from pathlib import Path

from stream_mtl.connectors.letters import read_letters
from stream_mtl.processes.join import join
from stream_mtl.processes.letters import dead_letters
from tests.processes.small import loaded, market


def test_a_joiner_drops_the_oldest_letters_beyond_what_is_kept(tmp_path: Path) -> None:
    config = market(tmp_path, knobs=["malformed=0.1"])
    small = ["dead_letters.max_bytes=60KB", "join.poll_rows=50", "join.tell_rows=50", "join.block_rows=1"]
    accounts = join(loaded(config, small), lambda: False)
    letters = list(read_letters(tmp_path / "dead-letters"))
    assert 0 < len(letters) < sum(counts["malformed"] for counts in accounts.values())
    assert letters[-1].source.endswith("*.avro")
    *older, newest = sorted((tmp_path / "dead-letters").iterdir())
    # the newest file stays however large it is
    assert sum(path.stat().st_size for path in older) + newest.stat().st_size <= 60_000 or not older


def test_several_joiners_share_what_is_kept(tmp_path: Path) -> None:
    made = loaded(market(tmp_path), ["join.partitions=4", "dead_letters.max_bytes=4KB"]).config
    sinks = [dead_letters(made, number, lambda: 0) for number in range(4)]
    assert sorted(path.name for path in (tmp_path / "dead-letters").iterdir()) == ["0", "1", "2", "3"]
    for sink in sinks:
        sink.close()
