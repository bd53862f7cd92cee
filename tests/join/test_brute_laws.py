"""What decision 1 promises of all tellings, held by the brute-force join on random chains and streams."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.join.spec import ChainSpec, KindSpec, TaskSpec

from .brute import FINAL, BruteResult, TaskState, brute_join
from .brute_world import BruteRecord

NAMES = "view", "a", "b", "c"
PARTITIONS = [("s", 0), ("s", 1)]
ids = st.sampled_from((1, 2, 3))


@st.composite
def chains(draw: st.DrawFn) -> ChainSpec:
    kinds = [KindSpec("view", id=draw(st.sampled_from((None, "id"))))]
    for i in range(1, draw(st.integers(2, 4))):
        after = draw(st.lists(st.sampled_from(NAMES[:i]), min_size=1, unique=True))
        within, skew = draw(st.sampled_from((0, 1, 3, 7, 12))), draw(st.sampled_from((0, 2, 5)))
        fields = draw(st.sampled_from((None, "id"))), draw(st.sampled_from((None, "of")))
        kinds.append(KindSpec(NAMES[i], tuple(after), within, skew, *fields))
    tasks: list[TaskSpec] = []
    for i in range(draw(st.integers(1, 3))):
        event = draw(st.sampled_from([k.name for k in kinds[1:]]))
        before = draw(st.sampled_from([None, *(t.name for t in tasks)]))
        waits = draw(st.lists(st.sampled_from((0, 1, 4, 9)), max_size=2))
        tasks.append(
            TaskSpec(f"t{i}", event, before, "x", draw(st.sampled_from(("sum", "last"))), tuple(waits))
        )
    return ChainSpec(
        ("k",), tuple(kinds), tuple(tasks), draw(st.sampled_from((0, 3, 9))), draw(st.sampled_from((0, 1, 6)))
    )


@st.composite
def streams(draw: st.DrawFn, chain: ChainSpec) -> list[BruteRecord]:
    """Records in order of arrival; position is the place in the list."""
    clock, records = 0, []
    for position in range(draw(st.integers(1, 16))):
        clock += draw(st.sampled_from((0, 1, 1, 2, 5)))
        kind = draw(st.sampled_from((chain.root, *chain.kinds))).name
        key = draw(st.sampled_from((1, 2) if kind == "view" else (1, 1, 2, None)))
        fields = {"k": key, "id": draw(ids), "of": draw(ids | st.none()), "x": draw(ids | st.none())}
        time = max(0, clock - draw(st.sampled_from((0, 0, 2, 4))))
        records.append(BruteRecord("s", draw(st.integers(0, 1)), position, kind, time, fields))
    return records


@st.composite
def cases(draw: st.DrawFn) -> tuple[ChainSpec, list[BruteRecord]]:
    chain = draw(chains())
    return chain, draw(streams(chain))


def joined(chain: ChainSpec, records: list[BruteRecord], to: int = 150) -> BruteResult:
    return brute_join(chain, records, PARTITIONS, False, to)


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(0, 60))
def test_what_was_told_and_decided_stays_true_as_the_watermark_moves_on(case: Any, to: int) -> None:
    chain, records = case
    soon, all_of_it = joined(chain, records, to), joined(chain, records)
    assert soon.rows == [row for row in all_of_it.rows if row.told < to]
    assert all(a in ("waiting", b) for a, b in zip(soon.fates, all_of_it.fates, strict=True))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_nothing_depends_on_how_the_partitions_arrive(case: Any) -> None:
    chain, records = case
    apart = sorted(records, key=lambda r: r.partition)
    assert joined(chain, apart).rows == joined(chain, records).rows
    assert joined(chain, apart).accounts == joined(chain, records).accounts


@settings(max_examples=150, deadline=None)
@given(cases())
def test_every_task_of_every_exposure_is_told_final_once(case: Any) -> None:
    chain, records = case
    result = joined(chain, records)
    finals = [(r.exposure, i) for r in result.rows if r.kind == FINAL for i in range(3) if r.tasks >> i & 1]
    exposures = result.accounts["view"]["joined"]
    assert sorted(finals) == [(x, i) for x in range(exposures) for i in range(len(chain.tasks))]


@settings(max_examples=150, deadline=None)
@given(cases())
def test_a_label_that_was_told_never_changes_and_the_first_task_has_one_at_its_end(case: Any) -> None:
    told: dict[tuple[int, int], TaskState] = {}
    for row in joined(*case).rows:
        for i, state in enumerate(row.states):
            before = told.setdefault((row.exposure, i), state)
            assert before.label is None or before[:2] == state[:2]
            told[row.exposure, i] = state
        if row.kind == FINAL and row.tasks & 1:
            assert row.states[0].label is not None


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(0, 60))
def test_the_accounts_add_up_to_what_was_read(case: Any, to: int) -> None:
    chain, records = case
    for name, account in joined(chain, records, to).accounts.items():
        assert sum(account.values()) == sum(r.kind == name for r in records)
