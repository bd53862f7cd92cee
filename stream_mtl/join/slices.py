"""Where facts that are worked through at once must be cut, so that one pass in the order of the kinds is exact."""

import numpy as np
import numpy.typing as npt

from stream_mtl.clock import Millis
from stream_mtl.join.search import Ints, runs


def cut_times(groups: npt.NDArray[np.generic], time: Ints, span: Millis) -> list[Millis]:
    """Return the times, ascending, before which to cut: then no two rows of a group are more than `span` apart.

    Each part is as long as it can be. Rows (n,) may come in any order.
    """
    if len(time) == 0 or int(time.max()) - int(time.min()) <= span:
        return []
    order = np.lexsort((time, groups))
    groups, time = groups[order], time[order]
    cuts: list[Millis] = []
    while True:
        begins = runs(groups)
        apart = time - time[begins][np.cumsum(begins) - 1] > span
        if not apart.any():
            return cuts
        cuts.append(int(time[apart].min()))
        left = time >= cuts[-1]
        groups, time = groups[left], time[left]
