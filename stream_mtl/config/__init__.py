"""One configuration for all processes: a TOML file, under the environment, under the command line."""

from stream_mtl.config.chains import chain_spec, limits, window
from stream_mtl.config.columns import event_specs, read_schemas
from stream_mtl.config.formats import file_formats
from stream_mtl.config.labels import is_labelled, labels
from stream_mtl.config.load import Loaded, examine, load
from stream_mtl.config.sections import Config

__all__ = [
    "Config",
    "Loaded",
    "chain_spec",
    "event_specs",
    "examine",
    "file_formats",
    "is_labelled",
    "labels",
    "limits",
    "load",
    "read_schemas",
    "window",
]
