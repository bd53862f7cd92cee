"""The schema registry: what an id means, what is not known, what cannot be asked, and what is kept."""

import json
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stream_mtl.connectors.registry import HIGHEST, Patience, SchemaRegistry
from stream_mtl.connectors.rest import Endpoint
from stream_mtl.errors import ConfigError, SchemaError, Unavailable
from stream_mtl.events.tree import parse
from tests.services.double import Double, error, faults
from tests.services.registry import OwnRegistry, Registry
from tests.services.security import make_certificates

NOW = 1_700_000_000_000
VIEW = {"type": "record", "name": "View", "fields": [{"name": "ts", "type": "long"}]}
TEXT = json.dumps(VIEW)
MORE = {**VIEW, "fields": [*VIEW["fields"], {"name": "user", "type": "string"}]}
WITH_DEFAULT = {**VIEW, "fields": [*VIEW["fields"], {"name": "user", "type": "string", "default": ""}]}


@pytest.fixture
def double() -> Iterator[Double]:
    double = Double()
    yield double
    double.stop()


class Client(SchemaRegistry):
    """A client with a clock that stands still and sleeps that are written down."""

    def __init__(self, url: str, cache: Path | None = None, **endpoint: Any) -> None:
        self.now, self.slept = NOW, list[float]()
        given = Endpoint(url, **{"timeout": 2_000, **endpoint})
        super().__init__(given, cache, Patience(), lambda: self.now, self.slept.append)


def subject() -> str:
    return f"views-{uuid.uuid4().hex}"


def test_a_schema_that_was_registered_is_found_by_its_id(registry: Registry) -> None:
    client = Client(registry.url)
    number = client.register(name := subject(), TEXT)
    assert json.loads(client.schema_of(number)) == VIEW
    assert client.register(name, TEXT) == number
    latest = client.latest(name)
    assert (latest.subject, latest.version, latest.id, json.loads(latest.schema)) == (name, 1, number, VIEW)


def test_a_subject_may_have_any_name(registry: Registry) -> None:
    client = Client(registry.url)
    number = client.register(name := f"{subject()}/ä b?c", TEXT)
    assert client.latest(name).id == number


def test_what_may_follow_is_judged_by_the_registry(registry: Registry) -> None:
    client = Client(registry.url)
    name = subject()
    assert client.compatible(name, TEXT)  # it would be the first
    client.register(name, TEXT)
    registry.be_strict(name)
    assert client.compatible(name, json.dumps(WITH_DEFAULT))
    assert not client.compatible(name, json.dumps(MORE))
    with pytest.raises(SchemaError, match=name):
        client.register(name, json.dumps(MORE))


def test_what_is_no_schema_is_refused(registry: Registry) -> None:
    with pytest.raises(SchemaError, match="refuses"):
        Client(registry.url).register(subject(), "{nonsense")


@pytest.mark.parametrize("number", [HIGHEST, HIGHEST + 1, 2**32 - 1])
def test_an_id_that_nobody_has_is_not_known(registry: Registry, number: int) -> None:
    with pytest.raises(LookupError, match=r"does not know|end at"):
        Client(registry.url).schema_of(number)


def test_a_subject_that_nobody_has_is_not_known(registry: Registry) -> None:
    with pytest.raises(LookupError, match="no version latest"):
        Client(registry.url).latest(subject())


def test_an_address_that_is_not_whole_makes_no_id_unknown(registry: Registry) -> None:
    with pytest.raises(Unavailable, match=r"address"):
        Client(registry.url + "/nowhere").schema_of(1)


def test_schemas_that_a_schema_refers_to_are_written_out_in_it(registry: Registry) -> None:
    user = {"type": "record", "name": "User", "namespace": "people", "fields": [{"name": "id", "type": "Id"}]}
    name = {"type": "fixed", "name": "Id", "size": 4}
    view = {
        "type": "record",
        "name": "View",
        "namespace": "shop",
        "fields": [
            {"name": "user", "type": ["null", "people.User"]},
            {"name": "others", "type": {"type": "array", "items": "people.User"}},
            {"name": "own", "type": {"type": "map", "values": "Id"}},
        ],
    }
    ids, users = subject(), subject()
    registry.register(ids, name)
    registry.register(users, user, references=[{"name": "Id", "subject": ids, "version": 1}])
    number = registry.register(
        subject(),
        view,
        references=[
            {"name": "people.User", "subject": users, "version": 1},
            {"name": "Id", "subject": ids, "version": 1},
        ],
    )
    root = parse(Client(registry.url).schema_of(number))
    assert root.least == 3 and root.fields[0][1].branches[1].fields[0][1].size == 4


def test_a_schema_is_asked_for_once(double: Double) -> None:
    client = Client(double.url)
    number = client.register("s", TEXT)
    assert [client.schema_of(number), client.schema_of(number)] == [TEXT, TEXT]
    assert [path for _, path, _ in double.asked] == ["/subjects/s/versions", f"/schemas/ids/{number}"]


def test_an_id_that_is_not_known_yet_is_waited_for(double: Double) -> None:
    Client(double.url).register("s", TEXT)
    double.fault = faults(error(40403, "not yet"), error(40403, "not yet"))
    client = Client(double.url)
    assert (client.schema_of(1), client.slept) == (TEXT, [0.2, 0.4])


def test_ids_that_are_garbage_are_waited_for_once_in_a_while(double: Double) -> None:
    client = Client(double.url)
    for at, waited in ((0, 2), (0, 2), (29_999, 2), (30_000, 4)):
        client.now = NOW + at
        with pytest.raises(LookupError):
            client.schema_of(77)
        assert len(client.slept) == waited


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((500, {"error_code": 50001, "message": "store"}), "500"),
        ((503, b"<html>busy</html>"), "503"),
        ((429, {"error_code": 429, "message": "slow down"}), "429"),
        ((301, b""), "301"),
        ((401, {"error_code": 401, "message": "no"}), "may not ask"),
        ((403, b""), "may not ask"),
        ((404, b"<html>nothing here</html>"), "no JSON"),
        ((404, {"error": "nothing here"}), "address"),
        ((404, {"error_code": 40401, "message": "no subject"}), "address"),
        ((200, b"<html>log in</html>"), "no JSON"),
        ((200, b"\xff\xfe"), "no JSON"),
        ((200, b"[" * 100_000), "no JSON"),
        ((200, {}), "schema"),
        ((200, []), "schema"),
        ((200, {"schema": {"type": "record"}}), "schema"),
    ],
)
def test_an_answer_that_says_nothing_of_the_schema_makes_nothing_malformed(
    double: Double, reply: tuple[int, Any], said: str
) -> None:
    double.schemas.answer("POST", "/subjects/s/versions", {"schema": TEXT})
    double.fault = lambda method, path: reply
    client = Client(double.url)
    with pytest.raises(Unavailable, match=said):
        client.schema_of(1)
    double.fault = faults()
    assert client.schema_of(1) == TEXT


def test_one_failure_is_not_noticed(double: Double) -> None:
    Client(double.url).register("s", TEXT)
    double.fault = faults((500, {}), (200, b"{"))
    client = Client(double.url)
    assert (client.schema_of(1), client.slept) == (TEXT, [0.2, 0.4])


def test_a_registry_that_is_down_is_asked_once_until_it_is_back(double: Double) -> None:
    client = Client(double.url)
    number = client.register("s", TEXT)
    double.stop()
    for _ in range(3):
        with pytest.raises(Unavailable, match="does not answer"):
            client.schema_of(number)
    assert client.slept == [0.2, 0.4]
    double.start()
    assert client.schema_of(number) == TEXT
    double.fault = faults((500, {}))
    assert client.latest("s").id == number


def test_a_registry_that_does_not_answer_in_time_is_unavailable(double: Double) -> None:
    release = threading.Event()
    double.fault = lambda method, path: release.wait() and None
    try:
        with pytest.raises(Unavailable, match=r"[Tt]ime"):
            Client(double.url, timeout=50).schema_of(1)
    finally:
        release.set()


@pytest.mark.parametrize("kind", ["JSON", "PROTOBUF"])
def test_schemas_of_other_kinds_are_refused_by_name(double: Double, kind: str) -> None:
    double.schemas.answer("POST", "/subjects/s/versions", {"schema": "{}", "schemaType": kind})
    with pytest.raises(SchemaError, match=kind):
        Client(double.url).schema_of(1)
    with pytest.raises(SchemaError, match=kind):
        Client(double.url).latest("s")


@pytest.mark.parametrize(
    "content",
    [
        {"schema": '"\ud800"'},
        {"schema": TEXT, "references": "x"},
        {"schema": TEXT, "references": [{"name": "A"}]},
        {"schema": "{", "references": [{"name": "A", "subject": "s", "version": 1}]},
        {"schema": "[" * 100_000, "references": [{"name": "A", "subject": "s", "version": 1}]},
    ],
)
def test_a_schema_that_cannot_be_read_is_refused(double: Double, content: dict[str, Any]) -> None:
    double.schemas.answer("POST", "/subjects/s/versions", {"schema": TEXT})
    double.fault = faults((200, content))
    with pytest.raises(SchemaError):
        Client(double.url).schema_of(1)


def test_schemas_that_refer_to_one_another_for_ever_are_refused(double: Double) -> None:
    def endless(method: str, path: str) -> tuple[int, Any]:
        at = len(double.asked)
        return 200, {
            "id": at,
            "schema": TEXT,
            "references": [{"name": f"n{at}", "subject": "s", "version": at}],
        }

    double.fault = endless
    with pytest.raises(SchemaError, match="refers to more than 100"):
        Client(double.url).schema_of(1)


def test_a_schema_that_was_found_once_is_found_when_the_registry_is_down(
    own_registry: OwnRegistry, tmp_path: Path
) -> None:
    number = own_registry.register(subject(), TEXT)
    first = Client(own_registry.url, tmp_path / "cache").schema_of(number)
    own_registry.stop()
    again = Client(own_registry.url, tmp_path / "cache")
    assert json.loads(again.schema_of(number)) == json.loads(first) == VIEW
    with pytest.raises(Unavailable):
        again.schema_of(number + 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"\xff" + data,
        lambda data: data.replace(b"long", b"bool"),
        lambda data: data.replace(b'"id":1', b'"id":2'),
        lambda data: b"[" * 100_000,
    ],
)
def test_a_kept_schema_that_is_damaged_is_asked_for_again(
    double: Double, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    Client(double.url, tmp_path).register("s", TEXT)
    Client(double.url, tmp_path).schema_of(1)
    whole = (tmp_path / "1.json").read_bytes()
    (tmp_path / "1.json").write_bytes(damage(whole))
    assert Client(double.url, tmp_path).schema_of(1) == TEXT
    assert (tmp_path / "1.json").read_bytes() == whole


def test_a_schema_of_another_registry_is_not_taken_for_ours(double: Double, tmp_path: Path) -> None:
    Client(double.url, tmp_path).register("s", TEXT)
    Client(double.url, tmp_path).schema_of(1)
    double.stop()
    other = Double()
    try:
        other.schemas.answer("POST", "/subjects/s/versions", {"schema": json.dumps(MORE)})
        assert Client(other.url, tmp_path).schema_of(1) == json.dumps(MORE)
    finally:
        other.stop()


def test_a_folder_that_cannot_be_written_is_done_without(double: Double, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    Client(double.url).register("s", TEXT)
    assert Client(double.url, tmp_path / "file").schema_of(1) == TEXT


@pytest.mark.parametrize(
    ("identity", "sent"),
    [
        ({"user": "ann", "password": "sé:cret"}, "Basic YW5uOnPDqTpjcmV0"),
        ({"token": "abc.def"}, "Bearer abc.def"),
        ({}, None),
    ],
)
def test_a_user_or_a_token_says_who_asks(double: Double, identity: dict[str, str], sent: str | None) -> None:
    client = Client(double.url, **identity)
    client.register("s", TEXT)
    assert double.asked[-1][2].get("Authorization") == sent


def test_no_secret_is_shown() -> None:
    shown = repr(Endpoint("https://there", user="ann", password="canary")) + repr(
        Endpoint("https://there", token="canary")
    )
    assert "canary" not in shown


def test_https_trusts_only_its_authority_and_shows_its_own_certificate(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    context = made.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(made.ca)
    double = Double(context)
    try:
        known = {"ca_path": made.ca, "cert_path": made.cert, "key_file": made.key}
        assert Client(double.url, **known).register("s", TEXT) == 1
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            Client(double.url, **{**known, "ca_path": made.other_ca}).schema_of(1)
        with pytest.raises(Unavailable):
            Client(double.url, ca_path=made.ca).schema_of(1)
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            Client(double.url).schema_of(1)
    finally:
        double.stop()


@pytest.mark.parametrize(
    ("url", "rest"),
    [
        ("registry:8081", {}),
        ("ftp://registry", {}),
        ("http://", {}),
        ("http://registry:x", {}),
        ("http://[registry", {}),
        ("http://regi stry", {}),
        ("http://registry/\n", {}),
        ("http://registry/?a=b", {}),
        ("http://ann:secret@registry", {}),
        ("https://registry", {"user": "ann"}),
        ("https://registry", {"password": "x"}),
        ("https://registry", {"user": "a:b", "password": "x"}),
        ("https://registry", {"user": "ann", "password": "x", "token": "y"}),
        ("https://registry", {"token": "a\nb"}),
        ("https://registry", {"token": ""}),
        ("http://registry", {"token": "y"}),
        ("http://registry", {"user": "ann", "password": "x"}),
        ("https://registry", {"ca_path": Path("absent.pem")}),
        ("https://registry", {"cert_path": Path("absent.pem")}),
    ],
)
def test_an_address_or_identity_that_cannot_be_is_a_mistake_in_the_configuration(
    url: str, rest: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError) as raised:
        Client(url, **rest)
    assert "secret" not in str(raised.value)
