"""How a context becomes a logit: one weight for every value of every feature, tastes, and a few numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.people import (
    COUNTRIES,
    DEVICES,
    PLACEMENTS,
    Catalogue,
    Context,
    affinity,
    age_days,
    hour,
)
from stream_mtl.generate.rhythm import Weights

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# How much each feature says: the standard deviation of its weights, before all are scaled together.
_TABLES: Mapping[str, float] = {
    "user": 0.3,
    "item": 0.4,
    "category": 0.5,
    "brand": 0.2,
    "device": 0.3,
    "country": 0.2,
    "placement": 0.3,
    "hour": 0.2,
}
# Of the standardised numbers, in the order of `_numbers`; a high price draws looks and repels orders.
_CLICK_NUMBERS = (0.1, 0.1, -0.2, 0.3, 0.4, 0.6)
_CONVERSION_NUMBERS = (-0.4, 0.3, -0.1, 0.2, 0.2, 0.5)
# What is dear, new and not to the user's taste goes back; who clicks and is none acts often, on anything.
_REFUND_NUMBERS = (0.5, -0.1, -0.2, -0.2, -0.3, -0.4)
_INVALID_NUMBERS = (0.0, 0.6, 0.0, -0.4, -0.4, -0.3)
_NUMBER_SWING = 0.25


@dataclass(frozen=True, slots=True)
class Seen:
    """A context, ready to be weighed."""

    values: Mapping[str, Ints]  # (n,) each
    numbers: Floats  # (n, 5) about standard normal
    user: Ints
    item: Ints

    def __len__(self) -> int:
        return len(self.user)


def see(people: Catalogue, options: GeneratorOptions, context: Context, time: Ints) -> Seen:
    """Return what all responses look at."""
    values = {
        "user": context.user,
        "item": context.item,
        "category": people.item_category[context.item],
        "brand": people.item_brand[context.item],
        "device": context.device,
        "country": people.user_country[context.user],
        "placement": context.placement,
        "hour": hour(time),
    }
    price = np.log(people.item_price[context.item] / options.price_median) / max(options.price_sigma, 1e-9)
    activity = (np.log(people.user_activity[context.user]) - 1.0) / 0.8
    age = np.log1p(age_days(people, context.item, time)) - 3.5
    relevance = 4 * (context.relevance - 0.5)
    numbers = (price.clip(-4, 4), activity, age, relevance, _familiar(context, values["category"]))
    return Seen(values, np.stack(numbers, axis=1), context.user, context.item)


@dataclass(frozen=True, slots=True)
class Response:
    """One decision: to click, to buy, to give back."""

    tables: Mapping[str, Weights]
    numbers: Weights  # of the five numbers, and of the taste
    taste: Floats  # (users, dims)
    scale: float = 1.0
    intercept: float = 0.0

    def raw(self, people: Catalogue, seen: Seen, elapsed: Ints) -> Floats:
        """Return (n,) the sum of what every feature says, so long after the start."""
        near = affinity(self.taste, people, seen.user, seen.item)
        every = np.arange(len(self.numbers.mean))
        said = self.numbers.at(every[:, None], elapsed)  # (6, n), or (6, 1) where nothing swings
        total = said[-1] * near
        for number in range(seen.numbers.shape[1]):
            total = total + said[number] * seen.numbers[:, number]
        for name, weights in self.tables.items():
            total = total + weights.at(seen.values[name], elapsed)
        return np.asarray(total)

    def logit(self, people: Catalogue, seen: Seen, elapsed: Ints) -> Floats:
        """Return (n,) the calibrated logit."""
        return self.intercept + self.scale * self.raw(people, seen, elapsed)


def responses(
    options: GeneratorOptions, people: Catalogue, rng: np.random.Generator
) -> tuple[Response, Response]:
    """Return how people click and how they buy, not calibrated yet."""
    sizes = _sizes(options)
    click = {name: rng.standard_normal(size) for name, size in sizes.items()}
    like = options.task_correlation
    other = np.sqrt(1 - like**2)
    buy = {name: like * click[name] + other * rng.standard_normal(size) for name, size in sizes.items()}
    taste = like * people.user_taste + other * rng.standard_normal(people.user_taste.shape)
    return (
        _response(options, click, _CLICK_NUMBERS, people.user_taste, rng),
        _response(options, buy, _CONVERSION_NUMBERS, taste, rng),
    )


def taken_back(options: GeneratorOptions, people: Catalogue, kind: str, rng: np.random.Generator) -> Response:
    """Return how orders are given back (`refund`), or clicks are found out (`invalid_click`), not calibrated yet."""
    means = {name: rng.standard_normal(size) for name, size in _sizes(options).items()}
    numbers = {"refund": _REFUND_NUMBERS, "invalid_click": _INVALID_NUMBERS}[kind]
    return _response(options, means, numbers, people.user_taste, rng)


def calibrated(
    response: Response, raw: Floats, weight: Floats, shift: Floats, rate: float, strength: float
) -> Response:
    """Return the response with that mean probability, weighed, and that spread of its logit over a sample.

    raw, weight, shift: (n,); `shift` is what else is added to the logit.
    """
    spread = float(raw.std())
    scale = strength / spread if spread > 0 else 0.0
    low, high = -60.0, 60.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        mean = np.average(probability(middle + scale * raw + shift), weights=weight)
        low, high = (middle, high) if mean < rate else (low, middle)
    return replace(response, scale=scale, intercept=(low + high) / 2)


def probability(logit: Floats) -> Floats:
    """Return the sigmoid of a logit."""
    return np.asarray(1 / (1 + np.exp(-logit)))


def _response(
    options: GeneratorOptions,
    means: Mapping[str, Floats],
    numbers: tuple[float, ...],
    taste: Floats,
    rng: np.random.Generator,
) -> Response:
    def weights(mean: Floats, spread: float) -> Weights:
        swing, periods = options.drift_amplitude * spread, options.drift_periods
        return Weights.draw(mean, swing, periods, rng, options.drift_speed)

    tables = {name: weights(_TABLES[name] * mean, _TABLES[name]) for name, mean in means.items()}
    return Response(tables, weights(np.array(numbers), _NUMBER_SWING), taste)


def _sizes(options: GeneratorOptions) -> dict[str, int]:
    return {
        "user": options.users,
        "item": options.items,
        "category": options.categories,
        "brand": options.brands,
        "device": len(DEVICES),
        "country": len(COUNTRIES),
        "placement": len(PLACEMENTS),
        "hour": 24,
    }


def _familiar(context: Context, category: Ints) -> Floats:
    """Return (n,) which part of the user's history is of the item's category, about standardised."""
    if context.history.shape[1] == 0:
        return np.zeros(len(context))
    seen = (context.history >= 0).sum(axis=1)
    same = (context.history == category[:, None]).sum(axis=1)
    return np.asarray(4 * same / np.maximum(seen, 1) - 0.3)
