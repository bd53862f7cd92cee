"""The workload on which joins are measured: one long even stream, small windows, few faults."""

from stream_mtl.clock import DAY, HOUR, MINUTE, SECOND
from stream_mtl.generate.delays import Exponential
from stream_mtl.generate.options import GeneratorOptions


def performance_workload(impressions: int, seed: int = 0) -> GeneratorOptions:
    """Return a stream of 48 h of event time per million impressions, at an even rate.

    CTR 3 %, CVR 10 % of clicks, windows of 24 h, 2 % duplicates, 5 % out of order by up to 60 s; an exposure
    id of 16 characters, 8 categorical ids, 4 floats. `wire.frames` makes messages of it; what happened stands
    in `Generated.truth`.
    """
    return GeneratorOptions(
        impressions=impressions,
        duration=max(1, impressions * 2 * DAY // 1_000_000),
        seed=seed,
        ctr=0.03,
        cvr=0.10,
        click_delays=(Exponential(5 * MINUTE),),
        conversion_delays=(Exponential(3 * HOUR),),
        click_within=DAY,
        conversion_within=DAY,
        daily_amplitude=0.0,
        texts=False,
        history=0,
        lateness=MINUTE,
        duplicates=0.02,
        conflicts=0.0,
        disorder=0.05,
        max_disorder=60 * SECOND,
        late=0.0,
        missing=0.0,
        malformed=0.0,
    )
