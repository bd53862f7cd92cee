"""Configurations to test with: one small valid file, ways to change it, and random valid ones."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from stream_mtl.config import Config, Loaded, examine, load

BASE = """\
[chain]
key = "exposure_id"

[events.impression]
source = "files:events/impressions/*.avro"
time = "ts"
id = "exposure_id"
fields = { exposure_id = "string", user = "long", recent = "array<long>" }

[events.click]
source = "kafka:clicks"
time = "ts"
id = "click_id"
after = "impression"
within = "30m"

[events.conversion]
source = "kafka:conversions"
time = "ts"
after = "click"
within = "7d"

[tasks.ctr]
event = "click"

[tasks.cvr]
event = "conversion"
given = "ctr"

[features.user]
type = "categorical"

[features.recent]
type = "sequence"
share = "user"

[features.price]
type = "numeric"

[learn]
seed = 7
"""


def edited(*edits: tuple[str, str]) -> str:
    """Return the small file with each old text (which must be in it) replaced by the new one."""
    text = BASE
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        text = text.replace(old, new)
    return text


def written(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, text: str, environ: Mapping[str, str] | None = None, *arguments: str) -> Loaded:
    return load(written(folder, text), environ or {}, arguments)


def problems(folder: Path, text: str, environ: Mapping[str, str] | None = None, *arguments: str) -> list[str]:
    """Return what is wrong, with places as `site.toml:12`."""
    found, texts = examine(written(folder, text), environ or {}, arguments)
    assert (found is None) == bool(texts)
    return [text.replace(f"{folder}/", "") for text in texts]


def config_of(folder: Path, *edits: tuple[str, str]) -> Config:
    return loaded(folder, edited(*edits)).config


def to_toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """Write a document in the plainest way: every value under a header of its own."""
    lines = []

    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

    for key, value in table.items():
        if isinstance(value, Mapping):
            lines.append(to_toml(value, (*path, key)))
        else:
            lines.append(f"{'.'.join(map(text, (*path, key)))} = {text(value)}\n")
    return "".join(lines)


names = st.from_regex(r"[a-z][a-z0-9]{0,6}(_[a-z0-9]{1,4})?", fullmatch=True).filter(
    lambda name: name not in {"if", "in", "is", "as", "or", "and", "not", "for", "def", "del", "try", "from",
                              "with", "else", "elif", "pass", "class", "while", "break", "yield", "raise",
                              "return", "global", "import", "assert", "except", "lambda", "async", "await"}
)  # fmt: skip
texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
durations = st.builds("{}{}".format, st.integers(0, 300), st.sampled_from(["ms", "s", "m", "h", "d", "w"]))
sizes = st.builds("{}{}".format, st.integers(0, 900), st.sampled_from(["B", "KB", "KiB", "MiB", "GB"]))
counts = st.integers(1, 10_000)
rates = st.floats(1e-6, 10.0)
scalars = st.one_of(texts, st.integers(-5, 5), st.booleans(), st.floats(-1e6, 1e6))


def maybe(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=options)


features = st.one_of(
    maybe(field=texts, dim=counts, buckets=counts, admit=counts, evict_after=durations).map(
        lambda given: {"type": "categorical", **given}
    ),
    maybe(
        field=texts,
        log1p=st.booleans(),
        limits=st.tuples(st.floats(-9, 0), st.floats(1, 9)).map(list),
        boundaries=st.lists(st.integers(-100, 100), unique=True).map(sorted),
        dim=counts,
    ).map(lambda given: {"type": "numeric", **given}),
    maybe(pooling=st.sampled_from(["mean", "sum", "max"]), max_items=counts, dim=counts).map(
        lambda given: {"type": "sequence", **given}
    ),
)

sections = maybe(
    model=maybe(
        name=st.sampled_from(["logistic", "shared_bottom"]),
        relation=st.sampled_from(["independent", "esmm"]),
        bottom=st.lists(counts, max_size=3),
        dropout=st.floats(0, 0.9),
    ),
    learn=maybe(
        batch_size=counts,
        learning_rate=rates,
        clip_norm=rates,
        path=st.just("a/learner"),
        seed=st.integers(0, 2**62),
        flush_after=durations,
    ),
    join=maybe(
        path=texts.filter(lambda text: "\0" not in text),
        block_every=durations,
        limits=maybe(max_record_bytes=sizes, max_items=counts),
    ),
    publish=maybe(path=st.just("a/b"), keep=counts),
    serve=maybe(host=texts, port=st.integers(0, 65_535), max_body=sizes, log=st.just("a/scored")),
    watch=maybe(every=durations, windows=st.lists(durations), bins=counts),
    run=maybe(status=st.just("a/status")),
    dead_letters=maybe(max_bytes=sizes, keep=durations),
    kafka=maybe(group=texts, security=st.sampled_from(["plaintext", "ssl"]), ca_path=st.just("/ca.pem")),
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a valid document: a tree of kinds under one root, tasks on them, features, any other section."""
    kinds = draw(st.lists(names, min_size=2, max_size=5, unique=True))
    events: dict[str, Any] = {}
    for number, kind in enumerate(kinds):
        event = draw(maybe(time_unit=st.sampled_from(["s", "ms"]), time_format=texts, id=texts))
        event |= {"source": f"kafka:topic{number}", "time": draw(texts)}
        event |= {"where": draw(st.dictionaries(texts, scalars, max_size=2))}
        if number:
            after = draw(st.lists(st.sampled_from(kinds[:number]), min_size=1, max_size=3, unique=True))
            event |= {"after": after, "within": draw(durations), "skew": draw(durations)}
        events[kind] = event
    tasks: dict[str, Any] = {}
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        task = draw(
            maybe(
                weight=st.floats(0, 5),
                tower=texts,
                method=st.sampled_from(["wait", "oracle", "wait:0s", "fnw"]),
            )
        )
        task |= {"event": draw(st.sampled_from(kinds[1:]))}
        if tasks and draw(st.booleans()):
            known = _followed(events, task["event"])
            if fitting := sorted(name for name, other in tasks.items() if other["event"] in known):
                task["given"] = draw(st.sampled_from(fitting))
        if draw(st.booleans()):
            task |= {
                "value": draw(texts),
                "how": draw(st.sampled_from(["first", "sum"])),
                "transform": "log1p",
            }
        tasks[name] = task
    named = draw(st.dictionaries(names, features, max_size=4))
    chain = {
        "key": draw(st.lists(texts, min_size=1, max_size=2, unique=True)),
        **draw(maybe(lateness=durations)),
    }
    return {"chain": chain, "events": events, "tasks": tasks, "features": named, **draw(sections)}


def _followed(events: Mapping[str, Any], kind: str) -> set[str]:
    """Return a kind and all that it follows, directly or not."""
    after = events[kind].get("after", [])
    found = {kind}
    for parent in [after] if isinstance(after, str) else after:
        found |= _followed(events, parent)
    return found
