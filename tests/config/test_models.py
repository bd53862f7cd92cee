"""The table of choices of a model: what may be written once or for each level, and what makes no sense."""

from pathlib import Path

import pytest

from stream_mtl.config.show import as_toml
from tests.config.documents import BASE, loaded, problems


def with_model(keys: str) -> str:
    return f"{BASE}\n[model]\n{keys}\n"


@pytest.mark.parametrize(
    ("keys", "own", "expert"),
    [
        ("own_experts = 3\nexpert = [8, 6]", (3,), ((8, 6),)),
        ("own_experts = [3, 1]\nexpert = [[8, 6], [4]]", (3, 1), ((8, 6), (4,))),
        ("expert = []", (2,), ((),)),
        ("", (2,), ((64, 32),)),
    ],
)
def test_counts_and_widths_stand_once_or_for_each_level(
    tmp_path: Path, keys: str, own: tuple[int, ...], expert: tuple[tuple[int, ...], ...]
) -> None:
    found = loaded(tmp_path, with_model(keys))
    assert (found.config.model.own_experts, found.config.model.expert) == (own, expert)
    again = loaded(tmp_path, as_toml(found))
    assert again.config.model == found.config.model


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("own_expert = 3", 'model.own_expert: unknown key "own_expert"; did you mean "own_experts"?'),
        ('name = "mmo"', 'model.name: "mmo" is no choice; did you mean "mmoe"?'),
        ("own_experts = [2, -1]", "model.own_experts: -1 is out of bounds; it must be at least 0"),
        ('expert = [8, "x"]', "model.expert: must be an integer, not a text"),
    ],
)
def test_what_is_no_choice_is_refused_by_its_place(tmp_path: Path, keys: str, words: str) -> None:
    found = problems(tmp_path, with_model(keys))
    assert len(found) == 1
    assert words in found[0]
