"""When knowing becomes teaching: delayed-feedback methods over transitions (never imports torch)."""

from stream_mtl.label.base import (
    CORRECTIONS,
    MATURED,
    TAKEN_BACK,
    Auxiliary,
    DelayedFeedback,
    Kind,
    Plain,
    Reading,
    Unhurried,
)
from stream_mtl.label.examples import Examples, Targets
from stream_mtl.label.methods import METHODS, make, parse
from stream_mtl.label.oracle import Truth
from stream_mtl.label.plan import Lesson, Plan, joint_name

__all__ = [
    "CORRECTIONS",
    "MATURED",
    "METHODS",
    "TAKEN_BACK",
    "Auxiliary",
    "DelayedFeedback",
    "Examples",
    "Kind",
    "Lesson",
    "Plain",
    "Plan",
    "Reading",
    "Targets",
    "Truth",
    "Unhurried",
    "joint_name",
    "make",
    "parse",
]
