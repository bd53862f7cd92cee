"""From a file, the environment and the command line to one configuration, or to all that is wrong with it."""

import copy
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from pydantic import ValidationError

from stream_mtl.config.check import check
from stream_mtl.config.columns import schema_problems
from stream_mtl.config.explain import explain
from stream_mtl.config.lines import key_lines
from stream_mtl.config.origin import Document, Override, document, from_arguments, from_environment, put
from stream_mtl.config.problems import Path, Problem, dotted
from stream_mtl.config.sections import Config
from stream_mtl.config.shape import example_of, field_at, is_secret
from stream_mtl.errors import ConfigError

MOST_REPAIRS = 200
"""Beyond so many wrong values, only these are reported."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and where each of its values comes from."""

    config: Config
    document: Document
    folder: File  # where relative paths begin
    name: str | None = None  # of a challenger
    base: "Loaded | None" = None  # what a challenger is laid over


def load(
    file: File, environ: Mapping[str, str], arguments: Iterable[str] = (), folder: File | None = None
) -> Loaded:
    """Return the effective configuration: defaults, under the file, under `environ`, under `arguments`.

    Relative paths begin at `folder`, which is the file's unless another is given. Raises ConfigError with everything
    that is wrong, a line each.
    """
    loaded, problems = examine(file, environ, arguments, folder)
    if loaded is None:
        raise ConfigError("\n".join(problems))
    return loaded


def examine(
    file: File, environ: Mapping[str, str], arguments: Iterable[str] = (), folder: File | None = None
) -> tuple[Loaded | None, list[str]]:
    """Return the configuration, or None and everything that is wrong, each with its place."""
    try:
        made = _read(file)
    except ConfigError as error:
        return None, [str(error)]
    faults = _lay_overrides(made, environ, arguments)
    return _finish(made, (folder or file.parent).absolute(), faults)


def lay_over(base: Loaded, arguments: Sequence[str]) -> tuple[Config | None, Document, list[str]]:
    """Return a configuration with `KEY=VALUE` laid over it, or None and everything that is wrong, each with its place."""
    made = copy.deepcopy(base.document)
    faults = _lay_overrides(made, {}, arguments)
    loaded, faults = _finish(made, base.folder, faults)
    return (None if loaded is None else loaded.config), made, faults


def _finish(made: Document, folder: File, faults: list[str]) -> tuple[Loaded | None, list[str]]:
    config, problems = _validate(made, folder)
    faults += _named_secrets(made)
    problems.sort(key=lambda problem: made.line(problem.path))
    faults += map(made.located, problems)
    if config is None or faults:
        return None, list(dict.fromkeys(faults))
    return Loaded(config, made, folder), []


def _read(file: File) -> Document:
    try:
        text = file.read_text(encoding="utf-8-sig")
        tables = tomllib.loads(text)
        tables.pop("generate", None)  # knobs of `stream-mtl gen --knobs`, in the same file
        return document(str(file), tables, key_lines(text))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}; name an existing TOML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        place = f"{file}:{found[1]}" if found else str(file)
        raise ConfigError(f"{place}: is not TOML: {error}; correct the syntax") from error


def _lay_overrides(made: Document, environ: Mapping[str, str], arguments: Iterable[str]) -> list[str]:
    faults = []
    for found in [*from_environment(environ, made.data), *from_arguments(arguments, made.data)]:
        if isinstance(found, Override):
            made.lay(found)
        else:
            faults.append(str(found))
    return faults


def _named_secrets(made: Document) -> list[str]:
    """Refuse secrets that stand where others read them: in the file, or among a command's arguments."""
    faults = []
    for path, origin in made.origins.items():
        if is_secret(path) and origin.layer != "environment":
            name = "STREAM_MTL__" + "__".join(path).upper()
            faults.append(
                f"{origin}: {dotted(path)}: a secret may not stand here; set {name} or {path[-1]}_file"
            )
    return faults


def _validate(made: Document, folder: File) -> tuple[Config | None, list[Problem]]:
    """Return the configuration, or what is wrong with its values and, as far as they go, with their sense."""
    config, problems = _attempt(made.data, folder)
    if problems and _as_texts(made, problems, folder):
        config, problems = _attempt(made.data, folder)
    if config is not None:
        return config, check(config) or schema_problems(config)
    return None, problems + _sense_of_the_rest(made.data, problems, folder)


def _attempt(data: dict[str, Any], folder: File) -> tuple[Config | None, list[Problem]]:
    try:
        return Config.model_validate(data, context={"folder": str(folder)}), []
    except ValidationError as error:
        return None, explain(error)


def _as_texts(made: Document, problems: list[Problem], folder: File) -> bool:
    """Take overrides as plain texts again where that makes them right: a password of digits."""
    wrong = [problem.path for problem in problems if problem.path in made.texts]
    trial = copy.deepcopy(made.data)
    for path in wrong:
        put(trial, path, made.texts[path])
    still = {problem.path for problem in _attempt(trial, folder)[1]}
    mended = [path for path in wrong if path not in still]
    for path in mended:
        put(made.data, path, made.texts[path])
    return bool(mended)


def _sense_of_the_rest(data: dict[str, Any], problems: list[Problem], folder: File) -> list[Problem]:
    """Return what is wrong with the sense of those tables whose values are right."""
    broken: list[Path] = []
    repaired: Config | None = None
    while repaired is None and problems and len(broken) < MOST_REPAIRS:
        broken += [problem.path[:-1] or problem.path for problem in problems]
        data = _repaired(data, problems)
        repaired, problems = _attempt(data, folder)
    found = check(repaired) if repaired is not None else []
    return [one for one in found if not _touches(one.path, broken) and not _touches(one.about, broken)]


def _repaired(data: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Return the data without what is wrong, examples in the place of what is required."""
    repaired = copy.deepcopy(data)
    for problem in problems:
        *above, key = problem.path
        table: Any = repaired
        for part in above:
            table = table.get(part) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table.pop(key, None)
        field = field_at(problem.path)
        if field is not None and field.is_required() and example_of(field) is not None:
            put(repaired, problem.path, example_of(field))
    return repaired


def _touches(path: Path, broken: list[Path]) -> bool:
    return path != () and any(path[: len(other)] == other[: len(path)] for other in broken)
