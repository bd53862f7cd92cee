"""Configurations of rows that arrive with their labels, to test with: one small valid file, and random ones."""

from typing import Any

from hypothesis import strategies as st

from tests.config.documents import counts, maybe, names, scalars, sections, texts

ROWS = """\
[events.row]
source = "files:people.data.gz"
format = "csv"
columns = ["age", "work-class", "hours", "income", "married"]
trim = true
fields = { work-class = "string" }

[tasks.rich]
event = "row"
where = { income = [">50K", ">50K."] }

[tasks.hours]
event = "row"
value = "hours"
given = "rich"

[features.age]
type = "numeric"

[features.work_class]
type = "categorical"
field = "work-class"
"""


def edited(*edits: tuple[str, str]) -> str:
    """Return the small file with each old text (which must be in it) replaced by the new one."""
    text = ROWS
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        text = text.replace(old, new)
    return text


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a valid document: one kind, tasks asked of it, any other section."""
    kind = draw(names)
    event = draw(maybe(time=texts, id=texts, format=st.just("csv"), trim=st.booleans()))
    asked = st.one_of(
        st.fixed_dictionaries(
            {"where": st.dictionaries(texts.map("l{}".format), scalars, min_size=1, max_size=1)}
        ),
        st.fixed_dictionaries({"value": texts.map("v{}".format)}, optional={"transform": st.just("log1p")}),
    )
    tasks = draw(st.dictionaries(names, asked, min_size=1, max_size=3))
    numbers = draw(st.dictionaries(names, counts, max_size=3))
    return {
        "events": {kind: {"source": "files:rows", **event}},
        "tasks": {name: {"event": kind, **task} for name, task in tasks.items()},
        "features": {name: {"type": "numeric", "field": "x", "dim": dim} for name, dim in numbers.items()},
        **draw(sections),
    }
