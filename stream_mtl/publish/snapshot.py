"""A snapshot: the weights that a scorer needs, and a manifest that says where they come from and what they are worth.

    000412/weights.safetensors   arrays by name, in the order of their names, nothing else
           manifest.json         this file's `Manifest`, canonical JSON, with its own checksum

Equal weights are equal bytes. What varies between writers (time, host, libraries) stands in the manifest under
`made`; safetensors has room for it too, but does not keep it in a stable order.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from stream_mtl.clock import Millis
from stream_mtl.errors import StateCorrupt

FORMAT = 1

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
Version: TypeAlias = int
"""0, 1, 2, ...: they strictly rise, and what a version names never changes."""


class File(msgspec.Struct, frozen=True):
    """A file as it must be."""

    size: int  # bytes
    sha256: str


class Position(msgspec.Struct, frozen=True):
    """A place in the log of one joiner partition: the NEXT row to read."""

    partition: int
    block: int
    row: int


class Learned(msgspec.Struct, frozen=True):
    """How much a model has learned, and which part of the log since its parent."""

    steps: int  # of the optimiser
    examples: int  # rows of minibatches
    told: dict[str, int]  # per lesson: rows that taught it
    upto: Millis  # event time
    since: tuple[Position, ...]  # where the parent stood, per joiner partition
    positions: tuple[Position, ...]  # where this one stands


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot says of itself."""

    format: int = FORMAT
    version: Version
    parent: Version | None
    weights: File
    recipe: dict[str, str]  # fingerprint of features, tasks, methods, model, seed
    chain: str  # fingerprint of the log of transitions
    learned: Learned
    metrics: dict[
        str, dict[str, dict[str, float | None]]
    ]  # "life", "recent" (since the parent) -> output -> value
    passing: bool = (
        False  # cut between two borders of event time, to be served soon, and kept for a short time
    )
    made: dict[str, Any] = {}  # what varies between writers


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A manifest with its weights."""

    manifest: Manifest
    weights: Arrays


def pack(weights: Arrays) -> bytes:
    """Return weights as a safetensors file; equal weights give equal bytes."""
    return save({name: np.asarray(weights[name], order="C") for name in sorted(weights)})


def file_of(data: bytes) -> File:
    """Return what a manifest says of a file with this content."""
    return File(len(data), hashlib.sha256(data).hexdigest())


def unpack(data: bytes, file: File, where: str) -> Arrays:
    """Return the weights of a file. Raises StateCorrupt, naming `where`, unless they are what the manifest says."""
    if file_of(data) != file:
        raise StateCorrupt(f"{where}: the weights are not those of the manifest; delete this snapshot")
    try:
        return load(data)
    except SafetensorError as error:
        raise StateCorrupt(f"{where}: the weights cannot be read: {error}; delete this snapshot") from error


def encode_manifest(manifest: Manifest) -> bytes:
    """Return a manifest as canonical JSON, with its checksum."""
    plain = msgspec.to_builtins(manifest)
    return _canonical({**plain, "sha256": _checksum(plain)})


def decode_manifest(data: bytes, where: str) -> Manifest:
    """Read a manifest. Raises StateCorrupt, naming `where`, if it is damaged or of another format."""
    try:
        plain = json.loads(data)
        own = plain.pop("sha256")
        if plain["format"] != FORMAT:
            raise StateCorrupt(
                f"{where}: has format {plain['format']}, and this program reads format {FORMAT}; "
                "read it with the program that wrote it, or publish anew"
            )
        if own != _checksum(plain):
            raise StateCorrupt(f"{where}: the manifest does not verify; delete this snapshot")
        return msgspec.convert(plain, Manifest)
    except (ValueError, KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise StateCorrupt(f"{where}: the manifest cannot be read; delete this snapshot") from error


def not_finite(weights: Arrays) -> list[str]:
    """Return the names of arrays that hold a number which is none: such weights may not serve."""
    return [
        name for name, array in weights.items() if array.dtype.kind == "f" and not np.isfinite(array).all()
    ]


def _checksum(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(plain)).hexdigest()


def _canonical(plain: Mapping[str, Any]) -> bytes:
    return json.dumps(plain, sort_keys=True, allow_nan=False).encode()
