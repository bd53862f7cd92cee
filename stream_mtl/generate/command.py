"""`stream-mtl gen`: from knobs to a folder of event files, their truth and a configuration."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from stream_mtl.errors import ConfigError
from stream_mtl.generate.generated import generate
from stream_mtl.generate.knobs import options_from
from stream_mtl.generate.write import FileFormat, as_toml, declarations, write


def generate_files(
    folder: Path, table: Path | None, assignments: Iterable[str], format: str, files: int
) -> dict[str, dict[str, int]]:
    """Write a generated stream and a `config.toml` that reads it; returns what every account must be."""
    chosen: FileFormat
    match format:
        case "avro" | "jsonl" | "csv":
            chosen = format
        case _:
            raise ConfigError(f'--format: "{format}" is none; choose avro, jsonl or csv')
    options = options_from(_table(table), assignments)
    generated = generate(options)
    write(generated, folder, chosen, files)
    (folder / "config.toml").write_text(as_toml(declarations(options, ".", chosen)))
    return generated.accounts()


def _table(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        return dict(tomllib.loads(path.read_text()).get("generate", {}))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
