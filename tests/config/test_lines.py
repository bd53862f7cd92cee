import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_mtl.config.lines import key_lines, key_path

ODD = '''\
# [not.a.table]
top = "a # b [c] = d"   # a comment with "quotes" and [brackets

[a]   # [b]
one = """
[inside]
two = 2 \\""" still
"""
list = [
  "x", # ] not the end
  'y]',
  { k = 1 },
]
"quoted.key" = 1
dotted . deep = { inner = 1, "[odd]" = 2 }
nested = [
  [1],
  [
    "last"
  ]
]
raw = \'\'\'
[b]
c = 1\'\'\'

[ b . "c.d" ]
e = 1
[[rows]]
f = 1
[["odd]"]]
g = 1
'''


def test_a_key_stands_where_a_reader_finds_it() -> None:
    tomllib.loads(ODD)
    assert key_lines(ODD) == {
        ("top",): 2,
        ("a",): 4,
        ("a", "one"): 5,
        ("a", "list"): 9,
        ("a", "quoted.key"): 14,
        ("a", "dotted"): 15,
        ("a", "dotted", "deep"): 15,
        ("a", "nested"): 16,
        ("a", "raw"): 22,
        ("b",): 26,
        ("b", "c.d"): 26,
        ("b", "c.d", "e"): 27,
        ("rows",): 28,
        ("rows", "f"): 29,
        ("odd]",): 30,
        ("odd]", "g"): 31,
    }


keys = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,4}", fullmatch=True), st.text("ab.\"'[]#= \\é", min_size=1, max_size=4)
)
strings = st.text("ab\"'[]{}#=,\\ é", max_size=6)
values = st.one_of(
    st.integers().map(str),
    strings.map(json.dumps),
    st.lists(strings, max_size=3).map(
        lambda items: "[\n" + "".join(f" {json.dumps(i)}, # ]\n" for i in items) + "]"
    ),
    st.text('ab"[]#=\n é', max_size=8).map(lambda text: "'''\n" + text + "'''"),
    st.text("ab'[]#=\n é", max_size=8).map(lambda text: '"""' + text + '"""'),
)


@given(st.dictionaries(keys, st.dictionaries(keys, values, max_size=4), max_size=4), st.data())
def test_every_key_is_found_in_the_line_it_was_written_in(
    tables: dict[str, dict[str, str]], data: Any
) -> None:
    text = ""
    expected = {}
    for table, entries in tables.items():
        text += data.draw(st.sampled_from(["", "\n", "# [x]\n", "  # a = 1\n\n"]))
        expected[(table,)] = text.count("\n") + 1
        text += f"[{json.dumps(table, ensure_ascii=False)}] # end\n"
        for key, value in entries.items():
            expected[(table, key)] = text.count("\n") + 1
            text += (
                f"{json.dumps(key, ensure_ascii=False)} = {value}{data.draw(st.sampled_from(['', ' # x']))}\n"
            )
    tomllib.loads(text)
    assert key_lines(text) == expected


@pytest.mark.parametrize("key", ["", "#", "a b", "a = 1\nb", "a..b", "[a"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        key_path(key)
