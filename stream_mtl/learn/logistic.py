"""Logistic regression over the embedded features: no hidden layer, the baseline for all the others."""

from torch import Generator, nn

from stream_mtl.learn.sharing import Body, ModelOptions


def logistic(width: int, towers: int, options: ModelOptions, generator: Generator) -> Body:
    """Return a body without layers: every output is linear in the input, whatever widths the options have."""
    return Body(nn.Identity(), width, ())
