"""AITM: what a task has learned of a row is transferred to the task after it, by attention over two things.

Xi et al., KDD 2021: q_t = tower_t(h); for a task with one before it, info = MLP(q of that one, after its own transfer), pair =
(q_t, info), (B, 2, d); with Q, K, V = pair W (no bias), a = softmax over the two of (Q * K).sum / sqrt(d), and q_t := sum a V.
logit_t = Linear(MLP_t(q_t)). A loss holds later probabilities below earlier ones: calibrator * max(p_t - p_before, 0).

AITM's probabilities are those of events one after another over all exposures. So here a label that is given another task is
taught over all exposures, and its conditional probability is the ratio of the two. The task before is the one that
is given; where no task is given any, it is the one declared before.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import logsigmoid

from stream_mtl.join.spec import TaskSpec
from stream_mtl.label.plan import joint_name, products
from stream_mtl.learn.esmm import product
from stream_mtl.learn.independent import TaskHeads, Unrelated
from stream_mtl.learn.layers import Mlp, Stack
from stream_mtl.learn.relation import Ends, Logits, given_of, path
from stream_mtl.learn.sharing import ModelOptions

_LEAST = -1e-6
"""Log of the greatest conditional probability that is read off, where the later event seems the likelier."""


class Aitm(Unrelated):
    """A transfer into every task that has one before it, then layers and a head for each."""

    def __init__(self, ends: Ends, generator: Generator) -> None:
        super().__init__()
        width, layers = ends.width, ends.options.layers
        self._before = before_of(ends.tasks)
        self._order = in_order(self._before)
        later = [name for name in self._order if self._before[name] is not None]
        bound = 1 / math.sqrt(width)
        self.infos = nn.ModuleList(Mlp(width, (width,), layers, generator) for _ in later)
        shape = len(later), width, 3 * width
        self.attention = nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))
        self.towers = Stack(len(ends.tasks), width, ends.options.relation_widths, layers, generator)
        here = replace(ends, width=self.towers.width, starts=_starts(ends))
        self.heads = TaskHeads(here, ends.names, range(len(ends.tasks)), generator)
        self._names, self._reads, self._later = ends.names, ends.reads, later
        self._joint = self.joint(ends.tasks)
        labels = {task.name for task in ends.tasks if not task.regression}
        pairs = {name: before for name, before in self._before.items() if before is not None}
        self._calibrated = {name: before for name, before in pairs.items() if {name, before} <= labels}
        self._calibrator = ends.options.calibrator

    @staticmethod
    def joint(tasks: Sequence[TaskSpec]) -> tuple[str, ...]:
        """Return every label that is given another task."""
        return products(tasks)

    @staticmethod
    def reading(tasks: Sequence[TaskSpec], options: ModelOptions) -> Mapping[str, tuple[str, ...]]:
        """Return the task before each."""
        return {name: () if before is None else (before,) for name, before in before_of(tasks).items()}

    def weights_of(self, name: str) -> tuple[int, int]:
        """Return the number of weights of the transfer into a task, and of its layers after it."""
        after = sum(weight.numel() for weight in self.towers.parameters()) // len(self._names)
        if name not in self._later:
            return 0, after
        at = self._later.index(name)
        info = sum(weight.numel() for weight in self.infos[at].parameters())
        return info + self.attention[at].numel(), after

    def bind(self) -> Callable[[Tensor], dict[str, Tensor]]:
        """The outputs of towers to the tasks' logits."""
        transfer, towers, heads = self._bind_transfer(), self.towers.bind(), self.heads.bind()
        names, joint, before = self._names, self._joint, self._before

        def answer(inputs: Tensor) -> dict[str, Tensor]:
            moved = transfer(inputs)
            logits = heads(towers(torch.stack([moved[name] for name in names], dim=1)))
            whole = {joint_name(name): logits[name] for name in joint}
            conditional = {name: ratio(logits[name], logits[str(before[name])]) for name in joint}
            return logits | conditional | whole

        return answer

    def transferred(self, towers: Tensor) -> dict[str, Tensor]:
        """Return q_t of every task after its transfer, (B, width) each."""
        return self._bind_transfer()(towers)

    def teach(self, losses: Mapping[str, Tensor], logits: Logits) -> dict[str, Tensor]:
        """Add the calibrator to the loss of every label that has one before it."""
        found = dict(losses)
        for name, before in self._calibrated.items():
            own, other = self._whole(name), self._whole(before)
            excess = (logits[own].sigmoid() - logits[other].sigmoid()).clamp(min=0)
            found[own] = found[own] + self._calibrator * excess
        return found

    def _whole(self, name: str) -> str:
        return joint_name(name) if name in self._joint else name

    def _bind_transfer(self) -> Callable[[Tensor], dict[str, Tensor]]:
        order, before = self._order, self._before
        reads = dict(zip(self._names, self._reads, strict=True))
        infos = [info.bind() for info in self.infos if isinstance(info, Mlp)]
        steps = dict(zip(self._later, zip(infos, self.attention.unbind(0), strict=True), strict=True))
        scale = 1 / math.sqrt(self.attention.shape[1])

        def transfer(towers: Tensor) -> dict[str, Tensor]:
            own = towers.unbind(1)
            moved: dict[str, Tensor] = {}
            for name in order:
                q, other = own[reads[name]], before[name]
                if other is not None:
                    info, weight = steps[name]
                    query, key, value = (torch.stack([q, info(moved[other])], dim=1) @ weight).chunk(3, dim=2)
                    share = torch.softmax((query * key).sum(2) * scale, dim=1)
                    q = (share.unsqueeze(2) * value).sum(1)
                moved[name] = q
            return moved

        return transfer


def ratio(later: Tensor, earlier: Tensor) -> Tensor:
    """Return the logit of sigmoid(later) / sigmoid(earlier), of just less than one where that is more. (B,)"""
    log_p = (logsigmoid(later) - logsigmoid(earlier)).clamp(max=_LEAST)
    return log_p - (-log_p.expm1()).log()


def _starts(ends: Ends) -> dict[str, float]:
    """Return the outputs at first: of a label that is given another, that of the whole chain."""
    found = dict(ends.starts)
    for name in products(ends.tasks):
        chain = [torch.tensor(ends.starts[step], dtype=torch.float64) for step in path(ends.tasks, name)]
        found[name] = float(product(chain))
    return found


def before_of(tasks: Sequence[TaskSpec]) -> dict[str, str | None]:
    """Return the task before each."""
    given = given_of(tasks)
    if any(given.values()):
        return {name: some[0] if some else None for name, some in given.items()}
    names = list(given)
    return dict(zip(names, [None, *names], strict=False))


def in_order(before: Mapping[str, str | None]) -> list[str]:
    """Return the tasks so that each comes after the one before it."""
    found: list[str] = []
    while len(found) < len(before):
        found += [n for n, other in before.items() if n not in found and (other is None or other in found)]
    return found
