"""ESMM: a task given another is taught over all exposures, through the product of the probabilities on its chain.

Ma et al., SIGIR 2018. There is no loss on the conditional probability alone. The product is kept in log space:
with a, b the logits, log p = ls(a) + ls(b) and log(1 - p) = logaddexp(ls(-a), ls(a) + ls(-b)), ls = logsigmoid,
so that neither the loss nor its gradient is lost where a probability leaves the range of float32.
"""

from collections.abc import Callable, Sequence

from torch import Generator, Tensor
from torch.nn.functional import logsigmoid

from stream_mtl.join.spec import TaskSpec
from stream_mtl.label.plan import joint_name, products
from stream_mtl.learn.independent import Independent


class Esmm(Independent):
    """One head a task, and beside it the logit of the product for every label that is given another task."""

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        blocks: Sequence[int],
        width: int,
        starts: Sequence[float],
        generator: Generator,
    ) -> None:
        super().__init__(tasks, blocks, width, starts, generator)
        self._paths = {name: path(tasks, name) for name in self.joint(tasks)}

    @staticmethod
    def joint(tasks: Sequence[TaskSpec]) -> tuple[str, ...]:
        """Return every label that is given another task."""
        return products(tasks)

    def bind(self) -> Callable[[Tensor], dict[str, Tensor]]:
        """The outputs of towers to the tasks' logits and those of the products, named "joint.cvr"."""
        apart, paths = super().bind(), {joint_name(name): chain for name, chain in self._paths.items()}

        def together(towers: Tensor) -> dict[str, Tensor]:
            logits = apart(towers)
            return logits | {name: product([logits[step] for step in chain]) for name, chain in paths.items()}

        return together


def path(tasks: Sequence[TaskSpec], name: str) -> list[str]:
    """Return the tasks from the first of the chain to this one."""
    given = next(task for task in tasks if task.name == name).given
    return [name] if given is None else [*path(tasks, given), name]


def product(logits: Sequence[Tensor]) -> Tensor:
    """Return the logit of the product of the sigmoids of these logits."""
    log_p, log_not = logsigmoid(logits[0]), logsigmoid(-logits[0])
    for logit in logits[1:]:
        log_not = log_not.logaddexp(log_p + logsigmoid(-logit))
        log_p = log_p + logsigmoid(logit)
    return log_p - log_not
