"""What a configuration offers is what the product has: choices and defaults agree with those of `learn`."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from stream_mtl.config import declarations, sections
from stream_mtl.learn import features
from stream_mtl.learn.balance import BALANCES
from stream_mtl.learn.bottom import INTERACTIONS
from stream_mtl.learn.escm2 import CONDITIONALS
from stream_mtl.learn.inputs import POOLINGS
from stream_mtl.learn.layers import ACTIVATIONS, NORMS
from stream_mtl.learn.losses import DENOMINATORS, TRANSFORMS, VALUE_LOSSES
from stream_mtl.learn.models import MODELS, RELATIONS
from stream_mtl.learn.recipe import LearnOptions, ValueOptions
from stream_mtl.learn.sharing import ModelOptions

NAMES_IN_LEARN = {"learning_rate": "rate", "embedding_learning_rate": "row_rate"}
"""A key of a configuration -> what the same is called in `learn`, where that differs."""


@pytest.mark.parametrize(
    ("section", "key", "table"),
    [
        (sections.Model, "name", MODELS),
        (sections.Model, "relation", RELATIONS),
        (sections.Model, "interaction", INTERACTIONS),
        (sections.Model, "conditional", CONDITIONALS),
        (sections.Model, "norm", NORMS),
        (sections.Model, "activation", ACTIVATIONS),
        (sections.Learn, "denominator", DENOMINATORS),
        (sections.Learn, "balance", BALANCES),
        (declarations.Task, "loss", VALUE_LOSSES),
        (declarations.Task, "transform", TRANSFORMS),
        (declarations.Sequence, "pooling", POOLINGS),
    ],
)
def test_the_choices_of_a_key_are_what_there_is(
    section: type[BaseModel], key: str, table: Mapping[str, object]
) -> None:
    offered = get_args(section.model_fields[key].annotation)
    assert set(offered) == set(table), f"make the Literal of {section.__name__}.{key} name what the table has"


@pytest.mark.parametrize(
    ("section", "options", "not_here"),
    [
        # Weights, how values are learned, towers, priors and what reads what stand at each task.
        (sections.Learn, LearnOptions, {"weights", "values", "spaces", "row_weights"}),
        (sections.Model, ModelOptions, {"outputs", "priors", "relations", "parents", "sizes"}),
        (declarations.Task, ValueOptions, set()),
        (declarations.Categorical, features.Categorical, set()),
        (declarations.Sequence, features.Sequence, set()),
        (declarations.Numeric, features.Numeric, set()),
    ],
)
def test_the_defaults_of_a_section_are_those_of_what_it_becomes(
    section: type[BaseModel], options: type[Any], not_here: set[str]
) -> None:
    offered = {NAMES_IN_LEARN.get(key, key): field.default for key, field in section.model_fields.items()}
    wanted = _defaults(options)
    for name in wanted.keys() - not_here:
        assert name in offered, f"{section.__name__} lacks a key for {options.__name__}.{name}"
        assert offered[name] == wanted[name], f"{section.__name__}.{name}"


def test_the_configuration_never_imports_torch() -> None:
    program = "import sys, stream_mtl.config; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout == "False\n", ran.stderr


def _defaults(options: type[Any]) -> Mapping[str, Any]:
    return {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(options)
    }
