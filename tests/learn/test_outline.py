"""What a model is shown as: every weight once, every part that something reads."""

from dataclasses import replace
from itertools import product

import pytest

from stream_mtl.label import parse
from stream_mtl.learn.models import MODELS, RELATIONS
from stream_mtl.learn.outline import count, outline
from stream_mtl.learn.recipe import LearnOptions, ValueOptions
from stream_mtl.learn.sharing import ModelOptions
from tests.learn.small import recipe

BASE = ModelOptions(bottom=(8, 6), towers=(5,), expert=((7,),), own_experts=(2,), relation_widths=(4,))

CASES = [
    *(replace(BASE, name=name, relation=relation) for name, relation in product(MODELS, RELATIONS)),
    replace(BASE, interaction="dcn_v2"),
    replace(BASE, interaction="dcn", bottom=()),
    replace(BASE, name="ple", levels=3, shared_experts=(1, 0, 2), gate=(3,)),
    replace(BASE, name="mmoe", bottom=(), towers=(), gate=(3,)),
    replace(BASE, relation="esmm", conditional="dr"),
    replace(BASE, relation="dbmtl", relations={"ctr": (), "cvr": (6, 3)}),
    replace(BASE, relation="aitm", relation_widths=()),
    replace(BASE, outputs={"ctr": "page", "cvr": "page"}),
    replace(BASE, bottom=(), towers=()),
]


@pytest.mark.parametrize("options", CASES, ids=lambda o: f"{o.name}-{o.relation}-{o.interaction}")
@pytest.mark.parametrize("methods", [{}, {"cvr": parse("es_dfm:15m")}], ids=["", "auxiliary"])
def test_every_weight_is_in_one_node_and_every_node_leads_to_an_output(
    options: ModelOptions, methods: dict[str, object]
) -> None:
    one = recipe(options, methods=methods)  # type: ignore[arg-type]
    nodes = {node.name: node for node in outline(one)}
    assert len(nodes) == len(outline(one))
    assert sum(node.parameters for node in nodes.values()) == count(one.build())
    assert all(name in nodes for node in nodes.values() for name in node.reads)
    ends = [name for name, node in nodes.items() if node.group in ("outputs", "auxiliary")]
    assert set(one.plan.outputs) <= set(ends)
    reached, open_ = set(ends), list(ends)
    while open_:
        new = set(nodes[open_.pop()].reads) - reached
        reached |= new
        open_ += new
    assert reached == set(nodes)


def test_a_task_says_how_it_is_learned() -> None:
    one = recipe(BASE, LearnOptions(weights={"ctr": 0.5}))
    one = replace(one, learn=replace(one.learn, values={"order_value": ValueOptions("ziln")}))
    nodes = {node.name: node for node in outline(one, {"ctr": "wait:15m", "cvr": "fnw"})}
    assert nodes["ctr"].facts == ("logit; wait:15m", "weight 0.5")
    assert nodes["cvr"].facts == ("logit; fnw", "given ctr")
    assert nodes["order_value"].facts == ("value; ziln, 3 numbers", "given cvr")
