"""Bottoms: what is made of the features before anything is shared out, layers alone or beside an interaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Generator

from stream_mtl.learn.dcn import CrossMatrix, CrossVector, Dcn
from stream_mtl.learn.deepfm import DeepFm
from stream_mtl.learn.layers import LayerOptions, Mlp


@dataclass(frozen=True, slots=True)
class Layout:
    """The model's input: embedded features first, numbers after them."""

    width: int
    fields: tuple[int, ...] = ()  # width of every embedded feature, in order


Bottom: TypeAlias = Callable[[Layout, Sequence[int], int, LayerOptions, Generator], Any]
"""Layout, widths of the layers, cross layers, what a layer has -> a block with a `width`."""


def _layers(
    inputs: Layout, widths: Sequence[int], crosses: int, options: LayerOptions, generator: Generator
) -> Mlp:
    return Mlp(inputs.width, widths, options, generator)


def _deepfm(
    inputs: Layout, widths: Sequence[int], crosses: int, options: LayerOptions, generator: Generator
) -> DeepFm:
    return DeepFm(inputs.width, inputs.fields, widths, options, generator)


def _dcn(
    inputs: Layout, widths: Sequence[int], crosses: int, options: LayerOptions, generator: Generator
) -> Dcn:
    return Dcn(CrossVector(inputs.width, crosses, generator), inputs.width, widths, options, generator)


def _dcn_v2(
    inputs: Layout, widths: Sequence[int], crosses: int, options: LayerOptions, generator: Generator
) -> Dcn:
    return Dcn(CrossMatrix(inputs.width, crosses, generator), inputs.width, widths, options, generator)


INTERACTIONS: Mapping[str, Bottom] = {
    "none": _layers,
    "deepfm": _deepfm,
    "dcn": _dcn,
    "dcn_v2": _dcn_v2,
}
"""What stands beside the bottom's layers; with none and no layers the bottom is the identity."""
