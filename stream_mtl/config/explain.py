"""What pydantic found wrong, in the words of a configuration: what, and what to do."""

import datetime
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stream_mtl.config.problems import Path, Problem, nearest
from stream_mtl.config.shape import example_of, field_at, locate

Words: TypeAlias = Callable[[Path, ErrorDetails], str]

# bool before int, datetime before date: the first one that fits is taken.
_TOML_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (str, "a text"),
    (int, "an integer"),
    (float, "a float"),
    (list, "an array"),
    (tuple, "an array"),
    (dict, "a table"),
    (datetime.datetime, "a time"),
    (datetime.date, "a date"),
    (datetime.time, "a time"),
)


def explain(error: ValidationError) -> list[Problem]:
    """Return one problem for every place that is wrong, in the order of the sections."""
    found: dict[Path, Problem] = {}
    for detail in error.errors(include_url=False):
        path = _place(detail)
        found.setdefault(path, Problem(path, WORDS.get(detail["type"], _other)(path, detail)))
    return list(found.values())


def _place(detail: ErrorDetails) -> Path:
    path, _ = locate(detail["loc"])
    return (*path, "type") if detail["type"].startswith("union_tag") else path


def _missing(path: Path, _: ErrorDetails) -> str:
    example = example_of(field_at(path))
    return (
        f"this key is required; add {path[-1]} = {json.dumps(example)}" if example else "this key is required"
    )


def _unknown(path: Path, detail: ErrorDetails) -> str:
    return f'unknown key "{path[-1]}"; {nearest(path[-1], locate(detail["loc"])[1])}'


def _wrong_type(wanted: str, example: str) -> Words:
    def words(path: Path, detail: ErrorDetails) -> str:
        return f"must be {wanted}, not {_type(detail['input'])}; write {path[-1]} = {example}"

    return words


def _no_table(path: Path, detail: ErrorDetails) -> str:
    header = ".".join(path)
    return f"must be a table, not {_type(detail['input'])}; write a section [{header}]"


def _no_choice(path: Path, detail: ErrorDetails) -> str:
    choices = [choice.strip("'") for choice in _comma_separated(detail["ctx"]["expected"])]
    given = detail["input"]
    advice = nearest(given, choices) if isinstance(given, str) else f"known: {', '.join(choices)}"
    return f"{json.dumps(given, default=str)} is no choice; {advice}"


def _no_feature_type(path: Path, detail: ErrorDetails) -> str:
    choices = _comma_separated(detail["ctx"]["expected_tags"])
    tag = str(detail["ctx"]["tag"])
    return f'"{tag}" is no choice; {nearest(tag, [choice.strip(chr(39)) for choice in choices])}'


def _no_type(path: Path, detail: ErrorDetails) -> str:
    return 'this key is required; add type = "categorical", "numeric" or "sequence"'


def _out_of_bounds(relation: str, bound: str) -> Words:
    def words(path: Path, detail: ErrorDetails) -> str:
        return f"{detail['input']} is out of bounds; it must be {relation} {detail['ctx'][bound]}"

    return words


def _too_short(path: Path, detail: ErrorDetails) -> str:
    least = detail["ctx"]["min_length"]
    return (
        "must not be empty; name at least one" if least == 1 else f"must hold {least} values; add the others"
    )


def _too_long(path: Path, detail: ErrorDetails) -> str:
    return f"must hold {detail['ctx']['max_length']} values; drop the others"


def _not_finite(path: Path, detail: ErrorDetails) -> str:
    return f"{detail['input']} is no finite number; write one"


def _own_words(path: Path, detail: ErrorDetails) -> str:
    return str(detail["ctx"]["error"])


def _other(path: Path, detail: ErrorDetails) -> str:
    return detail["msg"]


def _comma_separated(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").split(", ")


def _type(value: Any) -> str:
    return next((name for kind, name in _TOML_TYPES if isinstance(value, kind)), type(value).__name__)


WORDS: Mapping[str, Words] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    "string_type": _wrong_type("a text", '"..."'),
    "int_type": _wrong_type("an integer", "1"),
    "float_type": _wrong_type("a number", "1.0"),
    "bool_type": _wrong_type("true or false", "true"),
    "tuple_type": _wrong_type("an array", "[...]"),
    "dict_type": _no_table,
    "model_type": _no_table,
    "model_attributes_type": _no_table,
    "literal_error": _no_choice,
    "union_tag_invalid": _no_feature_type,
    "union_tag_not_found": _no_type,
    "greater_than": _out_of_bounds("greater than", "gt"),
    "greater_than_equal": _out_of_bounds("at least", "ge"),
    "less_than": _out_of_bounds("less than", "lt"),
    "less_than_equal": _out_of_bounds("at most", "le"),
    "too_short": _too_short,
    "too_long": _too_long,
    "string_too_short": _too_short,
    "finite_number": _not_finite,
    "value_error": _own_words,
}
"""pydantic's name of a fault -> our words for it."""
