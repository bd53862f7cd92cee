"""deploy/config.toml: valid, complete, and for the marketplace that its visitors live in."""

from stream_mtl.config.formats import topic_formats
from stream_mtl.config.values import Topic
from stream_mtl.generate.fields import KINDS, event_fields
from stream_mtl.processes.declared import declared
from stream_mtl.processes.demo import lively
from stream_mtl.processes.everything import roles
from stream_mtl.processes.people import OPENING, PeopleOptions
from stream_mtl.processes.topics import planned
from tests.deploy.files import ROLES, config

MARKET = lively(OPENING, PeopleOptions().slate, 0)


def test_every_role_has_work() -> None:
    assert roles(config()) == ROLES


def test_what_goes_from_role_to_role_goes_by_topics() -> None:
    made = config().config
    places = [
        made.join.path,
        made.dead_letters.path,
        made.serve.log,
        made.publish.announce,
        made.watch.readings,
    ]
    assert all(isinstance(place, Topic) for place in places)
    assert made.events["scored"].source == str(made.serve.log)
    planning = {one.name: one.partitions for one in planned(declared(config()), replay=True)}
    assert len(planning) == 8
    assert all(
        planning[event.source.partition(":")[2]] == made.join.partitions for event in made.events.values()
    )


def test_the_events_are_those_of_the_marketplace() -> None:
    made = config().config
    for kind in KINDS:
        fields, written = made.events[kind].fields, event_fields(MARKET, kind)
        assert {name: written.get(name) for name in fields} == dict(fields)
        assert topic_formats(made)[made.events[kind].source] == "confluent-avro"
    assert made.events["click"].within == MARKET.click_within
    assert made.events["conversion"].within == MARKET.conversion_within


def test_what_is_scored_is_joined() -> None:
    made = declared(config())
    fields = set(config().config.events["scored"].fields) - {"exposure_id", "snapshot"}
    assert fields == set(made.plan.outputs)
