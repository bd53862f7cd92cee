"""Which records count, and in which account and order, rule by rule."""

from dataclasses import replace

import pytest

from stream_mtl.join.chain import Row
from stream_mtl.join.plain import PlainJoin, PlainRecord
from stream_mtl.join.spec import ChainSpec
from tests.join.streams import AD, NAMED, SHOP
from tests.join.told import QUIET, account, counts, event, joined, records, show, tell


def feed(spec: ChainSpec, *polls: list[PlainRecord], partitions: tuple[str, ...] = ("p", "q")) -> PlainJoin:
    join = PlainJoin(spec, partitions)
    for poll in polls:
        join.feed(poll)
    return join


def told(join: PlainJoin) -> list[Row]:
    join.end()
    return join.tell()


# Admission


def test_a_record_is_late_below_the_watermark_and_not_on_it() -> None:
    spec = replace(QUIET, lateness=3)
    for time, late in [(7, 0), (6, 1)]:
        join = feed(spec, records(spec, event("impression", 10), event("impression", time)))
        assert join.accounts()["impression"]["late"] == late


def test_a_record_is_late_by_the_watermark_of_its_own_partition() -> None:
    ahead = records(QUIET, event("impression", 10), source="p")
    behind = records(QUIET, event("impression", 1), event("impression", 2), source="q")
    join = feed(QUIET, ahead, behind)
    assert join.accounts()["impression"]["late"] == 0
    assert [row.time for row in told(join) if row.kind.name == "EXPOSED"] == [1, 2, 10]


def test_all_kinds_of_a_partition_share_its_watermark() -> None:
    join = feed(QUIET, records(QUIET, event("click", 10), event("impression", 9)))
    assert counts(join, "impression") == {"late": 1}


def test_a_late_record_takes_part_in_nothing() -> None:
    late = (
        event("impression", 1, id="a", user="v"),
        event("click", 2, user="v"),
        event("impression", 10, id="a"),
    )
    join = feed(QUIET, records(QUIET, event("impression", 10), *late))
    assert show(QUIET, told(join)) == ["10 exposed #0 -", "10 exposed #1 -"]
    assert counts(join, "impression") == {"joined": 2, "late": 1}


def test_nothing_is_told_before_every_partition_has_passed_it() -> None:
    join = feed(QUIET, records(QUIET, event("impression", 1), event("impression", 9), source="p"))
    assert join.tell() == []  # q has given nothing yet
    join.feed(records(QUIET, event("click", 1, user="v"), source="q"))
    assert join.tell() == []  # another record at 1 may still come
    join.feed(records(QUIET, event("click", 2), source="q", at=1))
    assert show(QUIET, join.tell()) == ["1 exposed #0 -"]


def test_at_the_end_of_input_the_watermark_is_just_past_the_last_record() -> None:
    spec = replace(QUIET, lateness=100)
    for last, lines in [(4, ["0 exposed #0 -", "4 final #0 ctr ctr=0"]), (3, ["0 exposed #0 -"])]:
        join = feed(spec, records(spec, event("impression", 0), event("click", last, user="v")))
        assert join.tell() == []
        assert show(spec, told(join)) == lines


def test_a_tick_is_a_floor_for_the_records_after_it() -> None:
    join = feed(QUIET, records(QUIET, event("impression", 1)), partitions=("p",))
    join.tick("p", 5)
    assert show(QUIET, join.tell()) == ["1 exposed #0 -"]
    join.feed(records(QUIET, event("impression", 4), event("impression", 5), at=1))
    assert counts(join, "impression") == {"joined": 1, "late": 1, "waiting": 1}


# Identity


def test_the_same_id_with_the_same_fields_is_a_duplicate_whatever_its_time() -> None:
    repeats = event("impression", 0, id="a"), event("impression", 0, id="a"), event("impression", 2, id="a")
    lines, join = joined(QUIET, *repeats, upto=9)
    assert lines == ["0 exposed #0 -", "4 final #0 ctr ctr=0"]
    assert counts(join, "impression") == {"joined": 1, "duplicate": 2}


def test_the_same_id_with_other_fields_is_a_conflict_and_changes_nothing() -> None:
    repeats = event("impression", 0, id="a", tags=["x"]), event("impression", 1, id="a", tags=[])
    lines, join = joined(QUIET, *repeats, event("click", 3), upto=4)
    assert lines == ["0 exposed #0 -", "4 final #0 ctr ctr=1@3"]
    assert counts(join, "impression") == {"joined": 1, "conflict": 1}


def test_the_first_in_event_time_stands_not_the_first_to_arrive() -> None:
    repeats = event("impression", 1, id="a", tags=["x"]), event("impression", 0, id="a", tags=[])
    assert tell(QUIET, *repeats, upto=1) == ["0 exposed #0 -"]


def test_of_two_at_once_the_lower_partition_and_position_stands() -> None:
    first = records(QUIET, event("impression", 0, id="a", tags=["q0"]), source="q")
    second = records(
        QUIET, event("impression", 0, id="a", tags=["p0"]), event("impression", 0, id="a", tags=["p1"])
    )
    assert [row.fields["tags"] for row in told(feed(QUIET, first, second)) if row.fields] == [["p0"]]


def test_the_same_id_of_another_kind_is_another_event() -> None:
    assert account(QUIET, "click", event("impression", 0, id="a"), event("click", 1, id="a"), upto=1) == {
        "joined": 1
    }


@pytest.mark.parametrize(
    ("spec", "kind", "memory"),
    [
        (AD, "impression", 4 + 3),  # life + remember
        (AD, "conversion", 10 + 3),  # within + remember
        (AD, "click", 4 + 3),
        (NAMED, "click", 10 + 2 + 3),  # a conversion may name it that long
    ],
)
def test_an_id_is_remembered_as_long_as_it_can_matter(spec: ChainSpec, kind: str, memory: int) -> None:
    for time, repeats in [(memory, 1), (memory + 1, 0)]:
        twice = event(kind, 0, id="a"), event(kind, time, id="a")
        assert account(spec, kind, *twice, upto=100).get("duplicate", 0) == repeats


def test_a_repeat_does_not_renew_the_memory() -> None:
    times = [0, 5, 8]
    assert account(AD, "click", *(event("click", time, id="a") for time in times), upto=100) == {
        "duplicate": 1,
        "orphan": 2,
    }


def test_the_repeat_of_an_orphan_is_a_repeat() -> None:
    twice = event("click", 0, id="a"), event("click", 3, id="a")
    assert account(AD, "click", event("impression", 2), *twice, upto=9) == {"duplicate": 1, "orphan": 1}


def test_without_id_the_same_time_and_fields_are_a_duplicate() -> None:
    twice = event("view", 0), event("view", 0), event("view", 1), event("view", 1, tags=["x"])
    assert account(SHOP, "view", *twice, upto=1) == {"joined": 3, "duplicate": 1}


def test_fields_are_compared_by_value() -> None:
    for first, second in [(None, None), (1.0, 1.0), (float("nan"), float("nan"))]:
        twice = event("cart", 0, amount=first), event("cart", 0, amount=second)
        assert account(SHOP, "cart", *twice, upto=0)["duplicate"] == 1
    others = (event("cart", 0, amount=amount) for amount in (None, float("nan"), 0.0))
    assert account(SHOP, "cart", *others, upto=0) == {"waiting": 3}


def test_a_field_that_is_missing_is_null() -> None:
    whole = records(QUIET, event("impression", 0, id="a", tags=None))
    bare = [replace(whole[0], position=1, fields={"user": "u", "id": "a"})]
    assert feed_and_count(QUIET, whole + bare) == {"joined": 1, "duplicate": 1}


def feed_and_count(spec: ChainSpec, poll: list[PlainRecord]) -> dict[str, int]:
    join = feed(spec, poll)
    told(join)
    return counts(join, spec.root.name)


# Exposures


def test_exposures_are_numbered_by_time_then_key_then_partition_and_position() -> None:
    p = records(
        QUIET, event("impression", 0, user="\U0001f600"), event("impression", 1, user="a"), source="p"
    )
    q = records(QUIET, event("impression", 0, user="\uff5e"), event("impression", 1, user="a"), source="q")
    exposed = [row for row in told(feed(QUIET, q, p)) if row.kind.name == "EXPOSED"]
    # By UTF-8 bytes: U+FF5E is before U+1F600, though it is behind it in UTF-16.
    assert [(row.time, *row.key) for row in exposed] == [(0, "\uff5e"), (0, "\U0001f600"), (1, "a"), (1, "a")]
    assert [row.fields["id"] for row in exposed if row.fields and row.time == 1] == [
        "impression p1",
        "impression q1",
    ]


def test_integers_in_a_key_are_ordered_by_value() -> None:
    views = [event("view", 0, item=item) for item in (10, 9, -1)]
    join = feed(SHOP, records(SHOP, *views))
    assert [row.key for row in told(join) if row.kind.name == "EXPOSED"] == [("u", -1), ("u", 9), ("u", 10)]


def test_rows_are_told_by_time_kind_exposure_and_wait() -> None:
    times = event("impression", 0), event("impression", 2, user="v"), event("impression", 2, user="w")
    assert tell(AD, *times, upto=4) == [
        "0 exposed #0 -",
        "2 exposed #1 -",
        "2 exposed #2 -",
        "2 look+2 #0 ctr",
        "4 look+2 #1 ctr",
        "4 look+2 #2 ctr",
        "4 final #0 ctr/cvr/order_value ctr=0",
    ]


def test_rows_carry_the_key_and_the_fields_of_the_exposure() -> None:
    join = feed(SHOP, records(SHOP, event("view", 0, tags=["x"]), event("view", 8, user="v")))
    first, *_, final, other = told(join)
    assert (first.key, first.fields) == (("u", 1), {"user": "u", "item": 1, "tags": ["x"]})
    assert (other.kind.name, final.key, final.fields) == (
        "FINAL",
        ("v", 1),
        {"user": "v", "item": 1, "tags": None},
    )
    assert other.fields is None


# Accounts


def test_every_record_is_in_exactly_one_account() -> None:
    times = [
        event("impression", 0, id="a"),
        event("impression", 1, id="a"),  # duplicate
        event("impression", 1, id="a", tags=["x"]),  # conflict
        event("click", 2, id="b"),
        event("click", 2, id="b"),  # duplicate
        event("click", 2, id="b", amount=1.0),  # conflict
        event("click", 3, user="v"),  # orphan
        event("click", 6),  # outside
        event("click", 30),  # not released
        event("impression", 7),  # late
        event("click", 8),  # late
    ]
    join = feed(AD, records(AD, *times), partitions=("p",))
    join.tell()
    assert counts(join, "impression") == {"joined": 1, "duplicate": 1, "conflict": 1, "late": 1}
    everything = {
        "joined": 1,
        "duplicate": 1,
        "conflict": 1,
        "orphan": 1,
        "outside": 1,
        "late": 1,
        "waiting": 1,
    }
    assert counts(join, "click") == everything
    assert [count["read"] for count in join.accounts().values()] == [4, 7, 0]


def test_a_kind_that_gave_nothing_has_its_accounts() -> None:
    accounts = PlainJoin(AD, ["p"]).accounts()
    assert list(accounts) == ["impression", "click", "conversion"]
    assert set(accounts["click"].values()) == {0}
