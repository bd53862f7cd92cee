"""Dead letters are written whole, and read back once each."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_mtl.connectors.append import JsonLinesSink
from stream_mtl.connectors.base import DeadLetter
from stream_mtl.connectors.letters import DeadLetters, decode_letter, encode_letter, read_letters
from stream_mtl.connectors.memory import MemorySink
from stream_mtl.errors import DataError

LONG = st.integers(-(2**63), 2**63 - 1)
LETTERS = st.builds(
    DeadLetter,
    source=st.text(max_size=10),
    partition=st.integers(0, 99),
    position=LONG,
    reason=st.text(max_size=10),
    value=st.binary(max_size=50) | st.text(max_size=30).map(str.encode),
    detail=st.text(max_size=20),
    schema_id=st.none() | st.integers(0, 2**31 - 1),
    time=st.none() | LONG,
)


@settings(max_examples=300, deadline=None)
@given(letter=LETTERS)
def test_a_letter_comes_back_as_it_was_from_one_line(letter):
    line = encode_letter(letter)
    assert b"\n" not in line
    assert decode_letter(line) == letter


@pytest.mark.parametrize(
    "value", [b"\xff" * 9_000, b"a" * 9_000, b"\x00" * 5_500], ids=["bytes", "text", "just"]
)
def test_a_letter_that_is_too_large_is_cut_and_says_so(value):
    sink = MemorySink()
    letters = DeadLetters(sink, largest=8_000)
    letters.add(DeadLetter("kafka:clicks", 3, 2**60, "too_large", value, "d" * 200, 7, 2**60))
    letters.close()
    ((key, line),) = sink.records
    letter = decode_letter(line)
    assert key == b"kafka:clicks/3/%d" % 2**60
    assert len(line) <= 8_000
    assert value.startswith(letter.value) and len(letter.value) > 4_000
    if letter.whole is None:
        assert letter.value == value
    else:
        assert letter.whole == len(value)
        assert hashlib.sha256(value).hexdigest() in letter.detail


def test_a_value_that_is_text_stands_readable_beside_its_bytes():
    texts = [
        json.loads(encode_letter(DeadLetter("s", 0, 1, "r", value))) for value in (b"caf\xc3\xa9", b"\xff")
    ]
    assert texts[0]["text"] == "café"
    assert "text" not in texts[1]


def test_a_letter_that_is_written_twice_is_read_once(tmp_path):
    for detail in ["first", "again"]:
        letters = DeadLetters(JsonLinesSink(tmp_path))
        for position in range(3):
            letters.add(DeadLetter("s", 0, position, "r", b"v", detail))
        letters.close()
    read = list(read_letters(tmp_path))
    assert [(letter.position, letter.detail) for letter in read] == [(0, "first"), (1, "first"), (2, "first")]


def test_letters_that_were_flushed_are_read_while_the_writer_goes_on(tmp_path):
    letters = DeadLetters(JsonLinesSink(tmp_path))
    letters.add(DeadLetter("s", 0, 0, "r", b"v"))
    letters.flush()
    assert [letter.position for letter in read_letters(tmp_path)] == [0]
    letters.close()
    assert [letter.position for letter in read_letters(tmp_path)] == [0]


def test_the_key_is_the_identity_so_that_a_compacted_topic_keeps_one():
    sink = MemorySink()
    letters = DeadLetters(sink)
    letters.add(DeadLetter("kafka:clicks", 3, 17, "time_missing", b"v"))
    letters.close()
    assert [key for key, _ in sink.records] == [b"kafka:clicks/3/17"]


@pytest.mark.parametrize(
    "line", ["{}", "nonsense", '{"source":"s","partition":0,"position":0,"reason":"r","value":"*"}']
)
def test_a_line_that_is_no_letter_is_an_error_that_says_where(tmp_path, line):
    (tmp_path / "00000000.jsonl").write_text(
        encode_letter(DeadLetter("s", 0, 0, "r", b"v")).decode() + f"\n{line}\n"
    )
    with pytest.raises(DataError, match=r"00000000\.jsonl, line 2"):
        list(read_letters(tmp_path))


def test_letters_of_several_writers_lie_in_folders_below_and_are_read_together(tmp_path):
    for partition in range(2):
        letters = DeadLetters(JsonLinesSink(tmp_path / str(partition)))
        letters.add(DeadLetter("s", partition, 7, "r", b"v"))
        letters.close()
    assert [(letter.partition, letter.position) for letter in read_letters(tmp_path)] == [(0, 7), (1, 7)]
