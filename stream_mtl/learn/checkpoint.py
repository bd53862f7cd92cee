"""Checkpoints: arrays and facts as one folder that is there whole or not at all.

    ckpt-000000000412/tensors.safetensors    the arrays
                      manifest.json          format, number, facts, size and sha256 of the tensors, its own sha256

Writing, in this order: 1. the tensors into a folder beside, synced; 2. the manifest, synced; 3. that folder, synced;
4. its renaming, before which one of the same number is renamed to `.replaced`; 5. the folder above, synced; 6. what was
replaced, and older checkpoints, are removed. A crash at any point leaves the checkpoint before. Reading takes the newest
that verifies: safetensors by itself finds a file that was cut short, but not a flipped bit.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from stream_mtl.durable import BESIDE, sync_folder, write_synced
from stream_mtl.errors import StateCorrupt, Unavailable
from stream_mtl.failpoints import reach

FORMAT = 2

_TENSORS, _MANIFEST, _PREFIX, _REPLACED = "tensors.safetensors", "manifest.json", "ckpt-", ".replaced"

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that verified."""

    number: int
    arrays: Arrays
    facts: Mapping[str, Any]
    passed_over: tuple[str, ...]  # newer ones that did not verify, with the reasons


def write_checkpoint(
    root: Path, number: int, arrays: Arrays, facts: Mapping[str, Any], keep: int = 2
) -> Path:
    """Write a checkpoint, keep only the newest `keep`, and return its folder. `facts` are JSON.

    One of the same number is replaced. Raises Unavailable if the disk refuses; what was there before then stands.
    """
    final = root / f"{_PREFIX}{number:012d}"
    beside, replaced = final.with_name(final.name + BESIDE), final.with_name(final.name + _REPLACED)
    try:
        root.mkdir(parents=True, exist_ok=True)
        for left in root.glob(f"{_PREFIX}*{BESIDE}"):
            shutil.rmtree(left)
        beside.mkdir()
        tensors = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
        write_synced(beside / _TENSORS, [tensors])
        reach("checkpoint.tensors")
        write_synced(beside / _MANIFEST, [_manifest(number, tensors, facts)])
        sync_folder(beside)
        if final.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            final.rename(replaced)
        reach("checkpoint.manifest")
        beside.rename(final)
        reach("checkpoint.renamed")
        sync_folder(root)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise Unavailable(
            f"checkpoint {final} could not be written: {error}; the one before stands"
        ) from error
    shutil.rmtree(replaced, ignore_errors=True)
    for old, _ in list(_folders(root))[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def read_checkpoint(root: Path) -> Checkpoint | None:
    """Return the newest checkpoint that verifies; None if there is none at all.

    Raises StateCorrupt if there are some and none verifies.
    """
    passed: list[str] = []
    for folder, number in _folders(root):
        try:
            arrays, facts = _verified(folder, number)
        except (OSError, StateCorrupt) as error:
            passed.append(f"{folder.name}: {error}")
            continue
        return Checkpoint(number, arrays, facts, tuple(passed))
    if passed:
        raise StateCorrupt(
            f"no checkpoint in {root} verifies ({'; '.join(passed)}); restore one from a copy, or remove the folder "
            "to begin anew"
        )
    return None


def _folders(root: Path) -> Iterator[tuple[Path, int]]:
    """Give the checkpoints of a folder and their numbers, the newest first; behind one, what it was to replace."""
    names = {path.name.removeprefix(_PREFIX) for path in root.glob(f"{_PREFIX}*")}
    numbers = {int(name) for name in (name.removesuffix(_REPLACED) for name in names) if name.isdecimal()}
    for number in sorted(numbers, reverse=True):
        for suffix in ("", _REPLACED):
            if f"{number:012d}{suffix}" in names:
                yield root / f"{_PREFIX}{number:012d}{suffix}", number


def _verified(folder: Path, number: int) -> tuple[Arrays, Mapping[str, Any]]:
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        own = manifest.pop("sha256")
        told = manifest["tensors"]["size"], manifest["tensors"]["sha256"]
        fits = own == _checksum(_canonical(manifest)) and manifest["number"] == number
        facts = manifest["facts"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateCorrupt("its manifest cannot be read") from error
    if not fits:
        raise StateCorrupt("its manifest does not verify")
    if manifest["format"] != FORMAT:
        raise StateCorrupt(f"it has format {manifest['format']}, and this program reads format {FORMAT}")
    tensors = (folder / _TENSORS).read_bytes()
    if told != (len(tensors), _checksum(tensors)):
        raise StateCorrupt("its tensors do not verify")
    try:
        return load(tensors), facts
    except SafetensorError as error:
        raise StateCorrupt(f"its tensors cannot be read: {error}") from error


def _manifest(number: int, tensors: bytes, facts: Mapping[str, Any]) -> bytes:
    manifest = {
        "format": FORMAT,
        "number": number,
        "facts": facts,
        "tensors": {"size": len(tensors), "sha256": _checksum(tensors)},
    }
    return _canonical({**manifest, "sha256": _checksum(_canonical(manifest))})


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, allow_nan=False).encode()


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
