"""Every public log that can be loaded, by its name."""

from collections.abc import Mapping

from stream_mtl.errors import ConfigError
from stream_mtl.public.attribution import ATTRIBUTION
from stream_mtl.public.base import Log
from stream_mtl.public.cascade import CASCADE
from stream_mtl.public.criteo import CRITEO

LOGS: Mapping[str, Log] = {log.name: log for log in (CRITEO, ATTRIBUTION, CASCADE)}


def log_named(name: str) -> Log:
    """Return the log of that name. Raises ConfigError."""
    if name not in LOGS:
        raise ConfigError(f'there is no log "{name}" to load; choose one of {", ".join(LOGS)}')
    return LOGS[name]
