"""Every way in which right values make no sense together: what is said of it, and where."""

from pathlib import Path

import pytest

from stream_mtl.config.load import examine
from tests.config.documents import BASE, edited, problems

CLICK = 'after = "impression"'
ROOT = 'id = "exposure_id"'
CTR = '[tasks.ctr]\nevent = "click"'
CVR = 'event = "conversion"\ngiven = "ctr"'
PRICE = 'type = "numeric"'
LEARN = "[learn]\nseed = 7"
SCORED = '[events.scored]\nsource = "kafka:scored"\ntime = "ts"\n'
BEFORE = 'before = "impression"\nwithin = "1h"\n'
TWIN = '[events.view]\nsource = "kafka:clicks"\ntime = "ts"\nafter = "impression"\nwithin = "1h"\n'


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            CLICK,
            "",
            'site.toml:10: events.click: is a second root beside "impression"; '
            'add after = "impression" to the one that follows',
            id="two_roots",
        ),
        pytest.param(
            ROOT,
            'after = "click"\nwithin = "1h"',
            "site.toml:4: events: no kind is the root; drop `after` from the one that opens an exposure",
            id="no_root",
        ),
        pytest.param(
            ROOT,
            'after = "click"\nwithin = "1h"',
            "site.toml:7: events.impression.after: goes round in a circle "
            "(impression after click after impression); drop one `after`",
            id="circle_of_kinds",
        ),
        pytest.param(
            ROOT,
            'within = "1h"',
            "site.toml:7: events.impression.within: means nothing for the root, which follows no other kind; "
            "drop it, or add `after`",
            id="root_with_a_window",
        ),
        pytest.param(
            ROOT,
            'skew = "1m"',
            "site.toml:7: events.impression.skew: means nothing for the root, which follows no other kind; "
            "drop it, or add `after`",
            id="root_with_a_skew",
        ),
        pytest.param(
            ROOT,
            'parent = "x"',
            "site.toml:7: events.impression.parent: means nothing for the root, which follows no other kind; "
            "drop it, or add `after`",
            id="root_with_a_parent",
        ),
        pytest.param(
            CLICK,
            'after = "impresion"',
            'site.toml:14: events.click.after: there is no kind "impresion"; did you mean "impression"?',
            id="unknown_kind_in_after",
        ),
        pytest.param(
            CLICK,
            'after = ["impression", "click"]',
            "site.toml:14: events.click.after: names the kind itself; name the kind that comes before it",
            id="kind_after_itself",
        ),
        pytest.param(
            CLICK,
            'after = ["impression", "impression"]',
            "site.toml:14: events.click.after: names a kind twice; drop one",
            id="kind_twice_in_after",
        ),
        pytest.param(
            'within = "30m"',
            "",
            'site.toml:10: events.click: `within` is missing; say how long after "impression" it may come: '
            'within = "30m"',
            id="child_without_within",
        ),
        pytest.param(
            'after = "click"',
            'after = "impression"\nparent = "click_id"\n[events.other]\nsource = "kafka:o"\ntime = "t"\n'
            'after = "conversion"\nparent = "conversion_id"',
            'site.toml:26: events.other.parent: names an id, but "conversion" has none; '
            "add `id` to events.conversion, or drop `parent`",
            id="parent_without_an_id",
        ),
        pytest.param(
            LEARN,
            SCORED + 'before = "click"\nwithin = "1h"',
            'site.toml:43: events.scored.before: "click" is not the root; known: impression',
            id="before_another_kind_than_the_root",
        ),
        pytest.param(
            LEARN,
            SCORED + 'before = "impression"',
            'site.toml:40: events.scored: `within` is missing; say how long before "impression" it may come: '
            'within = "30m"',
            id="before_without_within",
        ),
        pytest.param(
            LEARN,
            SCORED + 'before = "impression"\nafter = "impression"\nwithin = "1h"',
            "site.toml:44: events.scored.after: means nothing beside `before`: a score follows no other kind; "
            "drop one of them",
            id="before_and_after",
        ),
        pytest.param(
            LEARN,
            SCORED + 'before = "impression"\nwithin = "1h"\n' + SCORED.replace("scored", "again") + BEFORE,
            'site.toml:48: events.again.before: only one kind may have `before`, and "scored" has; '
            "drop one of them",
            id="two_kinds_before_the_root",
        ),
        pytest.param(
            LEARN,
            TWIN,
            'site.toml:40: events.view: cannot be told from "click", which has the same source; '
            "give both a `where` that differs",
            id="two_kinds_of_one_source",
        ),
        pytest.param(
            'key = "exposure_id"',
            'key = ["user", "user"]',
            "site.toml:2: chain.key: names a field twice; drop one",
            id="key_twice",
        ),
        pytest.param(
            'key = "exposure_id"',
            'key = ""',
            "site.toml:2: chain.key: holds an empty name; name fields of the events",
            id="empty_key",
        ),
        pytest.param(
            CTR,
            '[tasks.ctr]\nevent = "clik"',
            'site.toml:24: tasks.ctr.event: there is no kind "clik"; did you mean "click"?',
            id="task_of_an_unknown_kind",
        ),
        pytest.param(
            CTR,
            '[tasks.ctr]\nevent = "impression"',
            'site.toml:24: tasks.ctr.event: "impression" follows nothing; '
            "name a kind that has `after`: click, conversion "
            "(or drop the other kinds, if these rows bring their labels)",
            id="task_of_the_root",
        ),
        pytest.param(
            CVR,
            'event = "conversion"\ngiven = "ctrr"',
            'site.toml:28: tasks.cvr.given: there is no task "ctrr"; did you mean "ctr"?',
            id="unknown_task_in_given",
        ),
        pytest.param(
            CVR,
            'event = "conversion"\ngiven = "cvr"',
            "site.toml:28: tasks.cvr.given: names the task itself; name the task it depends on",
            id="task_given_itself",
        ),
        pytest.param(
            CTR,
            '[tasks.ctr]\nevent = "click"\ngiven = "cvr"',
            "site.toml:25: tasks.ctr.given: goes round in a circle (ctr given cvr given ctr); "
            "drop one `given`",
            id="circle_of_tasks",
        ),
        pytest.param(
            CVR,
            'event = "conversion"\ngiven = "ctr"\nhow = "sum"',
            'site.toml:29: tasks.cvr.how: is for tasks with a value only; add value = "..." or drop it',
            id="how_without_a_value",
        ),
        pytest.param(
            CVR,
            'event = "conversion"\ntransform = "log1p"',
            'site.toml:28: tasks.cvr.transform: is for tasks with a value only; add value = "..." or drop it',
            id="transform_without_a_value",
        ),
        pytest.param(
            CVR,
            'event = "conversion"\nloss = "huber"',
            'site.toml:28: tasks.cvr.loss: is for tasks with a value only; add value = "..." or drop it',
            id="loss_without_a_value",
        ),
        pytest.param(
            CVR,
            'event = "conversion"\nhow = "count"\nvalue = "amount"',
            'site.toml:29: tasks.cvr.value: how = "count" counts events and reads no field; drop one of them',
            id="count_of_a_field",
        ),
        pytest.param(
            CTR,
            CTR + '\nmethod = "wait:31m"',
            "site.toml:25: tasks.ctr.method: waits 31m, longer than the window of click, 30m: "
            "it would never be told; wait at most 30m, or raise events.click.within",
            id="wait_longer_than_the_window",
        ),
        pytest.param(
            CVR,
            CVR + '\nmethod = "wait:8d"',
            "site.toml:29: tasks.cvr.method: waits 8d, longer than the window of conversion, 1w: "
            "it would never be told; wait at most 1w, or raise events.conversion.within",
            id="wait_longer_than_the_window_of_a_given_task",
        ),
        pytest.param(
            PRICE,
            PRICE + "\nlimits = [2, 2]",
            "site.toml:39: features.price.limits: 2.0 is not below 2.0; write [low, high]",
            id="limits_in_the_wrong_order",
        ),
        pytest.param(
            PRICE,
            PRICE + "\nboundaries = [1, 3, 2]",
            "site.toml:39: features.price.boundaries: must rise; sort them and drop repeats",
            id="boundaries_in_the_wrong_order",
        ),
        pytest.param(
            'share = "user"',
            'share = "usr"',
            'site.toml:35: features.recent.share: "usr" has no embedding table of its own; '
            'did you mean "user"?',
            id="share_of_an_unknown_feature",
        ),
        pytest.param(
            'share = "user"',
            'share = "price"',
            'site.toml:35: features.recent.share: "price" has no embedding table of its own; known: user',
            id="share_of_a_number",
        ),
        pytest.param(
            'share = "user"',
            'share = "user"\ndim = 4',
            'site.toml:35: features.recent.share: "user" has dim 16, this feature 4; make them equal',
            id="share_of_another_width",
        ),
        pytest.param(
            LEARN,
            '[watch]\nslices = ["user", "usre"]',
            'site.toml:41: watch.slices: there is no feature "usre"; did you mean "user"?',
            id="slice_by_an_unknown_feature",
        ),
        pytest.param(
            LEARN,
            '[features."a b"]\ntype = "numeric"',
            'site.toml:40: features.a b: "a b" is no name; '
            "use letters, digits and single _ between them, no Python keyword",
            id="name_with_a_space",
        ),
        pytest.param(
            LEARN,
            '[features.a__b]\ntype = "numeric"',
            'site.toml:40: features.a__b: "a__b" is no name; '
            "use letters, digits and single _ between them, no Python keyword",
            id="name_that_no_environment_variable_can_hold",
        ),
        pytest.param(
            LEARN,
            '[tasks.class]\nevent = "click"',
            'site.toml:40: tasks.class: "class" is no name; '
            "use letters, digits and single _ between them, no Python keyword",
            id="name_that_is_a_keyword",
        ),
        pytest.param(
            LEARN,
            '[tasks.CTR]\nevent = "click"',
            'site.toml:40: tasks.CTR: differs from "ctr" in case only; rename one of them',
            id="names_that_differ_in_case_only",
        ),
        pytest.param(
            "key =",
            "kee = 1\nkey =",
            'site.toml:2: chain.kee: unknown key "kee"; did you mean "key"?',
            id="a_wrong_value_beside",
        ),
        pytest.param(
            LEARN,
            '[kafka]\nsecurity = "sasl_ssl"',
            'site.toml:40: kafka: `user` is missing; security "sasl_ssl" shows one to the broker',
            id="sasl_without_a_user",
        ),
        pytest.param(
            LEARN,
            '[kafka]\nsecurity = "sasl_plaintext"\nuser = "u"',
            "site.toml:41: kafka.security: would show the password to everyone on the wire; use sasl_ssl, "
            "or set allow_insecure_sasl = true",
            id="password_without_tls",
        ),
        pytest.param(
            LEARN,
            '[kafka]\nsecurity = "ssl"\nkey_file = "key.pem"',
            "site.toml:40: kafka: `cert_path` is missing; key_file is the key of a certificate",
            id="key_without_a_certificate",
        ),
    ],
)
def test_a_contradiction_names_what_where_and_the_remedy(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert expected in problems(tmp_path, edited((old, new)))


def test_no_events_and_no_tasks_are_told(tmp_path: Path) -> None:
    found = problems(tmp_path, '[chain]\nkey = "x"\n')
    assert found == [
        "site.toml: events: must not be empty; name at least one",
        "site.toml: tasks: must not be empty; name at least one",
    ]


@pytest.mark.parametrize(
    ("edits"),
    [
        pytest.param([(CTR, CTR + '\nmethod = "wait:30m"')], id="a_wait_on_the_end_of_the_window"),
        pytest.param(
            [(CVR, 'event = "conversion"\nmethod = "wait:7d"')],
            id="a_wait_from_the_exposure_over_two_windows",
        ),
        pytest.param([(LEARN, SCORED + 'before = "impression"\nwithin = "1h"')], id="scores_before_the_root"),
        pytest.param(
            [
                ('source = "kafka:clicks"', 'source = "kafka:clicks"\nwhere = { type = "click", v = 1 }'),
                (LEARN, TWIN + 'where = { type = "view", w = 1 }'),
            ],
            id="two_kinds_of_one_source_told_apart",
        ),
        pytest.param(
            [
                ('source = "kafka:clicks"', 'source = "kafka:clicks"\nwhere = { v = 1 }'),
                (LEARN, TWIN + "where = { v = true }"),
            ],
            id="two_kinds_of_one_source_told_apart_by_one_and_true",
        ),
        pytest.param([('after = "click"', 'after = ["click", "impression"]')], id="several_kinds_in_after"),
        pytest.param([(CVR, CVR + '\nhow = "count"\ntransform = "log1p"')], id="a_count_without_a_field"),
    ],
)
def test_what_makes_sense_is_accepted(tmp_path: Path, edits: list[tuple[str, str]]) -> None:
    assert problems(tmp_path, edited(*edits)) == []


def test_a_password_may_be_shown_where_it_is_said_that_it_may(tmp_path: Path) -> None:
    section = '[kafka]\nsecurity = "sasl_plaintext"\nuser = "u"\nallow_insecure_sasl = true'
    assert problems(tmp_path, edited((LEARN, section))) == []


def test_a_wait_over_both_windows_ends_with_them(tmp_path: Path) -> None:
    text = edited((CVR, 'event = "conversion"\nmethod = "wait:169h"'))
    assert "longer than the window of conversion, 10110m" in problems(tmp_path, text)[0]


def test_faults_of_sense_are_told_beside_faults_of_values(tmp_path: Path) -> None:
    text = edited((CVR, 'event = "conversion"\ngiven = "ctrr"'), ("seed = 7", "seed = 7.5"))
    assert [found.split(": ")[1] for found in problems(tmp_path, text)] == ["tasks.cvr.given", "learn.seed"]


def test_an_unknown_section_does_not_hide_other_faults(tmp_path: Path) -> None:
    text = edited((CVR, 'event = "conversion"\ngiven = "ctrr"'), ("[learn]", "[lern]"))
    assert [found.split(": ")[1] for found in problems(tmp_path, text)] == ["tasks.cvr.given", "lern"]


def test_a_missing_feature_type_does_not_hide_other_faults(tmp_path: Path) -> None:
    text = BASE.replace(PRICE, "log1p = true").replace('within = "30m"', "")
    assert [found.split(": ")[1] for found in problems(tmp_path, text)] == [
        "events.click",
        "features.price.type",
    ]


def test_a_task_may_not_be_given_what_its_event_does_not_follow(tmp_path: Path) -> None:
    text = """
[chain]
key = "id"
[events.view]
source = "kafka:views"
time = "ts"
[events.click]
source = "kafka:clicks"
time = "ts"
after = "view"
within = "10m"
[events.buy]
source = "kafka:buys"
time = "ts"
after = "view"
within = "5m"
[tasks.ctr]
event = "click"
[tasks.cvr]
event = "buy"
given = "ctr"
"""
    path = tmp_path / "site.toml"
    path.write_text(text)
    loaded, said = examine(path, {})
    assert loaded is None
    assert said == [
        f'{path}:21: tasks.cvr.given: "buy" does not follow "click", so its window may end before that is '
        'known; let events.buy come after "click", or drop `given`'
    ]
