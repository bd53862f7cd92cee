"""ESMM: a task given another is taught over all exposures, through the product of the probabilities on its chain.

Ma et al., SIGIR 2018. There is no loss on the conditional probability alone, unless one is asked for (`CONDITIONALS`).
The product is kept in log space: with a, b the logits, log p = ls(a) + ls(b) and log(1 - p) = logaddexp(ls(-a), ls(a) +
ls(-b)), ls = logsigmoid, so that neither the loss nor its gradient is lost where a probability leaves the range of float32.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import Generator, Tensor
from torch.nn.functional import logsigmoid

from stream_mtl.join.spec import TaskSpec
from stream_mtl.label.plan import joint_name, products
from stream_mtl.learn.escm2 import CONDITIONALS, imputed_name
from stream_mtl.learn.independent import TaskHeads, Unrelated
from stream_mtl.learn.relation import Ends, Logits, given_of, path
from stream_mtl.learn.sharing import ModelOptions


class Esmm(Unrelated):
    """One head a task, and beside it the logit of the product for every label that is given another task."""

    def __init__(self, ends: Ends, generator: Generator) -> None:
        super().__init__()
        more = self.besides(ends.tasks, ends.options)
        blocks = [*ends.reads, *(ends.towers[name] for name in more)]
        self.heads = TaskHeads(ends, [*ends.names, *more], blocks, generator)
        self._paths = {name: path(ends.tasks, name) for name in self.joint(ends.tasks)}
        self._conditional = CONDITIONALS[ends.options.conditional]
        self._weight = ends.options.conditional_weight

    @staticmethod
    def joint(tasks: Sequence[TaskSpec]) -> tuple[str, ...]:
        """Return every label that is given another task."""
        return products(tasks)

    @staticmethod
    def apart(tasks: Sequence[TaskSpec], options: ModelOptions) -> tuple[str, ...]:
        """Return them again, where there is a loss on the conditional probability."""
        return () if CONDITIONALS[options.conditional] is None else products(tasks)

    @staticmethod
    def besides(tasks: Sequence[TaskSpec], options: ModelOptions) -> tuple[str, ...]:
        """Return the imputed labels of the doubly robust form."""
        conditional = CONDITIONALS[options.conditional]
        imputes = conditional is not None and conditional.imputes
        return tuple(map(imputed_name, products(tasks))) if imputes else ()

    @staticmethod
    def reading(tasks: Sequence[TaskSpec], options: ModelOptions) -> Mapping[str, tuple[str, ...]]:
        """Return the task before it, for every label that is given one."""
        joint = products(tasks)
        return {name: given if name in joint else () for name, given in given_of(tasks).items()}

    def bind(self) -> Callable[[Tensor], dict[str, Tensor]]:
        """The outputs of towers to the tasks' logits and those of the products, named "joint.cvr"."""
        apart, paths = self.heads.bind(), {joint_name(name): chain for name, chain in self._paths.items()}

        def together(towers: Tensor) -> dict[str, Tensor]:
            logits = apart(towers)
            return logits | {name: product([logits[step] for step in chain]) for name, chain in paths.items()}

        return together

    def teach(self, losses: Mapping[str, Tensor], logits: Logits) -> dict[str, Tensor]:
        """Turn the losses of conditional probabilities into what `CONDITIONALS` says."""
        found = dict(losses)
        if self._conditional is not None:
            for name, chain in self._paths.items():
                reach = product([logits[step] for step in chain[:-1]]).detach().sigmoid()
                imputed = logits.get(imputed_name(name))
                alone, joint = self._conditional(found[name], reach, logits[name], imputed)
                found[name] = alone
                if joint is not None:
                    found[joint_name(name)] = found[joint_name(name)] + self._weight * joint
        return found


def product(logits: Sequence[Tensor]) -> Tensor:
    """Return the logit of the product of the sigmoids of these logits."""
    log_p, log_not = logsigmoid(logits[0]), logsigmoid(-logits[0])
    for logit in logits[1:]:
        log_not = log_not.logaddexp(log_p + logsigmoid(-logit))
        log_p = log_p + logsigmoid(logit)
    return log_p - log_not
