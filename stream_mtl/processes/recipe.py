"""From a configuration to the recipe that learners and scorers are built from (loads torch)."""

from collections.abc import Callable, Mapping

import torch

from stream_mtl.config import declarations
from stream_mtl.config.sections import Config
from stream_mtl.label.plan import Space, lives
from stream_mtl.learn.features import Categorical, Feature, FeatureSpec, Numeric, Sequence
from stream_mtl.learn.recipe import LearnOptions, Recipe, ValueOptions
from stream_mtl.learn.sharing import ModelOptions
from stream_mtl.processes.declared import Declared


def recipe_of(made: Declared) -> Recipe:
    """Return the recipe that a configuration declares. Raises ConfigError."""
    config = made.config
    ends = lives(made.plan, made.chain)
    features = {name: _feature(declared) for name, declared in config.features.items()}
    return Recipe(
        FeatureSpec(features, config.learn.seed),
        made.plan.tasks,
        made.plan.methods,
        _model(config),
        _learn(config),
        {lesson.name: ends[lesson.name] for lesson in made.plan.lessons if lesson.joint},
    )


def prepare_torch(config: Config) -> None:
    """Set what makes equal runs give equal bits."""
    torch.set_num_threads(config.learn.threads)
    torch.set_deterministic_debug_mode(
        "error"
    )  # use_deterministic_algorithms, without the 2 s of importing a compiler


def _feature(declared: declarations.AnyFeature) -> Feature:
    return _FEATURES[declared.type](**declared.model_dump(exclude={"type"}))


_FEATURES: Mapping[str, Callable[..., Feature]] = {
    "categorical": Categorical,
    "numeric": Numeric,
    "sequence": Sequence,
}


def _model(config: Config) -> ModelOptions:
    towers = {name: task.tower for name, task in config.tasks.items() if task.tower is not None}
    priors = {name: task.prior for name, task in config.tasks.items()}
    relations = {n: t.relation_widths for n, t in config.tasks.items() if t.relation_widths is not None}
    parents = {name: task.parents for name, task in config.tasks.items() if task.parents is not None}
    shape = config.model.model_dump()
    return ModelOptions(**shape, outputs=towers, priors=priors, relations=relations, parents=parents)


def _learn(config: Config) -> LearnOptions:
    learn, tasks = config.learn, config.tasks
    return LearnOptions(
        batch_size=learn.batch_size,
        rate=learn.learning_rate,
        row_rate=learn.embedding_learning_rate,
        denominator=learn.denominator,
        balance=learn.balance,
        weights={name: task.weight for name, task in tasks.items()},
        values={
            name: ValueOptions(task.loss, task.transform, task.classes, task.focal)
            for name, task in tasks.items()
        },
        row_weights={name: task.row_weight for name, task in tasks.items() if task.row_weight is not None},
        spaces={
            name: Space(task.space, task.in_space_weight, task.out_space_weight)
            for name, task in tasks.items()
            if task.space is not None
        },
        clip_norm=learn.clip_norm,
        evict_every=learn.evict_every,
        predict_rows=learn.predict_rows,
        seed=learn.seed,
    )
