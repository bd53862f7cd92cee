"""Every error of the product, and which exit code and remedy an operator gets.

    StreamMtlError
    |- ConfigError            the configuration is wrong: nothing was started
    |- DataError              a file or message cannot be what it claims to be
    |  |- SchemaError         a schema cannot be used: recursive, zero-width, or without a needed field
    |  '- BlockCorrupt        a block of the log fails its checksum or its header
    |- StateError             state on disk and configuration or log do not belong together
    |  |- StateCorrupt        a checkpoint or snapshot fails verification
    |  |- FingerprintMismatch the state was made by another chain, feature table or model
    |  '- PositionOutOfRange  the log does not hold the position that the state asks for
    |- Fenced                 another owner has taken over; this process must stop
    '- Unavailable            a service or disk does not answer; trying again can help
       '- NotWritten          a disk takes no more: nothing was written, the same may be written again

Exit codes: 1 any other, 2 ConfigError, 3 DataError, 4 StateError, 5 Fenced, 6 Unavailable, 8 PositionOutOfRange; 7
(`HUNG`) is no error but the watchdog's: a call hung, every thread's stack is on stderr, and nothing was cleaned up.

A message says what, where, and what to do. Bad *data* is not here: it is a value (`Malformed`), counted and kept.
"""

from typing import Final

HUNG: Final = 7
"""The exit code of a process that the watchdog has ended."""


class StreamMtlError(Exception):
    """The root of the tree."""

    exit_code = 1
    retriable = False


class ConfigError(StreamMtlError):
    """The configuration is wrong."""

    exit_code = 2


class DataError(StreamMtlError):
    """Input as a whole (a file, a schema) cannot be used."""

    exit_code = 3


class SchemaError(DataError):
    """A schema is unsafe or lacks a field that the configuration names."""


class BlockCorrupt(DataError):
    """A block of the log does not verify."""


class StateError(StreamMtlError):
    """State and configuration, or state and log, do not belong together."""

    exit_code = 4


class StateCorrupt(StateError):
    """A checkpoint or snapshot does not verify."""


class FingerprintMismatch(StateError):
    """The state was made under another configuration."""


class PositionOutOfRange(StateError):
    """The log does not reach back, or does not reach forward, to the wanted position."""

    exit_code = 8


class Fenced(StreamMtlError):
    """A newer owner has taken over."""

    exit_code = 5


class Unavailable(StreamMtlError):
    """Something outside does not answer."""

    exit_code = 6
    retriable = True


class NotWritten(Unavailable):
    """A disk does not take it. Nothing of it counts as written, and whoever wanted it may write the same again."""
