"""Shared bottom: one multi-layer block that all towers read."""

from torch import Generator

from stream_mtl.learn.layers import Mlp
from stream_mtl.learn.sharing import Body, ModelOptions


def shared_bottom(width: int, towers: int, options: ModelOptions, generator: Generator) -> Body:
    """Return one block for all towers; with no widths, the towers read the input itself."""
    bottom = Mlp(width, options.bottom, options.layers, generator)
    return Body(bottom, bottom.width, options.towers)
