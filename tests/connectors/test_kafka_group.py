"""A group shares partitions; what is ours in all topics is ours."""

import itertools
import threading
import time
import uuid
from collections.abc import Callable

import pytest

from stream_mtl.errors import ConfigError, Fenced, Unavailable
from tests.services.plugin import needs
from tests.topics import Topics

SESSION = 6_000
Set = frozenset[int]


class Member:
    """A member, what it was told, and what it holds because of it."""

    def __init__(self, topics: Topics, group: str, names: list[str], **options: str) -> None:
        self.before: list[Set] = []
        self.holds: Set = frozenset()
        self.membership = topics.kafka.member(
            group, names, self.before.append, session_timeout=SESSION, **options
        )

    def poll(self) -> None:
        gained, lost = self.membership.poll()
        assert lost <= self.holds
        assert not gained & self.holds
        self.holds = self.holds - lost | gained


def until(done: Callable[[], bool], *members: Member) -> None:
    """Let members poll side by side, as processes do, until something is so."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def run(member: Member) -> None:
        try:
            while not stop.wait(0.02):
                member.poll()
        except BaseException as error:
            failed.append(error)
            stop.set()

    threads = [threading.Thread(target=run, args=(member,)) for member in members]
    for thread in threads:
        thread.start()
    for _ in range(6_000):
        if done() or stop.wait(0.02):
            break
    stop.set()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    assert done()


@pytest.fixture
def names(topics) -> list[str]:
    return [topics.new(4) for _ in range(2)]


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex}"


def test_two_members_share_and_what_one_leaves_the_other_gets(topics, names, group):
    one = Member(topics, group, names)
    until(lambda: one.holds == {0, 1, 2, 3}, one)
    assert one.before == []
    two = Member(topics, group, names)
    until(lambda: len(one.holds) == len(two.holds) == 2, one, two)
    assert one.holds | two.holds == {0, 1, 2, 3}
    assert one.before == [{0, 1, 2, 3}]
    left = two.holds
    two.membership.close()
    assert two.before == [left]
    until(lambda: one.holds == {0, 1, 2, 3}, one)
    one.membership.close()


@needs("takeover")
def test_a_member_that_has_died_is_replaced(topics, names, group):
    one, two = Member(topics, group, names), Member(topics, group, names)
    until(lambda: len(one.holds) == len(two.holds) == 2, one, two)
    two.membership._consumer._client.close()  # no farewell
    until(lambda: one.holds == {0, 1, 2, 3}, one)
    one.membership.close()


@needs("static-membership", "takeover")  # not the small brokers, that move partitions all the same
def test_a_member_with_a_name_comes_back_without_the_others_noticing(topics, names, group):
    one, two = (Member(topics, group, names, instance_id=name) for name in ("one", "two"))
    until(lambda: len(one.holds) == len(two.holds) == 2, one, two)
    held, noticed = two.holds, len(one.before)
    two.membership.close()
    back = Member(topics, group, names, instance_id="two")
    until(lambda: back.holds == held, one, back)
    assert len(one.before) == noticed
    for member in (one, back):
        member.membership.close()


@needs("static-membership")
def test_a_name_belongs_to_the_last_who_came(topics, names, group):
    first = Member(topics, group, names, instance_id="same")
    until(lambda: bool(first.holds), first)
    last = Member(topics, group, names, instance_id="same")
    until(lambda: bool(last.holds), last)
    with pytest.raises(Fenced, match="instance id"):
        for _ in range(6_000):
            first.membership.commit({(names[0], 0): 1})
            first.poll()
            time.sleep(0.01)
    last.membership.close()


def test_what_was_read_is_committed_for_tools_and_never_read_back(topics, names, group):
    member = Member(topics, group, names)
    until(lambda: bool(member.holds), member)
    member.membership.commit({(names[0], 1): 7, (names[1], 2): 9})
    until(lambda: len(topics.admin.group(group)) == 2, member)
    assert topics.admin.group(group) == {(names[0], 1): 7, (names[1], 2): 9}
    with pytest.raises(ConfigError, match="stop its members first"):
        topics.admin.reset_group(group, {(names[0], 1): 3})
    member.membership.close()
    topics.admin.reset_group(group, {(names[0], 1): 3})
    assert topics.admin.group(group)[names[0], 1] == 3


def test_what_is_committed_before_partitions_go_is_there(topics, names, group):
    member = Member(topics, group, names)
    until(lambda: bool(member.holds), member)
    member.membership._before_lost = lambda lost: member.membership.commit({(names[0], 0): 5})
    member.membership.close()
    assert topics.admin.group(group) == {(names[0], 0): 5}


def test_what_goes_wrong_before_partitions_go_is_raised_by_poll(topics, names, group):
    def fail(lost: Set) -> None:
        raise Unavailable("the disk is full")

    one = Member(topics, group, names)
    until(lambda: bool(one.holds), one)
    one.membership._before_lost = fail
    two = Member(topics, group, names)
    joining = threading.Thread(target=two.membership.poll)
    joining.start()
    with pytest.raises(Unavailable, match="the disk is full"):
        for _ in range(6_000):
            one.poll()
            joining.join(0.02)
    one.membership._before_lost = lambda lost: None
    one.membership.close()
    joining.join()
    two.membership.close()


def test_topics_with_different_partitions_cannot_be_shared(topics, group):
    with pytest.raises(ConfigError, match="equally many partitions"):
        topics.kafka.member(group, [topics.new(1), topics.new(2)], print)


def test_what_there_is_can_be_asked(topics):
    name = topics.new(2, retention_ms="12345")
    assert topics.admin.create(name, 2) is False
    topics.write(name, [b"a", b"b", b"c"], 1)
    assert topics.admin.topics()[name] == topics.admin.partitions([name])[name] == 2
    assert topics.admin.configs(name)["retention.ms"] == "12345"
    assert (topics.admin.begin(name), topics.admin.end(name)) == ({0: 0, 1: 0}, {0: 0, 1: 3})
    with pytest.raises(ConfigError, match="cannot create topic"):
        topics.admin.create(f"{name}-x", 1, 99)


@needs("times")
def test_an_offset_is_found_by_time(topics):
    name = topics.new()
    topics.write(name, [b"a"])
    assert topics.admin.at(name, 0) == {0: 0}
    assert topics.admin.at(name, 1 << 45) == {0: 1}


@pytest.mark.parametrize("error", ["NodeNotReadyError", "UnknownBrokerIdError"])
def test_what_is_asked_before_our_client_is_back_is_asked_again(topics, monkeypatch, error):
    from kafka import errors

    name, ask = topics.new(3), topics.admin._client.describe_topics
    away = iter([True, True, False])

    def asked(*wanted: object) -> object:
        if next(away):
            raise getattr(errors, error)("No node_id provided")
        return ask(*wanted)

    monkeypatch.setattr(topics.admin._client, "describe_topics", asked)
    assert topics.admin.existing([name]) == {name: 3}
    monkeypatch.setattr(topics.admin, "_patience", 0.2)
    away = itertools.repeat(True)
    with pytest.raises(Unavailable, match="cannot describe topics"):
        topics.admin.existing([name])


def test_a_join_that_a_poll_did_not_wait_for_is_ended_all_the_same(topics, names, group):
    one = Member(topics, group, names)
    until(lambda: one.holds == {0, 1, 2, 3}, one)
    coordinator = one.membership._consumer._coordinator
    coordinator._assignment_snapshot = {}  # as when partitions were not known yet
    one.membership._look(0)
    for _ in range(6_000):
        if coordinator._join_task is None or coordinator._join_task.is_done:
            break
        time.sleep(0.01)
    assert not coordinator.need_rejoin()  # kafka-python has forgotten it
    until(lambda: not one.membership._moving and one.holds == {0, 1, 2, 3}, one)
    one.membership.close()
