"""A codec that does not work is found at the start, with what to install."""

import zlib

import pytest

from stream_mtl.connectors.codecs import check_codecs
from stream_mtl.errors import ConfigError

WORKS = (zlib.compress, zlib.decompress)


def right(data: bytes) -> int:
    return 0xE3069283


def test_every_codec_that_we_depend_on_works() -> None:
    from stream_mtl.connectors.kafka import _check

    _check.cache_clear()
    _check()


@pytest.mark.parametrize("unpack", [None, lambda data: b"other", lambda data: 1 / 0])
def test_a_codec_that_is_missing_or_wrong_is_named_with_what_to_install(unpack) -> None:
    with pytest.raises(ConfigError, match=r"lz4 does not work.*pip install 'kafka-python\[lz4\]'"):
        check_codecs({"zstd": WORKS, "lz4": (zlib.compress, unpack)}, right)


@pytest.mark.parametrize("crc32c", [None, lambda data: 0])
def test_a_checksum_that_is_missing_or_wrong_is_named_with_what_to_install(crc32c) -> None:
    with pytest.raises(ConfigError, match=r"kafka-python\[crc32c\]"):
        check_codecs({"zstd": WORKS}, crc32c)
    check_codecs({"zstd": WORKS}, right)
