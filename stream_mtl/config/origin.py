"""Where each value comes from: defaults, under the file, under the environment, under the command line."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from stream_mtl.config.lines import key_path
from stream_mtl.config.problems import Path, Problem, dotted, nearest
from stream_mtl.config.shape import holds_sections, is_allowed, is_leaf, is_secret, known_keys

PREFIX = "STREAM_MTL__"
SEPARATOR = "__"

Layer: TypeAlias = Literal["default", "file", "environment", "command line"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who gave a value: "default", "site.toml:12", "environment STREAM_MTL__X" or "-X x"."""

    layer: Layer
    text: str

    def __str__(self) -> str:
        return self.text


DEFAULT = Origin("default", "default")


@dataclass(frozen=True, slots=True)
class Override:
    """A value given outside the file, as text and as what TOML reads in it."""

    path: Path
    text: str = field(repr=False)
    value: Any = field(repr=False)
    origin: Origin


@dataclass(slots=True)
class Document:
    """The merged tables of all layers, and for every value its origin."""

    file: str
    lines: Mapping[Path, int]
    data: dict[str, Any] = field(repr=False)  # with secrets
    origins: dict[Path, Origin] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict, repr=False)  # of overrides, as they were given

    def place(self, path: Path) -> str:
        """Return where a reader has to look to change the value at `path`."""
        return str(self.origins[path]) if path in self.origins else self.file_place(path)

    def located(self, problem: Problem) -> str:
        """Return the problem with its place in front."""
        return f"{self.place(problem.path)}: {problem}"

    def file_place(self, path: Path) -> str:
        """Return the file and the line of `path`, or of the innermost table around it that has one."""
        line = self.line(path)
        return f"{self.file}:{line}" if line else self.file

    def line(self, path: Path) -> int:
        """Return that line alone; 0 where nothing of the path is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def origin(self, path: Path) -> Origin:
        """Return the origin of the value at `path`."""
        return self.origins.get(path, DEFAULT)

    def lay(self, override: Override) -> None:
        """Put an override on top. A file's value that stands where a table must be is left for validation."""
        whole = is_leaf(override.path)
        for path, value in (
            [(override.path, override.value)] if whole else leaves(override.value, override.path)
        ):
            if put(self.data, path, value):
                self.origins[path] = override.origin
                if path == override.path:
                    self.texts[path] = override.text


def document(file: str, data: dict[str, Any], lines: Mapping[Path, int]) -> Document:
    """Return the first layer: what the file says."""
    made = Document(file, lines, data)
    made.origins.update({path: Origin("file", made.file_place(path)) for path, _ in leaves(data)})
    return made


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Give every value that is not a table, with its path."""
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        yield from leaves(inner, (*path, key))


def put(data: dict[str, Any], path: Path, value: Any) -> bool:
    """Set the value at `path`, making tables on the way. False: something is in the way that is no table."""
    for key in path[:-1]:
        inner = data.setdefault(key, {})
        if not isinstance(inner, dict):
            return False
        data = inner
    data[path[-1]] = value
    return True


def from_environment(environ: Mapping[str, str], data: dict[str, Any]) -> Iterator[Override | Problem]:
    """Give the overrides that the environment names, in whatever case, shorter paths first."""
    found: dict[Path, str] = {}
    for name in sorted(environ, key=lambda name: (name.count(SEPARATOR), name)):
        if not name.upper().startswith(PREFIX):
            continue
        path = _as_known(tuple(name[len(PREFIX) :].split(SEPARATOR)), data)
        if path in found:
            yield Problem((), f"environment {name}: says the same as {found[path]}; unset one of them")
        found[path] = name
        yield _override(path, environ[name], Origin("environment", f"environment {name}"), data)


def from_arguments(arguments: Iterable[str], data: dict[str, Any]) -> Iterator[Override | Problem]:
    """Give the overrides of `-X learn.batch_size=128`, in their order: a later one lies on top."""
    for argument in arguments:
        key, equals, text = argument.partition("=")
        try:
            path = key_path(key) if equals else ()
        except tomllib.TOMLDecodeError:
            path = ()
        if path:
            yield _override(path, text, Origin("command line", f"-X {dotted(path)}"), data)
        else:
            yield Problem((), f'-X {key}: is no override; write a key and a value: "-X learn.batch_size=128"')


def _override(path: Path, text: str, origin: Origin, data: dict[str, Any]) -> Override | Problem:
    fault = _fault(path, data) or _unreadable(text)
    if fault is not None:
        return Problem((), f"{origin}: {fault}")
    return Override(path, text, text if is_secret(path) else _toml_value(text), origin)


def _as_known(parts: Path, data: dict[str, Any]) -> Path:
    """Return the path with each part spelt as the sections, or as the file, spell it."""
    path: Path = ()
    inner: Any = data
    for part in parts:
        known = [*(known_keys(path) or ()), *(inner if isinstance(inner, dict) else ())]
        path += (next((key for key in known if key.lower() == part.lower()), part.lower()),)
        inner = inner.get(path[-1]) if isinstance(inner, dict) else None
    return path


def _fault(path: Path, data: dict[str, Any]) -> str | None:
    """Return why an override may not stand at `path`: it is unknown, or the file declares no such name."""
    inner: Any = data
    for depth, key in enumerate(path):
        above = path[:depth]
        if is_leaf(above):
            return f"{dotted(above)} is a value, not a table; drop .{dotted(path[depth:])}"
        here = inner if isinstance(inner, dict) else {}
        known = list(known_keys(above) or (here if holds_sections(above) else ()))
        if not is_allowed(path[: depth + 1]) or (holds_sections(above) and key not in here):
            return f'unknown key "{key}"; {nearest(key, known)}'
        inner = here.get(key)
    return None


def _unreadable(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError:  # the operating system hands over undecodable bytes as lone surrogates
        return "is not valid UTF-8; set it again"
    return None


def _toml_value(text: str) -> Any:
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return read["value"] if len(read) == 1 else text
