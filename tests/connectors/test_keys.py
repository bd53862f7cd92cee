"""Keys go where Java's clients put them."""

import random

import pytest

from stream_mtl.connectors.keys import murmur2, partition_of, record_key


@pytest.mark.parametrize(
    ("key", "signed"),  # as in org.apache.kafka.common.utils.UtilsTest
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_javas_partitioner(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF


def test_it_is_that_of_kafka_python_for_keys_of_any_length() -> None:
    from kafka.partitioner.default import murmur2 as theirs

    source = random.Random(1)
    for length in range(70):
        key = source.randbytes(length)
        assert murmur2(key) & 0x7FFFFFFF == theirs(key) & 0x7FFFFFFF
        assert partition_of(key, 7) == (theirs(key) & 0x7FFFFFFF) % 7


def test_a_key_of_several_fields_is_their_texts_with_a_bar_between() -> None:
    assert record_key([7, "shoe"]) == b"7|shoe"
