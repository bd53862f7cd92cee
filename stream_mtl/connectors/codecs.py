"""A test at the start that every compression works: a consumer without one of them would poll a batch for ever."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from stream_mtl.errors import ConfigError

Codec: TypeAlias = tuple[Callable[[bytes], Any], Callable[[Any], Any]]
"""Packs and unpacks."""

_SAMPLE: Final = b"0123456789" * 100
_CHECKED: Final = b"123456789"
_CRC32C: Final = 0xE3069283  # of _CHECKED, by the catalogue of parametrised CRC algorithms: CRC-32/ISCSI


def check_codecs(codecs: Mapping[str, Codec], crc32c: Callable[[bytes], int] | None) -> None:
    """Pack and unpack a sample by each codec, and check the checksum.

    `crc32c` is None where the fast one is not installed. Raises ConfigError that names what to install.
    """
    for name, (pack, unpack) in codecs.items():
        try:
            found = bytes(unpack(pack(_SAMPLE)))
        except Exception as error:  # each has its own; without its library it is a None that is called
            raise _broken(name, f"{type(error).__name__}: {error}") from error
        if found != _SAMPLE:
            raise _broken(name, "what was packed is not what is unpacked")
    if crc32c is None:
        raise _broken(
            "crc32c", "it is not installed; without it every checksum takes a hundred times as long"
        )
    if crc32c(_CHECKED) != _CRC32C:
        raise _broken("crc32c", "a checksum is wrong")


def _broken(name: str, why: str) -> ConfigError:
    return ConfigError(
        f"kafka: {name} does not work here ({why}); install it: pip install 'kafka-python[{name}]'"
    )
