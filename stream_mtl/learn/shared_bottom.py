"""Shared bottom: one block that all towers read (Caruana 1997)."""

from torch import Generator

from stream_mtl.learn.bottom import Layout
from stream_mtl.learn.sharing import Body, ModelOptions, bottom_of


def shared_bottom(inputs: Layout, towers: int, options: ModelOptions, generator: Generator) -> Body:
    """Return one block for all towers; with no widths, the towers read the input itself."""
    bottom = bottom_of(inputs, options, generator)
    return Body(bottom, bottom.width, options.towers)
