"""The table of choices of a model: what may be written once or for each level, and what makes no sense."""

from pathlib import Path

import pytest

from stream_mtl.config.show import as_toml
from tests.config.documents import BASE, edited, loaded, problems


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


CTR, CVR = '[tasks.ctr]\nevent = "click"', '[tasks.cvr]\nevent = "conversion"\ngiven = "ctr"'


@pytest.mark.parametrize(
    ("task", "keys", "model", "words"),
    [
        (CTR, 'parents = "cvs"', 'relation = "dbmtl"', 'tasks.ctr.parents: there is no other task "cvs"'),
        (CTR, 'parents = "ctr"', 'relation = "dbmtl"', 'tasks.ctr.parents: there is no other task "ctr"'),
        (CVR, 'value = "amount"\nloss = "softmax"', "", "tasks.cvr.classes: loss"),
        (CVR, 'value = "amount"\nclasses = 3', "", "tasks.cvr.classes: is for loss"),
        (CVR, 'value = "amount"\nloss = "ziln"\ntransform = "log1p"', "", "tasks.cvr.transform: loss"),
        (CVR, 'value = "amount"\nfocal = 2.0', "", "tasks.cvr.focal: is for labels"),
        (CVR, 'space = "x"', "", 'tasks.cvr.space: there is no other task "x"'),
        (CVR, "out_space_weight = 0.5", "", "tasks.cvr.out_space_weight: means nothing"),
    ],
)
def test_keys_of_a_task_that_do_not_fit_are_refused_by_their_place(
    tmp_path: Path, task: str, keys: str, model: str, words: str
) -> None:
    text = (
        edited((task, f"{task}\n{keys}"), ("user = ", 'amount = "double", user = ')) + f"\n[model]\n{model}\n"
    )
    found = problems(tmp_path, text)
    assert len(found) == 1, found
    assert words in found[0]


def test_keys_of_parts_that_are_not_chosen_may_stand_so_that_parts_can_be_swapped(tmp_path: Path) -> None:
    text = edited((CVR, f'{CVR}\nparents = ["ctr"]\nrelation_widths = [4]'))
    keys = 'conditional = "ips"\nexperts = 3\nlevels = 2'
    for relation in ("independent", "dbmtl", "esmm"):
        loaded(tmp_path, f'{text}\n[model]\nrelation = "{relation}"\n{keys}\n')
