"""In which line of a TOML text each key stands (the standard parser keeps no positions)."""

import re
import tomllib
from collections.abc import Iterator

from stream_mtl.config.problems import Path

_TOKEN = re.compile(
    r'''
      (?P<text>"""(?:\\.|[^\\])*?"{3,5} | \'\'\'.*?\'{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*')
    | (?P<comment>\#[^\n]*)
    | (?P<open>[\[{]) | (?P<close>[\]}])
    | (?P<newline>\n)
    | (?P<other>.)
    ''',
    re.VERBOSE | re.DOTALL,
)
_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')"""
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*(?:=|$)")


def key_lines(text: str) -> dict[Path, int]:
    """Return the line, counted from 1, of every table and key of a valid TOML text.

    A table without a header of its own stands where it is first needed. Keys inside inline tables are not
    listed: they stand where the key that holds them stands.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    for line, statement in _statements(text):
        header = statement.startswith("[")
        found = _KEY.match(statement.strip("[] ") if header else statement)
        if found is None:
            continue
        path = key_path(found[1]) if header else table + key_path(found[1])
        if header:
            table = path
        for depth in range(1, len(path) + 1):
            lines.setdefault(path[:depth], line)
    return lines


def key_path(key: str) -> Path:
    """Return the parts of a dotted TOML key. Raises tomllib.TOMLDecodeError."""
    path: Path = ()
    inner: object = tomllib.loads(f"{key} = 0")
    while isinstance(inner, dict):
        if len(inner) != 1:
            raise tomllib.TOMLDecodeError("not one key")
        ((part, inner),) = inner.items()
        path += (part,)
    return path


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Give each header or assignment as one text without comments, with the line it begins in."""
    parts: list[str] = []
    depth, line, begun = 0, 1, 1
    for token in _TOKEN.finditer(text + "\n"):
        if token.lastgroup == "newline" and depth == 0:
            if parts:
                yield begun, "".join(parts).strip()
            parts = []
        elif token.lastgroup != "comment" and (parts or not token[0].isspace()):
            begun = begun if parts else line
            parts.append(token[0])
            depth += (token.lastgroup == "open") - (token.lastgroup == "close")
        line += token[0].count("\n")
