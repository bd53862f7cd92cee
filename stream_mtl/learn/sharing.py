"""What a way of sharing is given, and what it must say: the part of a model between the input and the towers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from stream_mtl.learn.layers import LayerOptions

PRIOR = 0.05
"""What a label's probability is taken for before anything was learned."""


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """The shape of a model."""

    name: str = "shared_bottom"  # of MODELS
    relation: str = "independent"  # of RELATIONS
    bottom: tuple[int, ...] = (64, 32)  # widths of what the tasks share; () is nothing: towers read the input
    towers: tuple[int, ...] = (32,)  # widths of each tower
    outputs: Mapping[str, str] = field(
        default_factory=dict
    )  # task -> tower; a task that is not named has its own
    priors: Mapping[str, float] = field(
        default_factory=dict
    )  # label task -> what is predicted before anything was learned; PRIOR where not named
    norm: str = "layer"  # of NORMS
    activation: str = "relu"  # of ACTIVATIONS
    dropout: float = 0.0

    @property
    def layers(self) -> LayerOptions:
        """What every hidden layer has."""
        return LayerOptions(self.norm, self.activation, self.dropout)


@dataclass(frozen=True, slots=True)
class Body:
    """The shared part of a model, and what follows it."""

    sharing: (
        nn.Module
    )  # (B, input) to (B, width) read by all towers, or (B, towers, width) read by each its own
    width: int
    towers: tuple[int, ...]  # widths of each tower's own layers
