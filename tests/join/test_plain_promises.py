"""What the plain join promises of every stream."""

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_mtl.join.chain import Row
from stream_mtl.join.plain import PlainJoin, PlainRecord
from stream_mtl.join.spec import ChainSpec
from tests.join.literal import Literal
from tests.join.streams import Stream, arrive, chain_specs, polls, streams

Accounts = dict[str, dict[str, int]]

many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def join(spec: ChainSpec, stream: Stream, rounds: Sequence[list[PlainRecord]]) -> tuple[list[Row], Accounts]:
    """Everything that is told, in order, and the accounts after it; the accounts add up at every round."""
    plain, rows, fed = PlainJoin(spec, stream.partitions), [], 0
    for poll in rounds:
        plain.feed(poll)
        fed += len(poll)
        assert adds_up(plain.accounts(), fed)
        rows += plain.tell()
        assert adds_up(plain.accounts(), fed)
    plain.end()
    rows += plain.tell()
    assert adds_up(plain.accounts(), fed)
    return rows, plain.accounts()


def adds_up(accounts: Accounts, fed: int) -> bool:
    counts = [dict(count) for count in accounts.values()]
    return sum(count["read"] for count in counts) == fed and all(
        count.pop("read") == sum(count.values()) for count in counts
    )


def at_once(spec: ChainSpec, stream: Stream) -> tuple[list[Row], Accounts]:
    return join(spec, stream, [list(stream.records)])


def flat(row: Row) -> tuple[object, ...]:
    states = tuple((state.label, state.at, state.value) for state in row.states)
    whose = (row.exposure, row.time, row.wait, row.tasks, row.key)
    return row.told, int(row.kind), *whose, states, row.fields


@many
@given(st.data())
def test_the_join_tells_what_the_decision_page_says_read_literally(data: st.DataObject) -> None:
    spec = data.draw(chain_specs(scores=False, back=False))
    stream = data.draw(streams(spec))
    literal = Literal(spec, stream)
    rows, accounts = at_once(spec, stream)
    assert [flat(row) for row in rows] == literal.told()
    assert accounts == literal.accounts()


@many
@given(st.data())
def test_any_cut_into_polls_tells_the_same_rows_in_the_same_order(data: st.DataObject) -> None:
    spec = data.draw(chain_specs())
    stream = data.draw(streams(spec))
    assert join(spec, stream, data.draw(polls(stream))) == at_once(spec, stream)


@many
@given(st.data())
def test_disorder_within_the_allowed_lateness_changes_nothing(data: st.DataObject) -> None:
    spec = data.draw(chain_specs())
    stream = data.draw(streams(spec, late=False, ties=False))
    delays = data.draw(st.lists(st.integers(0, spec.lateness), min_size=60, max_size=60))
    delayed = [(one.time + delays[place], place) for place, one in enumerate(stream.records)]
    shuffled = Stream(stream.partitions, arrive([stream.records[place] for _, place in sorted(delayed)]))
    assert at_once(spec, shuffled) == at_once(spec, stream)


@many
@given(st.data())
def test_a_repeat_changes_only_the_count_of_duplicates(data: st.DataObject) -> None:
    spec = data.draw(chain_specs())
    stream = data.draw(streams(spec, late=False))
    twice = data.draw(st.lists(st.sampled_from(range(len(stream.records))), max_size=8))
    records = [one for place, one in enumerate(stream.records) for _ in range(1 + twice.count(place))]
    rows, accounts = at_once(spec, stream)
    more_rows, more = at_once(spec, Stream(stream.partitions, arrive(records)))
    assert more_rows == rows
    for kind, counts in accounts.items():
        added = sum(stream.records[place].kind == kind for place in twice)
        # The repeat of a conflict is a conflict as well.
        repeats = counts["duplicate"] + counts["conflict"] + added
        assert more[kind]["duplicate"] + more[kind]["conflict"] == repeats
        untouched = {name: counts[name] for name in ("joined", "outside", "late", "orphan", "waiting")}
        assert untouched == {name: more[kind][name] for name in untouched}
        assert counts["conflict"] or not more[kind]["conflict"]


@many
@given(st.data())
def test_no_row_is_told_before_the_watermark_has_passed_it(data: st.DataObject) -> None:
    spec = data.draw(chain_specs())
    stream = data.draw(streams(spec, late=False))
    plain = PlainJoin(spec, stream.partitions)
    for poll in data.draw(polls(stream)):
        plain.feed(poll)
        seen = {
            home: [one.time for one in stream.records if one.source == home] for home in stream.partitions
        }
        told = plain.tell()
        if told:
            assert all(seen.values())
            assert told[-1].told < min(max(times) for times in seen.values()) - spec.lateness
