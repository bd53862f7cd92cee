"""What a model is made of, as nodes that read each other: for people who look at what they configured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from stream_mtl.label.plan import joint_name
from stream_mtl.learn.aitm import Aitm
from stream_mtl.learn.dbmtl import Dbmtl
from stream_mtl.learn.features import Categorical, Feature, Numeric
from stream_mtl.learn.features import Sequence as Items
from stream_mtl.learn.gmsl import Gmsl
from stream_mtl.learn.mmoe import Mmoe
from stream_mtl.learn.models import AuxiliaryHeads, MultiTaskModel, towers_of
from stream_mtl.learn.ple import Level, Ple
from stream_mtl.learn.recipe import Recipe
from stream_mtl.learn.sharing import Over, at_level, widths_of_bottom


@dataclass(frozen=True, slots=True)
class Node:
    """One part."""

    name: str  # of its own
    group: str  # what kind of part it is
    title: str
    facts: tuple[str, ...]
    parameters: int  # its own weights, embedding rows not counted
    reads: tuple[str, ...] = ()  # names of nodes


def outline(recipe: Recipe, methods: Mapping[str, str] | None = None) -> tuple[Node, ...]:
    """Return the parts of the model that a recipe builds, on the way from the features to the outputs.

    `methods` are words for how each task treats late labels. Raises ConfigError.
    """
    return tuple(_Outline(recipe, methods or {}).nodes())


class _Outline:
    """A model that was built to be looked at."""

    def __init__(self, recipe: Recipe, methods: Mapping[str, str]) -> None:
        self.methods = methods
        self.recipe, self.options = recipe, recipe.shape
        self.model = recipe.build()
        self.tower_of = towers_of(recipe.tasks, self.options)
        self.towers = list(dict.fromkeys(self.tower_of.values()))

    def nodes(self) -> Iterator[Node]:
        """Give them in order."""
        yield self._input()
        bottom, experts = _parts(self.model)
        below, width = "input", self.recipe.features.width
        if count(bottom):
            yield self._bottom(bottom)
            below, width = "bottom", int(getattr(bottom, "width", width))
        if isinstance(experts, Mmoe):
            yield from self._mmoe(experts, below, width)
        if isinstance(experts, Ple):
            yield from self._ple(experts, below, width)
        yield from self._towers()
        yield from self._auxiliary()
        yield from self._relation()
        yield from self._outputs()

    def _shared(self, task: str) -> tuple[str, ...]:
        """Return what a task's tower reads."""
        bottom, experts = _parts(self.model)
        tower = self.tower_of[task]
        if isinstance(experts, Mmoe):
            return ("experts", f"gate.{tower}")
        if isinstance(experts, Ple):
            return (f"level{len(experts.levels)}.{tower}",)
        return ("bottom",) if count(bottom) else ("input",)

    def _below(self, task: str) -> tuple[str, ...]:
        """Return what a task's relation or head reads."""
        return (f"tower.{self.tower_of[task]}",) if count(self.model.towers) else self._shared(task)

    def _input(self) -> Node:
        features = self.recipe.features
        facts = [f"{name}: {_feature(one)}" for name, one in features.features.items()]
        return Node("input", "features", "input", (*facts, f"gives (B, {features.width})"), 0)

    def _bottom(self, bottom: nn.Module) -> Node:
        widths, kind = widths_of_bottom(self.options), self.options.interaction
        facts = [self._layers(widths)] if widths else []
        if kind == "deepfm":
            facts.append("beside them: all pairs of features, first order")
        if kind in ("dcn", "dcn_v2"):
            facts.append(f"beside them: {self.options.crosses} cross layers")
        shape = _shape((self.recipe.features.width,), (getattr(bottom, "width", 0),))
        title = "bottom" if kind == "none" else f"bottom: {kind}"
        return Node("bottom", "bottom", title, (*facts, shape), count(bottom), ("input",))

    def _mmoe(self, experts: Mmoe, below: str, width: int) -> Iterator[Node]:
        many, wide = self.options.experts, experts.width
        facts = (self._layers(at_level(self.options.expert, 0, 1, "expert")), _shape((width,), (many, wide)))
        yield Node("experts", "experts", f"{many} experts", facts, count(experts.experts), (below,))
        each = count(experts.gates) // len(self.towers)
        for tower in self.towers:
            hidden = (self._layers(self.options.gate),) if self.options.gate else ()
            facts = (*hidden, _shape((width,), (many,)), "softmax")
            yield Node(f"gate.{tower}", "gates", f"gate of {tower}", facts, each, (below,))

    def _ple(self, experts: Ple, below: str, width: int) -> Iterator[Node]:
        levels = [level for level in experts.levels if isinstance(level, Level)]
        for number, level in enumerate(levels, start=1):
            group, before = f"level {number}", f"level{number - 1}"
            own = (count(level.own_experts) + count(level.gates)) // len(self.towers)
            widths = at_level(self.options.expert, number - 1, len(levels), "expert")
            if level.shared_experts is not None or level.shared_gate is not None:
                yield self._common(level, number, len(levels), width, below)
            for tower in self.towers:
                facts = (
                    f"{level.own} own experts {self._layers(widths)}",
                    f"gate over {level.own} own and {level.shared} shared",
                    _shape((width,), (level.width,)),
                )
                state = below if number == 1 else f"{before}.{tower}"
                common = (f"level{number}.shared",) if level.shared_experts is not None else ()
                yield Node(f"level{number}.{tower}", group, tower, facts, own, (state, *common))
            width = level.width

    def _common(self, level: Level, number: int, levels: int, width: int, below: str) -> Node:
        options, before = self.options, f"level{number - 1}"
        widths = at_level(options.shared_expert or options.expert, number - 1, levels, "shared_expert")
        facts = [f"{level.shared} shared experts {self._layers(widths)}"] if level.shared else []
        if level.shared_gate is not None:
            facts.append(f"gate over all {level.towers * level.own + level.shared} of this level")
        states = (f"{before}.shared", *(f"{before}.{tower}" for tower in self.towers))
        weights = count(level.shared_experts) + count(level.shared_gate)
        name, group = f"level{number}.shared", f"level {number}"
        return Node(name, group, "shared", tuple(facts), weights, (below,) if number == 1 else states)

    def _towers(self) -> Iterator[Node]:
        stack = self.model.towers
        each = count(stack) // len(self.towers)
        if not each:
            return
        readers = {tower: task for task, tower in self.tower_of.items()}
        for tower in self.towers:
            facts = (self._layers(self.options.towers), f"gives (B, {stack.width})")
            reads = self._shared(readers[tower])
            yield Node(f"tower.{tower}", "towers", f"tower of {tower}", facts, each, reads)

    def _relation(self) -> Iterator[Node]:
        relation = self.model.relation
        reading = relation.reading(self.recipe.tasks, self.options)
        cell: tuple[str, ...] = ()
        if isinstance(relation, Gmsl):
            weights, cell = count(relation) - count(relation.heads), ("cell",)
            yield Node("cell", "relation", "recurrent cell", (f"state (B, {relation.width})",), weights)
        for task in self.recipe.tasks:
            own = self._related(task.name)
            if own is not None:
                parents = [name for parent in reading[task.name] for name in self._feature_of(parent)]
                reads = (*self._below(task.name), *cell, *parents)
                yield Node(f"relation.{task.name}", "relation", task.name, *own, reads)

    def _feature_of(self, task: str) -> tuple[str, ...]:
        """Return what a task's head reads."""
        return (f"relation.{task}",) if self._related(task) else self._below(task)

    def _related(self, task: str) -> tuple[tuple[str, ...], int] | None:
        """Return facts and weights of a task's part in the relation, if it has one."""
        relation, options = self.model.relation, self.options
        if isinstance(relation, Gmsl):
            return (f"step {[one.name for one in self.recipe.tasks].index(task) + 1}",), 0
        if isinstance(relation, Dbmtl):
            own = relation.weights_of(task)
            widths = options.relations.get(task, options.relation_widths)
            return ((self._layers(widths),), own) if own else None
        if isinstance(relation, Aitm):
            transfer, after = relation.weights_of(task)
            facts = ["what the task before knows, by attention"] if transfer else []
            if after:
                facts.append(self._layers(options.relation_widths))
            return (tuple(facts), transfer + after) if facts else None
        return None

    def _outputs(self) -> Iterator[Node]:
        relation = self.model.relation
        reading = relation.reading(self.recipe.tasks, self.options)
        for task in self.recipe.tasks:
            reads, facts = self._feature_of(task.name), self._facts(task.name)
            yield Node(task.name, "outputs", task.name, facts, self._head(task.name), reads)
        for name in relation.besides(self.recipe.tasks, self.options):
            reads = self._below(name)
            yield Node(
                name, "outputs", name, ("logit of the label that is imputed",), self._head(name), reads
            )
        for name in self.model.joint:
            given = reading[name][0]
            before = joint_name(given) if given in self.model.joint else given
            facts = (
                ("its head, over all exposures", f"{name} = {joint_name(name)} / {before}")
                if isinstance(relation, Aitm)
                else (f"{before} x {name}, over all exposures",)
            )
            yield Node(joint_name(name), "outputs", joint_name(name), facts, 0, (before, name))

    def _head(self, name: str) -> int:
        width = self.model.relation.head_width(name)
        return (width + 1) * self.options.sizes.get(name, 1)

    def _facts(self, name: str) -> tuple[str, ...]:
        task = next(one for one in self.recipe.tasks if one.name == name)
        how, weight = self.recipe.value(name), self.recipe.weight(name)
        size = self.options.sizes.get(name, 1)
        facts = []
        if not task.regression:
            facts.append("; ".join(("logit", *((self.methods[name],) if name in self.methods else ()))))
            if how.focal:
                facts.append(f"focal loss, gamma {how.focal:g}")
        else:
            transform = f" of {how.transform}" if how.transform != "none" else ""
            facts.append(f"value{transform}; {how.loss}" + (f", {size} numbers" if size > 1 else ""))
        if task.given is not None:
            facts.append(f"given {task.given}")
        if weight != 1:
            facts.append(f"weight {weight:g}")
        return tuple(facts)

    def _auxiliary(self) -> Iterator[Node]:
        for part in self.model.auxiliary:
            assert isinstance(part, AuxiliaryHeads)
            for task, name in part.names:
                facts = ("reads without training it",) if part.apart else ()
                label, weights = f"{task}.{name}", count(part) // len(part.names)
                yield Node(label, "auxiliary", label, facts, weights, self._shared(task))

    def _layers(self, widths: Sequence[int]) -> str:
        if not widths:
            return "no layers"
        norm = "" if self.options.norm == "none" else f", {self.options.norm} norm"
        drop = f", dropout {self.options.dropout:g}" if self.options.dropout else ""
        return f"{'-'.join(map(str, widths))}{norm}, {self.options.activation}{drop}"


def count(module: nn.Module | None) -> int:
    """Return the number of weights."""
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


def _parts(model: MultiTaskModel) -> tuple[nn.Module, nn.Module | None]:
    sharing = model.sharing
    return (sharing.bottom, sharing.experts) if isinstance(sharing, Over) else (sharing, None)


def _shape(takes: Sequence[int], gives: Sequence[int]) -> str:
    return f"(B, {', '.join(map(str, takes))}) to (B, {', '.join(map(str, gives))})"


def _feature(feature: Feature) -> str:
    if isinstance(feature, Numeric):
        return f"numeric, {feature.dim} in buckets" if feature.boundaries else "numeric, 1"
    shared = f", rows of {feature.share}" if feature.share else ""
    if isinstance(feature, Items):
        return f"sequence, {feature.pooling} of {feature.dim}{shared}"
    assert isinstance(feature, Categorical)
    return f"categorical, {feature.dim}{shared}"
