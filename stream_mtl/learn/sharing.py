"""What a model is made from, and what a way of sharing must say: the part between the input and the towers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from torch import Generator, nn

from stream_mtl.errors import ConfigError
from stream_mtl.learn.bottom import INTERACTIONS, Layout
from stream_mtl.learn.layers import Block, Function, LayerOptions, bound

Value = TypeVar("Value")

PRIOR = 0.05
"""What a label's probability is taken for before anything was learned."""

BOTTOM = (64, 32)
"""Widths of a bottom that are not given, where nothing but the bottom is shared."""


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """The shape of a model."""

    name: str = "shared_bottom"  # of MODELS
    relation: str = "independent"  # of RELATIONS
    bottom: tuple[int, ...] | None = None  # widths of the bottom; (): none; None: BOTTOM, under experts none
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
    interaction: str = "none"  # of INTERACTIONS: what the bottom makes of the features besides its layers
    crosses: int = 2  # dcn, dcn_v2: cross layers
    experts: int = 4  # mmoe: how many
    own_experts: tuple[int, ...] = (2,)  # cgc, ple: of each task; one number, or one for each level
    shared_experts: tuple[int, ...] = (2,)  # cgc, ple: of all tasks; likewise
    expert: tuple[tuple[int, ...], ...] = ((64, 32),)  # widths of an expert; once, or for each level
    shared_expert: tuple[tuple[int, ...], ...] | None = None  # of a shared one; None: the same
    levels: int = 2  # ple
    gate: tuple[int, ...] = ()  # widths of a gate's hidden layers
    relation_widths: tuple[int, ...] = (32,)  # dbmtl, aitm: of each task's layers; gmsl: of the state
    relations: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # dbmtl: task -> its own widths
    parents: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # dbmtl: task -> what it reads; the task it is given, where not named
    conditional: str = "none"  # esmm, of CONDITIONALS: the loss on the conditional probability
    conditional_weight: float = 1.0  # and its weight
    calibrator: float = 0.6  # aitm: weight of the loss of a later task that is likelier than an earlier
    sizes: Mapping[str, int] = field(default_factory=dict)  # task -> numbers its head gives; else 1

    @property
    def layers(self) -> LayerOptions:
        """What every hidden layer has."""
        return LayerOptions(self.norm, self.activation, self.dropout)

    def fingerprint(self) -> str:
        """Return what weights are bound to, as text. Options that came later count where they are not the default."""
        plain = ModelOptions()
        found = {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if one.name in _FIRST or getattr(self, one.name) != getattr(plain, one.name)
        }
        return repr(sorted((found | {"bottom": widths_of_bottom(self)}).items()))


_FIRST = frozenset(
    ("name", "relation", "bottom", "towers", "outputs", "priors", "norm", "activation", "dropout")
)


@dataclass(frozen=True, slots=True)
class Body:
    """The shared part of a model, and what follows it."""

    sharing: (
        nn.Module
    )  # (B, input) to (B, width) read by all towers, or (B, towers, width) read by each its own
    width: int
    towers: tuple[int, ...]  # widths of each tower's own layers


class Over(Block):
    """One block over another."""

    def __init__(self, bottom: Block, experts: Block) -> None:
        super().__init__()
        self.bottom, self.experts = bottom, experts

    def bind(self) -> Function:
        """x to what the upper makes of what the lower makes of it."""
        bottom, experts = bound(self.bottom), bound(self.experts)
        return lambda x: experts(bottom(x))


def widths_of_bottom(options: ModelOptions) -> tuple[int, ...]:
    """Return the widths of the bottom's layers."""
    if options.bottom is not None:
        return options.bottom
    return BOTTOM if options.name in ("shared_bottom", "logistic") else ()


def bottom_of(inputs: Layout, options: ModelOptions, generator: Generator) -> Any:
    """Return the bottom, a block with a `width`: (B, input) to (B, width)."""
    made = INTERACTIONS[options.interaction]
    return made(inputs, widths_of_bottom(options), options.crosses, options.layers, generator)


def at_level(values: Sequence[Value], level: int, levels: int, what: str) -> Value:
    """Return the value of one level, of one value for all or of one for each. Raises ConfigError."""
    if len(values) not in (1, levels):
        raise ConfigError(
            f"model.{what}: {len(values)} values for {levels} levels; give one, or one for each"
        )
    return values[level % len(values)]
