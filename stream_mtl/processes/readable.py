"""What lies in topics and letters, as plain values that a person can read and JSON can hold."""

import math
from typing import Any, Final

from stream_mtl.clock import Millis
from stream_mtl.watch.words import at_utc

SHOWN: Final = 2_000
"""Bytes of a value that are shown unless all are asked for."""


def iso(time: Millis) -> str:
    """Return an instant as "2026-03-05T14:00:00.250Z"."""
    return at_utc(time).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(name: str, time: Millis | None) -> dict[str, Any]:
    """Return an instant twice, for people and for programs; nothing where it is not known."""
    return {} if time is None else {name: iso(time), f"{name}_ms": time}


def shown(value: bytes, most: int | None = SHOWN) -> dict[str, Any]:
    """Return bytes as text where they are one, else as hex; `bytes` says how many there are if some are left out."""
    part = value if most is None else value[:most]
    rest = {} if len(part) == len(value) else {"bytes": len(value)}
    text = as_text(value)
    if text is None:
        return {"hex": part.hex(), **rest}
    return {"text": text if most is None else text[:most], **rest}


def as_text(value: bytes) -> str | None:
    """Return the text that bytes are, None if they are none that can be printed."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if all(letter.isprintable() or letter in "\t\r\n" for letter in text) else None


def finite(value: Any) -> Any:
    """Return a value as JSON can hold it: numbers that are none as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value
