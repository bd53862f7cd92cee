"""Every state store keeps the newest two checkpoints, whole or not at all, and tells when one is damaged."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from stream_mtl.errors import NotWritten
from stream_mtl.join.store import MemoryStore, SegmentStore, SparedStore, State, StateStore

Open = Callable[[], StateStore]


@pytest.fixture(params=["memory", "segments"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    if request.param == "memory":
        store = MemoryStore()
        yield lambda: store
    else:
        yield lambda: SegmentStore(tmp_path / "state")


def state(number: int, sealed: int = 0) -> State:
    tables = {"tail": pa.table({"x": [number, None]}), "old": pa.table({"y": [f"{sealed}"]})}
    return State({"number": number}, tables, frozenset({"old"}))


def test_there_is_nothing_at_first(opened: Open) -> None:
    assert opened().load() == []


def test_the_newest_two_are_kept_newest_first(opened: Open) -> None:
    store = opened()
    for number in range(4):
        store.save(state(number))
    loaded = opened().load()
    assert [one.meta["number"] for one in loaded] == [3, 2]
    assert loaded[0].tables["tail"].to_pydict() == {"x": [3, None]}
    assert loaded[0].sealed == {"old"}


def test_a_reopened_store_goes_on(opened: Open) -> None:
    opened().save(state(0))
    opened().save(state(1))
    assert [one.meta["number"] for one in opened().load()] == [1, 0]


def test_a_sealed_table_is_written_once(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path)
    for number in range(5):
        store.save(state(number))
    assert len(list(tmp_path.glob("old.*"))) == 1
    assert len(list(tmp_path.glob("tail.*"))) == 2


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete"])
@pytest.mark.parametrize("file", ["tail.*4.arrow", "checkpoint-*4.json"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, damage: str, file: str) -> None:
    store = SegmentStore(tmp_path)
    for number in range(5):
        store.save(state(number))
    (path,) = tmp_path.glob(file)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    {
        "flip": lambda: path.write_bytes(data),
        "truncate": lambda: path.write_bytes(data[:-9]),
        "empty": lambda: path.write_bytes(b""),
        "delete": path.unlink,
    }[damage]()
    assert [one.meta["number"] for one in SegmentStore(tmp_path).load()] == [3]


@pytest.mark.parametrize(
    "place", ["files.unsynced", "state.after_table", "state.before_manifest", "state.after_manifest"]
)
def test_a_checkpoint_that_a_full_disk_did_not_take_leaves_nothing(
    tmp_path: Path, full: Callable[[str], None], place: str
) -> None:
    store = SegmentStore(tmp_path)
    for number in range(3):
        store.save(state(number))
    before = sorted(tmp_path.iterdir())
    full(f"{place}:1")
    with pytest.raises(NotWritten, match=r"No space left.*the checkpoint before stands"):
        store.save(state(3, sealed=1))
    assert sorted(tmp_path.iterdir()) == before
    assert [one.meta["number"] for one in SegmentStore(tmp_path).load()] == [2, 1]
    store.save(state(3))
    assert [one.meta["number"] for one in SegmentStore(tmp_path).load()] == [3, 2]


def test_a_spared_store_says_why_it_failed_until_it_works(
    tmp_path: Path, full: Callable[[str], None]
) -> None:
    store = SparedStore(SegmentStore(tmp_path))
    full("state.before_manifest:1")
    store.save(state(0))
    assert store.problem is not None and "No space left" in store.problem
    assert store.load() == []
    store.save(state(1))
    assert store.problem is None
    assert [one.meta["number"] for one in store.load()] == [1]


def test_left_overs_of_a_crash_are_ignored_and_swept(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path)
    store.save(state(0))
    (tmp_path / "checkpoint-000000000001.tmp").write_bytes(b"half")
    (tmp_path / "tail.000000000001.arrow").write_bytes(b"half")
    again = SegmentStore(tmp_path)
    assert [one.meta["number"] for one in again.load()] == [0]
    again.save(state(1))
    assert [one.meta["number"] for one in SegmentStore(tmp_path).load()] == [1, 0]
    assert not list(tmp_path.glob("*.tmp"))
