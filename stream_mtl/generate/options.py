"""Every knob of the simulated marketplace."""

from dataclasses import dataclass
from math import inf

from stream_mtl.clock import DAY, HOUR, MINUTE, SECOND, Millis
from stream_mtl.errors import ConfigError
from stream_mtl.generate.delays import Exponential, Law, Mixture, Weibull
from stream_mtl.generate.rhythm import Sudden

EXPOSURE_KEY = ("exposure_id",)
PAIR_KEY = ("user_id", "item_id")
ROOTS = ("impression", "click")

# Event times are milliseconds; 200 years of them leave room for partitions and windows in an int64.
_LONGEST = 200 * 365 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorOptions:
    """What is generated. Times and durations are ms, shares lie between 0 and 1.

    Raises ConfigError for what cannot be.
    """

    # The stream
    impressions: int = 100_000  # exposures; those that get lost are among them
    start: Millis = 1_704_067_200_000  # 2024-01-01 00:00 UTC
    duration: Millis = 2 * DAY  # of the exposures; their clicks and conversions go on behind it
    seed: int = 0
    drain: bool = True  # False: the log ends with the last exposure, and what is still to come is not in it
    partitions: int = 1  # of each kind's log, by the chain key
    root: str = "impression"  # or "click": a log that begins with clicks; there are no other exposures

    # The catalogue
    users: int = 10_000
    items: int = 2_000
    categories: int = 20
    brands: int = 100
    new_items: float = 0.1  # share of the items that appear only as time goes on
    popularity: float = 0.8  # exponent of Zipf's law over users and over items; 0: all alike
    dims: int = 8  # of the latent tastes
    price_median: float = 30.0
    price_sigma: float = 1.2  # of the log of the price: the tail is heavy
    history: int = 5  # longest `recent_categories`; 0: no such feature
    texts: bool = True  # categories, brands, devices ... as texts; False: as numbers
    slate: int = 1  # candidates shown by one request; above 1 there are `request_id` and `position`

    # What people do
    ctr: float = 0.05  # clicks per exposure, before sudden changes; not where clicks are the root
    cvr: float = 0.10  # conversions per click, before sudden changes
    click_strength: float = 1.0  # standard deviation of the logit over exposures: what a model can find
    conversion_strength: float = 1.0
    task_correlation: float = 0.4  # between the weights of clicks and those of conversions
    position_effect: float = 0.5  # the click's logit falls by this times log(1 + position)
    value_elasticity: float = 1.0  # an order's mean amount is the price to this power
    value_sigma: float = 0.25  # of the log of the amount

    # What is taken back; at a rate of 0 there is no such kind of event
    refund_rate: float = 0.0  # refunds per order, sooner or later
    refund_strength: float = 1.0
    refund_partial: float = 0.3  # share of the refunds that give back a part only, any part
    refund_within: Millis = 14 * DAY
    refund_retracts: bool = False  # whether the configuration says that a refund takes its order back
    invalid_rate: float = 0.0  # share of clicks that are found to be none of a person's, sooner or later
    invalid_strength: float = 1.0
    invalid_within: Millis = DAY

    # How long they take; law v % len(laws) is that of category v
    click_delays: tuple[Law, ...] = (Mixture(Exponential(15 * SECOND), Exponential(8 * MINUTE), share=0.9),)
    conversion_delays: tuple[Law, ...] = (
        Mixture(Exponential(30 * MINUTE), Weibull(20 * HOUR, 0.8), share=0.4),
    )
    refund_delays: tuple[Law, ...] = (Weibull(4 * DAY, 1.5),)
    invalid_delays: tuple[Law, ...] = (Exponential(HOUR),)
    delay_spread: float = 0.3  # standard deviation of the log of the categories' own factors

    # Rhythm and drift
    daily_amplitude: float = 0.6  # of the traffic about its mean
    peak_hour: float = 20.0  # UTC
    drift_amplitude: float = 0.0  # each weight swings by this times its feature's spread
    drift_periods: tuple[Millis, Millis] = (6 * DAY, 20 * DAY)  # each weight's own lies between them
    drift_speed: float = 1.0  # all slow drift goes so many times as fast; 0: all stand where they begin
    delay_drift_amplitude: float = 0.0  # of the log of all delays
    delay_drift_period: Millis = 10 * DAY
    sudden: tuple[Sudden, ...] = ()

    # The chain that the truth is told for
    key: tuple[str, ...] = EXPOSURE_KEY  # or PAIR_KEY
    click_within: Millis = 30 * MINUTE
    conversion_within: Millis = 7 * DAY
    conversion_names_click: bool = False  # parent = "click_id": by name, not by key
    lateness: Millis = 2 * MINUTE
    remember: Millis = HOUR
    skew: Millis = 0  # of all that follows an exposure
    looks: tuple[Millis, ...] = ()  # after the click; the truth has the chances of an order at each

    # Keys that come back
    returning: float = 0.05  # share of requests that show a user once more what he was shown
    hot_keys: int = 0  # requests that are shown again and again
    hot_share: float = 0.0  # share of all requests that are one of them

    # What goes wrong
    duplicates: float = 0.01  # share of records that are sent twice
    conflicts: float = 0.001  # share of records whose id comes back with another payload
    repeat_within: Millis = 30 * SECOND  # a repeat is at most so much younger, and so much longer on its way
    disorder: float = 0.05  # share of records that arrive behind their time, within the lateness
    max_disorder: Millis = MINUTE
    late: float = 0.002  # share of records that arrive beyond the lateness
    late_by: Millis = 5 * MINUTE  # how far beyond it, on average
    missing: float = 0.002  # share of impressions that never arrive: what follows them are orphans
    malformed: float = 0.001  # share of records beside which one arrives that is none
    skewed: float = 0.0  # share of what follows an exposure whose clock is behind, within the skew

    def __post_init__(self) -> None:
        for names, low, high in _BOUNDS:
            for name in names.split():
                if not low <= getattr(self, name) <= high:
                    raise ConfigError(f"{name} must be between {low} and {high}, not {getattr(self, name)}")
        for wrong, message in self._clashes():
            if wrong:
                raise ConfigError(message)

    @property
    def end(self) -> Millis:
        """The time behind the last exposure."""
        return self.start + self.duration

    @property
    def chain_key(self) -> tuple[str, ...]:
        """The fields that all events of a chain share: by exposure, where clicks are the root, the click's id."""
        return ("click_id",) if self.root == "click" and self.key == EXPOSURE_KEY else self.key

    def _delays(self) -> tuple[tuple[Law, ...], ...]:
        return self.click_delays, self.conversion_delays, self.refund_delays, self.invalid_delays

    def _clashes(self) -> list[tuple[bool, str]]:
        return [
            (self.key not in (EXPOSURE_KEY, PAIR_KEY), f"key must be {EXPOSURE_KEY} or {PAIR_KEY}"),
            (self.root not in ROOTS, f"root must be {' or '.join(ROOTS)}"),
            (self.root == "click" and self.slate > 1, "slate must be 1 where clicks are the root"),
            (
                self.max_disorder > self.lateness,
                "max_disorder must not be above lateness: that would be late",
            ),
            (
                self.repeat_within > self.remember,
                "repeat_within must not be above remember: no repeat is known",
            ),
            (self.skew > self.remember, "skew must not be above remember"),
            (self.skewed > 0 and self.skew == 0, "skewed records need a skew to lie within"),
            (self.hot_share > 0 and self.hot_keys == 0, "hot_share needs hot_keys"),
            (self.slate > self.items * (1 - self.new_items), "slate must not be above the items there are"),
            (self.duplicates + self.conflicts > 1, "duplicates and conflicts together are above 1"),
            (self.late + self.missing > 1, "late and missing together are above 1"),
            (not all(self._delays()), "delays need at least one law"),
            (any(look < 1 for look in self.looks), "looks must be above zero"),
            (self.drift_periods[0] > self.drift_periods[1], "drift_periods must be (shortest, longest)"),
            (self.drift_periods[0] <= 0, "drift_periods must be above zero"),
        ]


_BOUNDS = (
    (
        "impressions users items categories brands dims slate partitions duration delay_drift_period",
        1,
        _LONGEST,
    ),
    ("start seed history hot_keys late_by repeat_within max_disorder lateness remember skew", 0, _LONGEST),
    ("click_within conversion_within refund_within invalid_within", 1, _LONGEST),
    ("ctr cvr", 1e-6, 1 - 1e-6),
    ("refund_rate invalid_rate", 0, 1 - 1e-6),
    ("new_items daily_amplitude returning hot_share duplicates conflicts", 0, 1),
    ("disorder late missing malformed skewed refund_partial", 0, 1),
    ("task_correlation", -1, 1),
    ("popularity click_strength conversion_strength price_sigma value_sigma delay_spread", 0, 10),
    ("refund_strength invalid_strength", 0, 10),
    ("drift_speed", 0, 1_000),
    ("drift_amplitude delay_drift_amplitude position_effect", 0, 10),
    ("price_median", 1e-6, inf),
    ("value_elasticity", -10, 10),
    ("peak_hour", 0, 24),
)
