"""Logistic regression over the embedded features: no hidden layer, the baseline for all the others."""

from torch import Generator, nn

from stream_mtl.learn.bottom import Layout
from stream_mtl.learn.sharing import Body, ModelOptions


def logistic(inputs: Layout, towers: int, options: ModelOptions, generator: Generator) -> Body:
    """Return a body without layers: every output is linear in the input, whatever the options have besides."""
    return Body(nn.Identity(), inputs.width, ())
