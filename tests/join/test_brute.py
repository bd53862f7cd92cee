"""Where records belong, by brute force, against examples by hand: one for a sentence of decision 1."""

from dataclasses import replace
from typing import Any

from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec

from .brute import EXPOSED, FINAL, BruteResult, BruteRow, brute_join
from .brute_world import BruteRecord

VIEW = KindSpec("view", id="id")
CLICK = KindSpec("click", after=("view",), within=10)
BUY = KindSpec("buy", after=("click",), within=20)
CTR = TaskSpec("ctr", "click")
CVR = TaskSpec("cvr", "buy", given="ctr")
SHOP = ChainSpec(("k",), (VIEW, CLICK, BUY), (CTR, CVR), remember=5)


def on(kind: str, time: int, key: Any = 1, partition: int = 0, **fields: Any) -> BruteRecord:
    """A record whose position `join` fills in."""
    return BruteRecord("s", partition, 0, kind, time, {"k": key, **fields})


def join(chain: ChainSpec, *records: BruteRecord, to: int | None = None, parts: int = 1) -> BruteResult:
    placed = [replace(r, position=i) for i, r in enumerate(records)]
    return brute_join(chain, placed, [("s", p) for p in range(parts)], False, to)


def fates(chain: ChainSpec, *records: BruteRecord, to: int | None = 1_000) -> list[str | None]:
    return list(join(chain, *records, to=to).fates)


def finals(chain: ChainSpec, *records: BruteRecord, to: int = 200) -> list[tuple[int, int, int]]:
    """(exposure, told, tasks) of the final rows."""
    return [(r.exposure, r.told, r.tasks) for r in rows(join(chain, *records, to=to), FINAL)]


def rows(result: BruteResult, kind: int) -> list[BruteRow]:
    return [r for r in result.rows if r.kind == kind]


def kinds(*specs: KindSpec, tasks: tuple[TaskSpec, ...] = ()) -> ChainSpec:
    return replace(SHOP, kinds=(VIEW, *specs), tasks=tasks)


# 1. Admission


def test_a_record_older_than_its_partitions_watermark_is_late_and_one_on_it_is_not() -> None:
    chain = replace(SHOP, lateness=4)
    assert fates(chain, on("view", 10), on("view", 6), on("view", 5), on("view", 6, key=2)) == [
        "joined", "joined", "late", "joined"
    ]  # fmt: skip


def test_another_partition_makes_no_record_late() -> None:
    assert fates(SHOP, on("view", 10), on("view", 3, partition=1)) == ["joined", "joined"]


def test_the_watermark_is_the_least_over_the_partitions_that_are_read() -> None:
    stream = on("view", 10), on("view", 30), on("view", 21, partition=1)
    chain = replace(SHOP, lateness=2)
    assert join(chain, *stream, parts=2).watermark == 19
    assert join(chain, *stream, parts=2).fates == ["joined", "waiting", "waiting"]
    assert join(chain, *stream, parts=3).fates == ["waiting"] * 3


def test_at_the_end_of_input_everything_is_released() -> None:
    ended = brute_join(SHOP, [on("view", 7)], [("s", 0), ("s", 1)], ended=True)
    assert (ended.watermark, ended.fates) == (8, ["joined"])


def test_a_record_is_released_when_the_watermark_is_beyond_it() -> None:
    assert fates(SHOP, on("view", 7), to=7) == ["waiting"]
    assert fates(SHOP, on("view", 7), to=8) == ["joined"]


def test_late_records_take_part_in_nothing() -> None:
    assert fates(SHOP, on("view", 9, id=1), on("view", 3, id=2, key=2), on("click", 9, key=2), to=20) == [
        "joined", "late", "orphan"
    ]  # fmt: skip


def test_a_record_that_no_kind_wants_is_not_read() -> None:
    result = join(SHOP, on("scroll", 50), on("view", 9), to=20)
    assert result.fates == [None, "joined"]
    assert sum(sum(of_kind.values()) for of_kind in result.accounts.values()) == 1


# 2. Identity


def test_of_equal_ids_the_first_in_event_time_stands() -> None:
    chain = replace(SHOP, lateness=9)
    same, other = on("view", 3, id=1), on("view", 2, id=1, key=2)
    assert fates(chain, same, on("view", 1, id=1), other) == ["duplicate", "joined", "conflict"]


def test_null_equals_null_and_a_missing_field_is_null() -> None:
    assert fates(SHOP, on("view", 1, id=1, x=None), on("view", 2, id=1), on("view", 3, id=1, x=0)) == [
        "joined", "duplicate", "conflict"
    ]  # fmt: skip


def test_an_equal_id_beyond_memory_is_something_new() -> None:
    # life is 10: nothing happened, so every kind ends with the click's window; remember is 5
    assert fates(SHOP, on("view", 0, id=1), on("view", 15, id=1)) == ["joined", "duplicate"]
    assert fates(SHOP, on("view", 0, id=1), on("view", 16, id=1)) == ["joined", "joined"]
    # a repeat does not prolong what is remembered
    assert fates(SHOP, on("view", 0, id=1), on("view", 9, id=1), on("view", 16, id=1))[2] == "joined"


def test_the_memory_of_a_child_kind_is_within_and_remember() -> None:
    chain = kinds(replace(CLICK, id="id"))
    stream = on("view", 0), on("click", 0, id=1), on("click", 15, id=1)
    assert fates(chain, *stream) == ["joined", "joined", "duplicate"]
    assert fates(chain, *stream[:2], on("click", 16, id=1)) == ["joined", "joined", "orphan"]


def test_a_kind_that_is_named_as_parent_is_remembered_as_long_as_it_can_be_named() -> None:
    chain = kinds(replace(CLICK, id="id"), replace(BUY, parent="of", skew=2))  # 20 + 2 + 5
    first = on("view", 0), on("click", 0, id=1)
    assert fates(chain, *first, on("click", 27, id=1))[2] == "duplicate"
    assert fates(chain, *first, on("click", 28, id=1))[2] == "orphan"


def test_without_id_a_record_equal_in_time_and_fields_is_a_duplicate() -> None:
    stream = on("view", 0), on("click", 1, x=1), on("click", 1, x=1), on("click", 1, x=2), on("click", 2, x=1)
    assert fates(SHOP, *stream)[1:] == ["joined", "duplicate", "joined", "joined"]


def test_the_repeat_of_an_orphan_is_a_duplicate() -> None:
    assert fates(SHOP, on("click", 1), on("click", 1)) == ["orphan", "duplicate"]


# 3. Exposures


def test_exposures_are_numbered_by_time_then_key_then_place() -> None:
    def keys(*records: BruteRecord) -> list[Any]:
        return [r.key[0] for r in rows(join(replace(SHOP, lateness=9), *records, to=50), EXPOSED)]

    assert keys(on("view", 2, key=10), on("view", 2, key=9), on("view", 1, key=30)) == [30, 9, 10]
    assert keys(on("view", 2, key="é"), on("view", 2, key="z"), on("view", 2, key="10")) == ["10", "z", "é"]
    twice = join(SHOP, on("view", 2, partition=1, x=1), on("view", 2, x=2), to=50)
    assert [r.fields and r.fields["x"] for r in rows(twice, EXPOSED)] == [2, 1]


# 4. The end of a kind's window


def test_an_unclicked_exposure_ends_for_all_tasks_with_the_clicks_window() -> None:
    assert finals(SHOP, on("view", 3)) == [(0, 13, 0b11)]


def test_a_kind_ends_within_of_the_first_event_that_it_comes_after() -> None:
    assert finals(SHOP, on("view", 0), on("click", 4), on("click", 7)) == [(0, 10, 0b01), (0, 24, 0b10)]


def test_a_kind_may_end_before_the_kind_that_it_comes_after() -> None:
    chain = replace(SHOP, kinds=(VIEW, CLICK, replace(BUY, within=2)))
    assert finals(chain, on("view", 0), on("click", 4)) == [(0, 6, 0b10), (0, 10, 0b01)]


def test_a_kind_that_names_its_parent_waits_for_the_last_one_that_may_come() -> None:
    chain = replace(SHOP, kinds=(VIEW, CLICK, replace(BUY, within=2, parent="of")))
    assert finals(chain, on("view", 0), on("click", 4)) == [(0, 10, 0b11)]
    assert finals(chain, on("view", 0), on("click", 4), on("click", 9)) == [(0, 10, 0b01), (0, 11, 0b10)]


def test_of_several_kinds_that_it_comes_after_the_one_that_ends_last_counts() -> None:
    cart = KindSpec("cart", after=("view",), within=30)
    chain = kinds(CLICK, cart, replace(BUY, after=("click", "cart"), within=1), tasks=(CTR, CVR))
    assert finals(chain, on("view", 0), on("click", 5)) == [(0, 10, 0b01), (0, 30, 0b10)]
    assert finals(chain, on("view", 0), on("click", 5), on("cart", 12)) == [(0, 10, 0b01), (0, 13, 0b10)]


def test_an_exposure_is_known_until_its_last_end_and_remember() -> None:
    # the click that comes too late is outside while it is known: 10 + 5
    assert fates(SHOP, on("view", 0), on("click", 15)) == ["joined", "outside"]
    assert fates(SHOP, on("view", 0), on("click", 16)) == ["joined", "orphan"]
    # a click prolongs it to 2 + 20 + 5
    assert fates(SHOP, on("view", 0), on("click", 2), on("buy", 27))[2] == "outside"
    assert fates(SHOP, on("view", 0), on("click", 2), on("buy", 28))[2] == "orphan"


# 5. Belonging


def test_a_delay_of_exactly_within_joins_and_one_more_is_outside() -> None:
    assert fates(SHOP, on("view", 0), on("click", 10), on("click", 11)) == ["joined", "joined", "outside"]


def test_a_child_belongs_to_the_latest_exposure_at_or_before_it() -> None:
    stream = on("view", 0), on("view", 4), on("click", 4), on("view", 5)
    assert {r.exposure for r in join(SHOP, *stream, to=200).rows if r.states[0].label == 1} == {1}


def test_in_one_instant_the_exposure_comes_before_its_click() -> None:
    assert fates(SHOP, on("click", 4), on("view", 4)) == ["joined", "joined"]


def test_a_forgotten_exposure_gives_way_to_an_older_one_that_is_known() -> None:
    # clicked at 10, number 0 is known until 35; number 1 until 26
    stream = on("view", 0), on("click", 10), on("view", 11)
    assert finals(SHOP, *stream, on("buy", 26))[-1] == (0, 30, 0b10)
    assert fates(SHOP, *stream, on("buy", 26))[3] == "orphan"  # number 1 has no click
    assert fates(SHOP, *stream, on("buy", 27))[3] == "joined"


def test_a_child_may_precede_its_exposure_by_skew_and_then_counts_as_of_it() -> None:
    chain = kinds(replace(CLICK, skew=3), tasks=(CTR,))
    stream = on("click", 1), on("view", 4), on("view", 4, x=1)
    assert fates(chain, *stream) == ["joined"] * 3
    assert {r.exposure for r in join(chain, *stream, to=99).rows if r.states[0].at == 4} == {0}
    assert fates(chain, on("click", 0), on("view", 4)) == ["orphan", "joined"]
    # an exposure before it that is known goes first
    assert join(chain, on("view", 0), on("click", 3), on("view", 4), to=99).rows[-2].states[0].at == 3


def test_the_first_kind_in_after_that_happened_is_the_parent_and_its_first_event() -> None:
    cart = KindSpec("cart", after=("view",), within=10)
    chain = kinds(CLICK, cart, replace(BUY, after=("cart", "click"), within=4))
    stream = on("view", 0), on("cart", 1), on("click", 5)
    assert fates(chain, *stream, on("buy", 6))[3] == "outside"  # 5 after the cart, 1 after the click
    assert fates(chain, *stream, on("cart", 5), on("buy", 6))[4] == "outside"
    swapped = replace(chain, kinds=(VIEW, CLICK, cart, replace(BUY, after=("click", "cart"), within=4)))
    assert fates(swapped, *stream, on("buy", 6))[3] == "joined"


def test_where_no_parent_happened_the_earliest_one_within_skew_is_it() -> None:
    cart = KindSpec("cart", after=("view",), within=10)
    chain = kinds(CLICK, cart, replace(BUY, after=("cart", "click"), within=4, skew=5))
    chain = replace(chain, tasks=(replace(CVR, given=None),))
    stream = on("view", 0), on("buy", 1), on("click", 4), on("cart", 6)
    assert {r.states[0].at for r in join(chain, *stream, to=99).rows} == {None, 4}
    assert fates(chain, on("view", 0), on("buy", 1), on("click", 7)) == ["joined", "orphan", "joined"]


def test_a_parent_found_later_counts_by_the_time_at_which_it_joined() -> None:
    chain = kinds(replace(CLICK, skew=4), replace(BUY, within=3), tasks=(CTR, CVR))
    # the click of instant 2 joins at 5, so the buy may come until 8
    stream = on("click", 2), on("view", 5)
    assert fates(chain, *stream, on("buy", 8))[2] == "joined"
    assert fates(chain, *stream, on("buy", 9))[2] == "outside"
    assert fates(chain, on("click", 2), on("buy", 4), on("view", 5))[1] == "orphan"


def test_a_child_that_names_its_parent_belongs_where_that_one_does() -> None:
    chain = kinds(replace(CLICK, id="id"), replace(BUY, parent="of"), tasks=(CTR, CVR))
    stream = on("view", 0), on("click", 1, id="a"), on("view", 2), on("click", 3, id="b")
    bought = join(chain, *stream, on("buy", 21, key=None, of="a"), to=99)
    assert bought.fates[-1] == "joined"
    assert {r.exposure for r in bought.rows if r.states[1].label == 1} == {0}
    assert fates(chain, *stream, on("buy", 22, of="a"))[4] == "outside"  # counted from the named click
    assert fates(chain, *stream, on("buy", 22, of="b"))[4] == "joined"
    assert fates(chain, *stream, on("buy", 26, of="a"))[4] == "outside"
    assert fates(chain, *stream, on("buy", 27, of="a"))[4] == "orphan"  # beyond within + remember
    assert fates(chain, *stream, on("buy", 5, of="c"))[4] == "orphan"


def test_a_child_whose_named_parent_joined_nothing_is_an_orphan() -> None:
    chain = kinds(replace(CLICK, id="id"), replace(BUY, parent="of"))
    first = on("view", 0)
    assert fates(chain, first, on("click", 12, id=1), on("buy", 13, of=1))[1:] == ["outside", "orphan"]
    assert fates(chain, first, on("click", 5, 2, id=1), on("buy", 7, of=1))[1:] == ["orphan"] * 2


def test_a_named_parent_before_the_child_goes_before_a_preferred_one_after_it() -> None:
    chain = kinds(
        replace(CLICK, id="id"), replace(BUY, after=("click", "view"), parent="of", within=3, skew=5)
    )
    stream = on("view", 0, id=1), on("buy", 5, of=1), on("click", 6, id=1)
    assert fates(chain, *stream) == ["joined", "outside", "joined"]
    assert fates(chain, *stream, to=6) == ["joined", "outside", "waiting"]


def test_a_child_without_a_parent_is_waiting_until_the_watermark_is_beyond_skew() -> None:
    chain = kinds(replace(CLICK, skew=3))
    assert fates(chain, on("click", 4), to=7) == ["waiting"]
    assert fates(chain, on("click", 4), to=8) == ["orphan"]


def test_a_child_is_waiting_while_the_fate_of_its_named_parent_is_open() -> None:
    chain = kinds(replace(CLICK, id="id", skew=6), replace(BUY, parent="of"))
    stream = on("click", 4, id=1), on("buy", 5, of=1)
    assert fates(chain, *stream, to=10) == ["waiting", "waiting"]
    assert fates(chain, *stream, to=11) == ["orphan", "orphan"]
    assert fates(chain, *stream, on("view", 10), to=11) == ["joined"] * 3


def test_a_root_without_a_whole_key_opens_no_exposure() -> None:
    assert fates(SHOP, on("view", 1, None), on("click", 2, None)) == ["orphan", "orphan"]
    assert fates(replace(SHOP, key=("k", "j")), on("view", 1, 1)) == ["orphan"]


def test_a_child_without_a_key_or_with_half_a_key_is_an_orphan() -> None:
    chain = replace(SHOP, key=("k", "j"))
    assert fates(chain, on("view", 0, j=1), on("click", 1, None, j=1), on("click", 1, j=1)) == [
        "joined", "orphan", "joined"
    ]  # fmt: skip


def test_every_record_read_is_in_one_account_of_its_kind() -> None:
    stream = on("view", 5), on("click", 5), on("click", 5), on("click", 4), on("buy", 60), on("click", 15)
    found = join(replace(SHOP, lateness=0), *stream, to=40).accounts
    assert found["view"] == dict.fromkeys(found["view"], 0) | {"joined": 1}
    assert found["click"] == dict.fromkeys(found["view"], 0) | {"joined": 1, "duplicate": 1, "late": 2}
    assert found["buy"] == dict.fromkeys(found["view"], 0) | {"waiting": 1}
