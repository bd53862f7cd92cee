"""Who comes and what there is to see: users, items, and the contexts in which one meets the other."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import DAY, HOUR, Millis
from stream_mtl.generate.options import GeneratorOptions
from stream_mtl.generate.seeds import random

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

DEVICES = ("phone", "tablet", "desktop", "tv")
PLACEMENTS = ("home", "search", "basket", "mail", "article")
COUNTRIES = ("AT", "BR", "CH", "DE", "ES", "FR", "GB", "IN", "IT", "JP", "PL", "US")

_DEVICE_SHARES = (0.6, 0.1, 0.25, 0.05)
_FAVOURITES = 3


@dataclass(frozen=True, slots=True)
class Context:
    """What is known when a candidate is shown, row by row."""

    user: Ints  # (n,)
    item: Ints  # (n,)
    device: Ints  # (n,) place in DEVICES
    placement: Ints  # (n,) place in PLACEMENTS
    position: Ints  # (n,) 0 is the top of the slate
    request: Ints  # (n,) rows of one request stand together
    relevance: Floats  # (n,) what some earlier stage thought of the pair, 0 to 1
    history: Ints  # (n, h) categories seen lately, -1 where there were fewer

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Ints | slice) -> "Context":
        """Return some rows."""
        return Context(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The users and the items, as they are once and for all."""

    user_taste: Floats  # (users, dims)
    user_country: Ints  # (users,)
    user_activity: Floats  # (users,) visits a week
    favourites: Ints  # (users, 3) the categories nearest to the user's taste
    users: Floats  # (users,) cumulated popularity
    item_taste: Floats  # (items, dims)
    item_category: Ints  # (items,)
    item_brand: Ints  # (items,)
    item_price: Floats  # (items,)
    item_born: Ints  # (items,) ms
    items: Floats  # (items,) cumulated popularity
    old_items: Floats  # (items,) the same over those that are there from the start


def catalogue(options: GeneratorOptions) -> Catalogue:
    """Return the users and items of a seed."""
    rng = random(options.seed, "catalogue")
    centres = rng.standard_normal((options.categories, options.dims))
    category = rng.integers(0, options.categories, options.items)
    own = rng.standard_normal((options.items, options.dims))
    taste = rng.standard_normal((options.users, options.dims))
    nearest = np.argsort(-(taste @ centres.T), axis=1, kind="stable")[:, :_FAVOURITES]
    level = rng.normal(0, 0.5, options.categories)[category]
    spread = rng.standard_normal(options.items)
    born = _births(options, rng)
    popular = _popularity(options.items, options.popularity, rng)
    return Catalogue(
        user_taste=taste,
        user_country=rng.integers(0, len(COUNTRIES), options.users),
        user_activity=np.asarray(np.exp(rng.normal(1.0, 0.8, options.users)).round(3), np.float64),
        favourites=nearest,
        users=np.cumsum(_popularity(options.users, options.popularity, rng)),
        item_taste=np.sqrt(0.5) * (centres[category] + own),
        item_category=category,
        item_brand=rng.integers(0, options.brands, options.items),
        item_price=np.round(options.price_median * np.exp(options.price_sigma * (level + spread)), 2),
        item_born=born,
        items=np.cumsum(popular),
        old_items=np.cumsum(np.where(born <= options.start, popular, 0.0)),
    )


def draw_pairs(
    people: Catalogue, requests: int, slate: int, time: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Return users (requests,) and the items they are shown (requests, slate): distinct, none unborn."""
    users = _draw(people.users, (requests,), rng)
    items = _draw(people.items, (requests, slate), rng)
    unborn = people.item_born[items] > time[:, None]
    items[unborn] = _draw(people.old_items, (int(unborn.sum()),), rng)
    if slate > 1:
        _make_distinct(items, people, rng)
    return users, items


def context(
    people: Catalogue, options: GeneratorOptions, users: Ints, items: Ints, rng: np.random.Generator
) -> Context:
    """Return the rows of requests, by request and position: users (requests,), items (requests, slate)."""
    requests, slate = items.shape
    user, item = np.repeat(users, slate), items.reshape(-1)
    noise = rng.standard_normal(len(item))
    device = np.searchsorted(np.cumsum(_DEVICE_SHARES), rng.random(requests) * sum(_DEVICE_SHARES))
    return Context(
        user=user,
        item=item,
        device=np.repeat(device.clip(max=len(DEVICES) - 1), slate),
        placement=np.repeat(rng.integers(0, len(PLACEMENTS), requests), slate),
        position=np.tile(np.arange(slate), requests),
        request=np.repeat(np.arange(requests), slate),
        relevance=np.round(1 / (1 + np.exp(-affinity(people.user_taste, people, user, item) - noise)), 4),
        history=np.repeat(_history(people, options, users, rng), slate, axis=0),
    )


def affinity(user_taste: Floats, people: Catalogue, user: Ints, item: Ints) -> Floats:
    """Return (n,) how near the item is to the user's taste, about standard normal over all pairs."""
    products = np.einsum("nd,nd->n", user_taste[user], people.item_taste[item])
    return np.asarray(products / np.sqrt(user_taste.shape[1]))


def hour(time: Ints) -> Ints:
    """Return the hour of the day, UTC."""
    return time // HOUR % 24


def age_days(people: Catalogue, item: Ints, time: Ints) -> Floats:
    """Return (n,) how long the items have been there."""
    return np.asarray(np.round(np.maximum(time - people.item_born[item], 0) / DAY, 3))


def _births(options: GeneratorOptions, rng: np.random.Generator) -> Ints:
    """Return when each item appears: most before the start, some as time goes on."""
    old = options.start - (rng.exponential(60.0, options.items) * DAY).astype(np.int64)
    new = options.start + (rng.random(options.items) * options.duration).astype(np.int64)
    count = min(round(options.new_items * options.items), options.items - 1)
    return np.where(rng.permutation(options.items) < count, new, old)


def _popularity(n: int, exponent: float, rng: np.random.Generator) -> Floats:
    return np.asarray(rng.permutation(np.arange(1, n + 1, dtype=np.float64) ** -exponent))


def _draw(cumulated: Floats, shape: tuple[int, ...], rng: np.random.Generator) -> Ints:
    place = np.searchsorted(cumulated, rng.random(shape) * cumulated[-1], side="right")
    return np.asarray(place.clip(max=len(cumulated) - 1))


def _make_distinct(items: Ints, people: Catalogue, rng: np.random.Generator) -> None:
    """Replace what a slate shows twice, by chance first and at last by the old items in turn."""
    for _ in range(8):
        twice = _repeats(items)
        if not twice.any():
            return
        items[twice] = _draw(people.old_items, (int(twice.sum()),), rng)
    old = np.flatnonzero(np.diff(people.old_items, prepend=0.0) > 0)
    full = np.flatnonzero(_repeats(items).any(axis=1))
    first = rng.integers(0, len(old), len(full))
    items[full] = old[(first[:, None] + np.arange(items.shape[1])) % len(old)]


def _repeats(items: Ints) -> npt.NDArray[np.bool_]:
    order = np.argsort(items, axis=1, kind="stable")
    ordered = np.take_along_axis(items, order, axis=1)
    again = np.zeros(items.shape, np.bool_)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    return again


def _history(people: Catalogue, options: GeneratorOptions, users: Ints, rng: np.random.Generator) -> Ints:
    """Return (requests, h) categories: mostly of the user's favourites, as many as he has looked at."""
    shape = (len(users), options.history)
    if options.history == 0:
        return np.empty(shape, np.int64)
    nth = rng.integers(0, min(_FAVOURITES, options.categories), shape)
    seen = people.favourites[users[:, None], nth]
    seen = np.where(rng.random(shape) < 0.7, seen, rng.integers(0, options.categories, shape))
    length = rng.integers(0, options.history + 1, len(users))
    return np.where(np.arange(options.history) < length[:, None], seen, -1)


def constant_time(n: int, time: Millis | Ints) -> Ints:
    """Return (n,) times, of one time or of n."""
    return np.broadcast_to(np.asarray(time, np.int64), (n,))
