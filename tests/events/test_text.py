"""JSON lines and CSV become columns; each record is judged by itself."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.errors import SchemaError
from stream_mtl.events.table import CsvLines, header_of
from stream_mtl.events.text import JsonTexts
from stream_mtl.events.types import ARROW_TYPES

FIELDS = {
    "l": "long",
    "d": "double",
    "b": "boolean",
    "s": "string",
    "al": "array<long>",
    "ad": "array<double>",
    "as": "array<string>",
}


def spans(texts, between=b"\n"):
    """Return texts as spans of one buffer, with something between them."""
    starts, data = [], b"??"
    for text in texts:
        starts.append(len(data))
        data += text + between
    starts = np.array(starts, np.int64)
    return np.frombuffer(data, np.uint8), starts, starts + np.array([len(t) for t in texts], np.int64)


def decode(reader, texts, between=b"\n"):
    """Return the good rows by number, and the reasons of the others."""
    decoded = reader.decode(*spans(texts, between))
    rows = np.flatnonzero(decoded.good).tolist()
    assert sorted(decoded.reasons) == np.flatnonzero(~decoded.good).tolist()
    assert decoded.columns.num_rows == len(rows)
    decoded.columns.validate(full=True)
    values = dict(zip(rows, decoded.columns.to_pylist(), strict=True))
    return values, {row: reason for row, (reason, _) in decoded.reasons.items()}


def one(reader, text):
    """Return the only row, or why there is none."""
    good, bad = decode(reader, [text])
    return good[0] if good else bad[0]


# JSON


def by_hand(text):
    """Judge one JSON text with the standard library: the row, or None."""

    def refuse(name):
        raise ValueError(name)

    def whole(value):
        return type(value) is int and -(2**63) <= value < 2**63

    def number(value):
        return type(value) in (int, float)

    def name(value):
        return type(value) in (int, str)

    plain = {"l": whole, "d": number, "b": lambda v: type(v) is bool, "s": name}
    make = {"l": int, "d": float, "b": bool, "s": str}
    try:
        pairs = json.loads(text, parse_constant=refuse, object_pairs_hook=lambda pairs: ("object", pairs))
        kind, pairs = pairs
        assert kind == "object"
        row = dict.fromkeys(FIELDS)
        for key, value in pairs:
            if key in plain:
                assert value is None or plain[key](value)
                row[key] = None if value is None else make[key](value)
            elif key in FIELDS:
                item = key[1]
                assert value is None or (
                    type(value) is list and all(v is None or plain[item](v) for v in value)
                )
                row[key] = None if value is None else [None if v is None else make[item](v) for v in value]
    except (ValueError, TypeError, AssertionError):
        return None
    return row


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30, 1.0, 0.5, -1e300, float("nan")]),
    st.text(max_size=5),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.just({"l": 1}))
OBJECTS = st.dictionaries(st.sampled_from([*FIELDS, "other"]), VALUES, max_size=5)


@st.composite
def json_texts(draw):
    text = json.dumps(draw(OBJECTS), ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(["", "}", "{}", ",", '"', "\t", "x"])) + text[at + 1 :]
    return text.encode()


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(json_texts(), max_size=8), between=st.sampled_from([b"\n", b"", b"\x00}{", b"\r\n"]))
def test_a_json_text_is_read_as_the_standard_library_reads_it_whatever_its_neighbours(texts, between):
    good, bad = decode(JsonTexts(FIELDS), texts, between)
    expected = {row: value for row, text in enumerate(texts) if (value := by_hand(text)) is not None}
    assert good == expected
    assert set(bad.values()) <= {"not_json", "wrong_type", "not_utf8"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"d": NaN}', "not_json"),
        (b'{"other": Infinity}', "not_json"),
        (b'{"d": 1e999}', "wrong_type"),
        (b'{"l": 1.0}', "wrong_type"),
        (b'{"l": "1"}', "wrong_type"),
        (b'{"l": true}', "wrong_type"),
        (b'{"l": 9223372036854775808}', "wrong_type"),
        (b'{"s": {"nested": 1}}', "wrong_type"),
        (b'{"s": 1.5}', "wrong_type"),
        (b'{"al": 1}', "wrong_type"),
        (b'{"s": "\xff"}', "not_utf8"),
        (b'{"s": "\\ud800"}', "not_json"),
        (b'{"l": 1}{"l": 2}', "not_json"),
        (b'{"l": 1', "not_json"),
        (b"[1]", "wrong_type"),
        (b"", "not_json"),
        (b'{"other": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not_json"),
    ],
)
def test_a_json_text_that_is_malformed_says_why(text, reason):
    good, bad = decode(JsonTexts(FIELDS), [b'{"l": 1}', text, b'{"l": 2}'])
    assert bad == {1: reason}
    assert [row["l"] for row in good.values()] == [1, 2]


def test_of_a_json_key_that_stands_twice_the_last_counts():
    assert one(JsonTexts({"l": "long"}), b'{"l": 1, "l": 2}') == {"l": 2}


def test_a_json_integer_may_stand_for_a_text():
    row = one(
        JsonTexts({"s": "string", "as": "array<string>"}),
        b'{"s": 12345678901234567890123, "as": ["a", 7, null]}',
    )
    assert row == {"s": "12345678901234567890123", "as": ["a", "7", None]}


def test_a_json_field_may_have_any_name():
    assert one(
        JsonTexts({"class": "long", "user-id": "long", "é": "long"}), '{"user-id":1,"class":2,"é":3}'.encode()
    ) == {
        "class": 2,
        "user-id": 1,
        "é": 3,
    }


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        (["1", "null", "3"], pa.int64(), [1, None, 3]),
        (["1.5", "2.0"], pa.float64(), [1.5, 2.0]),
        (['"x"', "null"], pa.string(), ["x", None]),
        (["1", "1.5", '"x"'], pa.string(), ["1", "1.5", "x"]),
        (["123456789012345678901"], pa.string(), ["123456789012345678901"]),
        (["null"], pa.int64(), [None]),
    ],
)
def test_a_json_time_keeps_the_type_that_it_has(values, kind, read):
    texts = [b'{"t": %s}' % value.encode() for value in values]
    column = JsonTexts({"t": "time"}).decode(*spans(texts)).columns.column("t")
    assert (column.type, column.to_pylist()) == (kind, read)


# CSV

ALL = ",".join(FIELDS).encode()
CSV = {
    "l": (r"\s*-?[0-9]+\s*", int),
    "d": (r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", float),
    "b": (r"\s*(?i:true|false|0|1)\s*", lambda text: text.strip().lower() in ("true", "1")),
    "s": (r"(?s:.*)", str),
}


def field_by_hand(name, text):
    """Read one field, raising ValueError."""
    if text == "":
        return None
    if len(name) == 2:
        return [field_by_hand(name[1], item) for item in text.split("|")]
    grammar, make = CSV[name]
    value = make(text) if re.fullmatch(grammar, text, re.ASCII) else None
    if value is None or (name == "l" and not -(2**63) <= value < 2**63):
        raise ValueError(text)
    return value


BLANKS = " \t\n\v\f\r"


def line_by_hand(line, trim=False):
    """Judge one CSV line field by field: the row, or None."""
    blanks = f"[{BLANKS}]*" if trim else ""
    try:
        text = line.decode()
        field = rf'{blanks}"(?:[^"]|"")*"{blanks}|[^",]*'
        if not re.fullmatch(f"(?:{field})(?:,(?:{field}))*", text, re.DOTALL):
            return None
        fields = [match[1] for match in re.finditer(rf"(?:^|,)({field})", text, re.DOTALL)]
        if len(fields) != len(FIELDS):
            return None
        fields = [f.strip(BLANKS) if trim else f for f in fields]
        texts = [f[1:-1].replace('""', '"') if f.startswith('"') else f for f in fields]
        return {name: field_by_hand(name, text) for name, text in zip(FIELDS, texts, strict=True)}
    except ValueError:
        return None


GOOD_FIELDS = {
    "l": ["1", "-7", "007", " 5 ", "9223372036854775807", "-9223372036854775808", "1700000000000"],
    "d": ["1", "-0.5", "1e5", ".5", "5.", "+2", " 1.5", "1E-400"],
    "b": ["true", "FALSE", "1", "0", " True"],
    "s": ["a", "0x10", "é", " x ", "1", "tRue"],
    "al": ["1|2", "3", "|", "1||2"],
    "ad": ["1.5|2", "-1"],
    "as": ["a|b", "c|", "é"],
}
ODD = ["", "", "x", "0x1F", "1.0", "9223372036854775808", "-9223372036854775809", "0" * 30 + "1",
       "12345678901234567890", "-12345678901234567890", "1-2", "--1", "1 2",
       "yes", 'a"b', '"', "a|b", "1|x", "1e", "٣", "\t", "-"]  # fmt: skip


@st.composite
def csv_lines(draw):
    fields = []
    for name in FIELDS:
        text = draw(st.sampled_from(GOOD_FIELDS[name] if draw(st.integers(0, 9)) else ODD))
        how = draw(st.integers(0, 11))
        if how == 0:
            text = '"' + text.replace('"', '""') + '"'
        elif how == 1 and name == "s":
            text = '"a,""b"""'
        if draw(st.integers(0, 5)) == 0:
            text = draw(st.sampled_from([" ", "\t "])) + text + draw(st.sampled_from(["", "  "]))
        fields.append(text)
    line = ",".join(fields).encode()
    if draw(st.integers(0, 19)) == 0:
        line = draw(
            st.sampled_from([line + b",", line[1:], b"", b",", b'"' + line, line + b"\xff", b"," * 6])
        )
    return line


@settings(max_examples=300, deadline=None)
@given(
    lines=st.lists(csv_lines(), max_size=8),
    between=st.sampled_from([b"\n", b"", b'",\n', b"\r\n"]),
    trim=st.booleans(),
)
def test_a_csv_line_is_read_as_field_by_field_whatever_its_neighbours(lines, between, trim):
    good, bad = decode(CsvLines(FIELDS, ALL, trim), lines, between)
    by_hand = {row: line_by_hand(line, trim) for row, line in enumerate(lines)}
    assert good == {row: value for row, value in by_hand.items() if value is not None}
    assert set(bad.values()) <= {"not_utf8", "bad_quotes", "wrong_columns", "wrong_type"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1,2", "wrong_columns"),
        (b"1,2,3,4", "wrong_columns"),
        (b'1,"2,3', "bad_quotes"),
        (b'1,2"2",x', "bad_quotes"),
        (b"x,2,y", "wrong_type"),
        (b"1,nope,y", "wrong_type"),
        (b"1,2,\xff", "not_utf8"),
    ],
)
def test_a_csv_line_that_is_malformed_says_why(line, reason):
    good, bad = decode(
        CsvLines({"l": "long", "d": "double", "s": "string"}, b"l,d,s"), [b"1,2,a", line, b"3,4,b"]
    )
    assert bad == {1: reason}
    assert [row["s"] for row in good.values()] == ["a", "b"]


def test_a_csv_line_never_lends_a_field_to_its_neighbour():
    good, bad = decode(CsvLines({"a": "long", "b": "long"}, b"a,b"), [b"1", b"2,3,4", b"5,6"])
    assert (good, bad) == ({2: {"a": 5, "b": 6}}, {0: "wrong_columns", 1: "wrong_columns"})


def test_csv_fields_are_found_by_name_and_those_not_in_the_header_are_null():
    reader = CsvLines({"b": "long", "none": "array<long>", "t": "time", "a": "string"}, b'"a", b ,t')
    assert one(reader, b"x,1,2019-10-01") == {"b": 1, "none": None, "t": "2019-10-01", "a": "x"}


@pytest.mark.parametrize(("trim", "texts"), [(True, ["x y", " z ", None]), (False, [" x y", None, "  "])])
def test_blanks_around_a_csv_value_belong_to_it_unless_they_are_trimmed(trim, texts):
    reader = CsvLines({"a": "string", "b": "string", "c": "string"}, b"a,b,c", trim)
    line = b' x y, " z " ,  ' if trim else b" x y,,  "
    assert one(reader, line) == dict(zip("abc", texts, strict=True))


@pytest.mark.parametrize("names", [["a", "b c", "d-e"], ['say "x"', "f,g"], ["é"]])
def test_a_header_is_made_of_the_names_of_columns(names):
    reader = CsvLines(dict.fromkeys(names, "long"), header_of(names).encode())
    assert one(reader, b",".join(b"%d" % i for i in range(len(names)))) == dict(
        zip(names, range(len(names)), strict=True)
    )


def test_a_csv_field_that_is_not_wanted_may_be_anything():
    assert one(CsvLines({"b": "long"}, b"a,b"), b"what ever,1") == {"b": 1}


def test_a_csv_file_of_one_column_is_read():
    assert decode(CsvLines({"a": "long"}, b"a"), [b"1", b"2", b"3,4"]) == (
        {0: {"a": 1}, 1: {"a": 2}},
        {2: "wrong_columns"},
    )


@pytest.mark.parametrize("value", ["nan", "inf", "-Infinity", "1e400"])
def test_a_csv_double_may_be_no_number_here_for_that_is_judged_with_all_formats(value):
    row = one(CsvLines({"d": "double"}, b"d,e"), value.encode() + b",x")
    assert not np.isfinite(row["d"])


@pytest.mark.parametrize("header", [b"l,l", b'"l', b"\xff"])
def test_a_header_that_cannot_be_used_is_an_error(header):
    with pytest.raises(SchemaError, match="header"):
        CsvLines({"l": "long"}, header)


# both


@pytest.mark.parametrize("reader", [JsonTexts(FIELDS), CsvLines(FIELDS, ALL)], ids=["json", "csv"])
def test_nothing_becomes_columns_of_the_declared_types(reader):
    decoded = reader.decode(*spans([]))
    assert decoded.columns.num_rows == 0
    assert decoded.columns.schema.types == [ARROW_TYPES[kind] for kind in FIELDS.values()]


@pytest.mark.parametrize("reader", [JsonTexts({}), CsvLines({}, b"a")], ids=["json", "csv"])
def test_no_field_at_all_still_counts_the_rows(reader):
    assert reader.decode(*spans([b"{}", b"{}"])).columns.num_rows == 2
