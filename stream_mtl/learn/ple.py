"""CGC and PLE: every task has experts of its own beside those that all share, in one level or in several.

Tang et al., RecSys 2020. State: u_t for each task and u_s, all the input at the first level. At each level own experts
read u_t, shared ones u_s; task t's gate reads u_t and mixes its own and the shared ones (in this order) to the new u_t; the
shared gate reads u_s and mixes all experts (those of the first task, of the second, ..., the shared) to the new u_s.
The last level has no shared gate, nor has one after which no level has shared experts. CGC is PLE with one level.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Generator, Tensor, nn

from stream_mtl.errors import ConfigError
from stream_mtl.learn.bottom import Layout
from stream_mtl.learn.gates import Gates
from stream_mtl.learn.layers import Block, Function, Stack
from stream_mtl.learn.sharing import Body, ModelOptions, Over, at_level, bottom_of

Climb: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""u (B, in) or (B, towers, in) and u_s (B, in) to both of the next level, and the shares of the towers' gates."""


class Level(nn.Module):
    """One level."""

    def __init__(
        self, towers: int, width: int, level: int, levels: int, options: ModelOptions, generator: Generator
    ) -> None:
        """Raises ConfigError where own and shared experts do not end with the same width."""
        super().__init__()
        layers = options.layers
        self.towers = towers
        self.own = at_level(options.own_experts, level, levels, "own_experts")
        self.shared = at_level(options.shared_experts, level, levels, "shared_experts")
        if not self.own:
            raise ConfigError(
                "model.own_experts: a task needs one at least; mmoe is the model without experts of their own"
            )
        widths = at_level(options.expert, level, levels, "expert")
        shared_widths = at_level(options.shared_expert or options.expert, level, levels, "shared_expert")
        if self.shared and (widths or (width,))[-1] != (shared_widths or (width,))[-1]:
            raise ConfigError(
                f"model.shared_expert: level {level + 1} ends with {shared_widths[-1:]}, own experts with "
                f"{widths[-1:]}; a gate can only mix equal widths"
            )
        self.own_experts = Stack(towers * self.own, width, widths, layers, generator)
        self.width = self.own_experts.width
        self.shared_experts = (
            Stack(self.shared, width, shared_widths, layers, generator) if self.shared else None
        )
        self.gates = Gates(towers, width, self.own + self.shared, options.gate, layers, generator)
        later = range(level + 1, levels)
        follows = any(at_level(options.shared_experts, n, levels, "shared_experts") for n in later)
        every = towers * self.own + self.shared
        self.shared_gate = Gates(1, width, every, options.gate, layers, generator) if follows else None

    def bind(self) -> Climb:
        """Return one step up."""
        own_experts, gates = self.own_experts.bind(), self.gates.bind()
        shared_experts = self.shared_experts.bind() if self.shared_experts is not None else None
        shared_gate = self.shared_gate.bind() if self.shared_gate is not None else None
        towers, own, width = self.towers, self.own, self.width
        owner = torch.arange(towers).repeat_interleave(own)

        def climb(u: Tensor, u_s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            shares = gates(u)
            mine = own_experts(u if u.dim() == 2 else u.index_select(1, owner))
            apart = mine.reshape(len(u), towers, own, width)
            mixed = (shares[:, :, :own].unsqueeze(3) * apart).sum(2)
            every = mine
            if shared_experts is not None:
                common = shared_experts(u_s)
                mixed = torch.baddbmm(mixed, shares[:, :, own:], common)
                every = torch.cat([mine, common], dim=1)
            if shared_gate is not None:
                u_s = torch.bmm(shared_gate(u_s), every).squeeze(1)
            return mixed, u_s, shares

        return climb


class Ple(Block):
    """(B, in) to (B, towers, width): what each tower reads."""

    def __init__(
        self, towers: int, width: int, levels: int, options: ModelOptions, generator: Generator
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        for level in range(levels):
            one = Level(towers, width, level, levels, options, generator)
            self.levels.append(one)
            width = one.width
        self.width = width

    def bind(self) -> Function:
        """x to the towers' states after the last level."""
        levels = self._bound()

        def climb(x: Tensor) -> Tensor:
            u, u_s = x, x
            for level in levels:
                u, u_s, _ = level(u, u_s)
            return u

        return climb

    def shares(self, x: Tensor) -> list[Tensor]:
        """Return, level by level, the share of each expert in each tower's state: (B, towers, own + shared)."""
        found, u, u_s = [], x, x
        for level in self._bound():
            u, u_s, shares = level(u, u_s)
            found.append(shares)
        return found

    def _bound(self) -> list[Climb]:
        return [level.bind() for level in self.levels if isinstance(level, Level)]


def ple(inputs: Layout, towers: int, options: ModelOptions, generator: Generator) -> Body:
    """Return all levels over the bottom, or over the input where the bottom has no widths."""
    return _levels(inputs, towers, options.levels, options, generator)


def cgc(inputs: Layout, towers: int, options: ModelOptions, generator: Generator) -> Body:
    """Return one level, likewise."""
    return _levels(inputs, towers, 1, options, generator)


def _levels(inputs: Layout, towers: int, levels: int, options: ModelOptions, generator: Generator) -> Body:
    bottom = bottom_of(inputs, options, generator)
    experts = Ple(towers, bottom.width, levels, options, generator)
    return Body(Over(bottom, experts), experts.width, options.towers)
