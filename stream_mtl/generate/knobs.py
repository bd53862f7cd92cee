"""From texts of a command line or a TOML table to the generator's options."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from typing import Any

from stream_mtl.clock import DAY, HOUR, MINUTE, SECOND, Millis
from stream_mtl.errors import ConfigError
from stream_mtl.generate.delays import Exponential, Law, Mixture, Weibull
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.rhythm import Sudden

_UNITS: Mapping[str, Millis] = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_DURATIONS = frozenset(
    {
        "duration",
        "drift_periods",
        "delay_drift_period",
        "click_within",
        "conversion_within",
        "refund_within",
        "invalid_within",
        "looks",
        "lateness",
        "remember",
        "skew",
        "repeat_within",
        "max_disorder",
        "late_by",
    }
)


def options_from(table: Mapping[str, Any], assignments: Iterable[str] = ()) -> GeneratorOptions:
    """Return the options that a table holds, under `name=value` assignments (TOML values, or bare texts).

    Durations are texts with a unit ("30m"). A law of delay is a table: {exponential = "30s"},
    {weibull = {scale = "20h", shape = 0.8}} or {mixture = [law, law], share = 0.9}. Raises ConfigError.
    """
    given = dict(table)
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise ConfigError(f'"{assignment}" is no assignment; write NAME=VALUE, like ctr=0.03')
        given[name.strip()] = _value(text.strip())
    known = {field.name: field for field in fields(GeneratorOptions)}
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise ConfigError(f'generate: there is no "{name}"{hint}')
    return GeneratorOptions(
        **{name: _option(name, value, known[name].default) for name, value in given.items()}
    )


def _option(name: str, value: Any, default: Any) -> Any:
    if name == "looks" and not isinstance(value, list):
        return (_millis(value),)
    if name in _DURATIONS:
        return tuple(map(_millis, value)) if isinstance(value, list) else _millis(value)
    if name in ("click_delays", "conversion_delays", "refund_delays", "invalid_delays"):
        return tuple(_law(law) for law in (value if isinstance(value, list) else [value]))
    if name == "sudden":
        return tuple(Sudden(**{**change, "at": _millis(change["at"])}) for change in value)
    if isinstance(value, list):
        return tuple(value)
    wanted = type(default) if default is not MISSING else None
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is not None and not isinstance(value, wanted):
        raise ConfigError(f"generate.{name}: {value!r} is no {wanted.__name__}")
    return value


def _law(table: Any) -> Law:
    match table:
        case {"exponential": mean}:
            return Exponential(_millis(mean))
        case {"weibull": {"scale": scale, "shape": shape}}:
            return Weibull(_millis(scale), float(shape))
        case {"mixture": [first, second], "share": share}:
            return Mixture(_law(first), _law(second), float(share))
    raise ConfigError(
        f'{table!r} is no law of delay; write {{exponential = "30s"}}, {{weibull = {{scale = "20h", shape = 0.8}}}} '
        f"or {{mixture = [law, law], share = 0.9}}"
    )


def _millis(value: Any) -> Millis:
    written = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", value) if isinstance(value, str) else None
    if written is None or written[2] not in _UNITS:
        raise ConfigError(f'{value!r} is no duration; write a number and a unit, like "30m"')
    return round(float(written[1]) * _UNITS[written[2]])


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
