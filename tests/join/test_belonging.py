"""Where a child belongs, and what becomes of it, rule by rule."""

from dataclasses import replace

from stream_mtl.join.spec import TaskSpec
from tests.join.streams import AD, NAMED, NAMED_TWICE, SHOP, SOCIAL
from tests.join.told import QUIET, account, counts, event, joined, kind_with, tell

# Belonging by key


def test_a_click_on_the_deadline_counts_and_one_after_it_is_outside() -> None:
    for time, label, count in [(4, "ctr=1@4", "joined"), (5, "ctr=0", "outside")]:
        lines, join = joined(QUIET, event("impression", 0), event("click", time), upto=9)
        assert lines == ["0 exposed #0 -", f"4 final #0 ctr {label}"]
        assert counts(join, "click") == {count: 1}


def test_a_click_may_arrive_before_its_impression() -> None:
    assert tell(QUIET, event("click", 1), event("impression", 0), upto=4)[-1] == "4 final #0 ctr ctr=1@1"


def test_what_happens_at_once_is_known_at_once_whatever_arrives_first() -> None:
    at_once = event("conversion", 0, amount=1.0), event("click", 0), event("impression", 0)
    assert tell(AD, *at_once, upto=5) == [
        "0 exposed #0 - ctr=1@0 cvr=1@0 order_value=1@0=1",
        "1 look+1 #0 cvr ctr=1@0 cvr=1@0 order_value=1@0=1",
        "2 look+2 #0 ctr ctr=1@0 cvr=1@0 order_value=1@0=1",
        "4 final #0 ctr ctr=1@0 cvr=1@0 order_value=1@0=1",
        "5 look+5 #0 cvr ctr=1@0 cvr=1@0 order_value=1@0=1",
    ]


def test_a_child_may_precede_its_parent_by_skew_and_then_counts_with_it() -> None:
    spec = kind_with(QUIET, "click", skew=2)
    assert tell(spec, event("click", 8), event("impression", 10), upto=14)[-1] == "14 final #0 ctr ctr=1@10"
    assert account(spec, "click", event("click", 7), event("impression", 10), upto=14) == {"orphan": 1}


def test_a_negative_delay_counts_as_zero() -> None:
    spec = kind_with(QUIET, "click", skew=2, within=0)
    assert tell(spec, event("click", 9), event("impression", 10), upto=10) == [
        "10 exposed #0 - ctr=1@10",
        "10 final #0 ctr ctr=1@10",
    ]


def test_a_child_waits_for_its_parent_and_is_an_orphan_when_skew_has_passed() -> None:
    spec = kind_with(QUIET, "click", skew=2)
    for upto, count in [(4, "waiting"), (6, "waiting"), (7, "orphan")]:
        assert account(spec, "click", event("click", 5), upto=upto) == {count: 1}


def test_a_parent_that_was_waiting_itself_counts_from_when_it_joined() -> None:
    spec = kind_with(kind_with(AD, "click", skew=2), "conversion", skew=2)
    early = event("click", 8), event("conversion", 9, amount=1.0), event("impression", 10)
    assert tell(spec, *early, upto=11) == [
        "10 exposed #0 - ctr=1@10 cvr=1@10 order_value=1@10=1",
        "11 look+1 #0 cvr ctr=1@10 cvr=1@10 order_value=1@10=1",
    ]


def test_a_child_without_its_parent_kind_is_an_orphan_though_its_exposure_is_known() -> None:
    spec = kind_with(AD, "conversion", skew=1)
    for upto, count in [(1, "waiting"), (2, "orphan")]:
        unclicked = event("impression", 0), event("conversion", 1)
        assert account(spec, "conversion", *unclicked, upto=upto) == {count: 1}


def test_a_child_of_another_key_is_an_orphan() -> None:
    other = event("view", 0), event("cart", 1, item=2), event("cart", 1, user="v")
    assert account(SHOP, "cart", *other, upto=9) == {"orphan": 2}


def test_a_child_belongs_to_the_latest_exposure_of_its_key_that_began_at_or_before_it() -> None:
    times = event("impression", 0), event("impression", 2), event("click", 2), event("impression", 3)
    finals = [line for line in tell(QUIET, *times, upto=9) if "final" in line]
    assert finals == ["4 final #0 ctr ctr=0", "6 final #1 ctr ctr=1@2", "7 final #2 ctr ctr=0"]


def test_of_exposures_that_began_at_once_the_greatest_number_has_the_child() -> None:
    times = event("impression", 0), event("impression", 0), event("click", 0)
    assert tell(QUIET, *times, upto=4)[-2:] == ["4 final #0 ctr ctr=0", "4 final #1 ctr ctr=1@0"]


def test_an_exposure_that_began_before_wins_over_one_within_skew() -> None:
    spec = kind_with(QUIET, "click", skew=2)
    times = event("impression", 0), event("click", 3), event("impression", 4)
    assert "4 final #0 ctr ctr=1@3" in tell(spec, *times, upto=9)


def test_of_exposures_within_skew_the_least_number_has_the_child() -> None:
    spec = kind_with(QUIET, "click", skew=3)
    times = event("click", 0), event("impression", 2), event("impression", 2), event("impression", 3)
    finals = [line for line in tell(spec, *times, upto=9) if "final" in line]
    assert finals == ["6 final #0 ctr ctr=1@2", "6 final #1 ctr ctr=0", "7 final #2 ctr ctr=0"]


def test_a_child_is_outside_while_the_exposure_is_remembered_and_then_an_orphan() -> None:
    for time, count in [(7, "outside"), (8, "orphan")]:
        assert account(QUIET, "click", event("impression", 0), event("click", time), upto=20) == {count: 1}


def test_a_forgotten_exposure_gives_way_to_an_older_one_that_is_still_known() -> None:
    clicked = event("impression", 0), event("click", 4), event("impression", 5)
    # The first is known until 4 + 10 + 3, the second, unclicked, until 5 + 4 + 3.
    assert account(AD, "conversion", *clicked, event("conversion", 12), upto=20) == {"orphan": 1}
    assert account(AD, "conversion", *clicked, event("conversion", 13), upto=20) == {"joined": 1}
    assert account(AD, "conversion", *clicked, event("conversion", 15), upto=20) == {"outside": 1}
    assert account(AD, "conversion", *clicked, event("conversion", 18), upto=20) == {"orphan": 1}


def test_a_forgotten_exposure_gives_way_to_one_within_skew() -> None:
    spec = kind_with(QUIET, "click", skew=2)
    times = event("impression", 0), event("click", 8), event("impression", 10)
    assert tell(spec, *times, upto=14)[-1] == "14 final #1 ctr ctr=1@10"


def test_a_child_comes_after_the_first_event_of_the_kind_it_comes_after() -> None:
    times = event("impression", 0), event("click", 1), event("click", 4), event("conversion", 12)
    assert account(AD, "conversion", *times, upto=12) == {"outside": 1}  # 11 after the first click


def test_of_the_kinds_it_may_come_after_the_preferred_one_is_its_parent() -> None:
    view, cart, purchase = event("view", 0), event("cart", 3), event("purchase", 8)
    assert account(SHOP, "purchase", view, cart, purchase, upto=20) == {"joined": 1}  # 5 after the cart
    assert account(SHOP, "purchase", view, purchase, upto=20) == {"outside": 1}  # 8 after the view
    assert account(SHOP, "purchase", view, event("purchase", 5), upto=20) == {"joined": 1}
    assert account(SHOP, "purchase", view, event("cart", 1), event("purchase", 7), upto=20) == {"outside": 1}


def test_a_view_that_happened_wins_over_a_cart_within_skew() -> None:
    times = event("view", 0), event("purchase", 6), event("cart", 7)
    assert account(SHOP, "purchase", *times, upto=20) == {"outside": 1}  # 6 after the view


def test_a_chain_of_four_kinds_joins_step_by_step() -> None:
    times = event("is_click", 0), event("is_on_mic", 9), event("mic_seconds", 16, amount=1.0)
    lines = tell(SOCIAL, *times, upto=16)
    assert lines[-1] == "16 final #0 spoke/times viewed=0 on_mic=1@9 spoke=1@16 times=1@16=1"
    assert "9 final #0 on_mic viewed=0 on_mic=1@9" in lines


# Belonging by name


def test_a_child_that_names_its_parent_counts_from_that_one() -> None:
    clicks = event("impression", 0), event("click", 1, id="a"), event("click", 4, id="b")
    for named, count in [("b", "joined"), ("a", "outside")]:
        bought = event("conversion", 12, click_id=named)
        assert account(NAMED, "conversion", *clicks, bought, upto=12) == {count: 1}


def test_a_child_that_names_its_parent_belongs_to_its_exposure_and_needs_no_key() -> None:
    clicks = event("impression", 0), event("click", 1, id="a"), event("impression", 2), event("click", 3)
    bought = event("conversion", 4, click_id="a", user=None, amount=1.0)
    last = [line for line in tell(NAMED, *clicks, bought, upto=20) if "cvr=1" in line][-1]
    assert last == "11 final #0 cvr/order_value ctr=1@1 cvr=1@4 order_value=1@4=1"


def test_a_child_that_names_nothing_is_found_by_key() -> None:
    times = event("impression", 0), event("click", 1), event("conversion", 4, click_id=None)
    assert account(NAMED, "conversion", *times, upto=4) == {"joined": 1}


def test_a_child_without_name_and_key_is_an_orphan() -> None:
    times = event("impression", 0), event("click", 1), event("conversion", 4, user=None)
    assert account(NAMED, "conversion", *times, upto=7) == {"orphan": 1}


def test_a_child_that_names_an_unknown_parent_is_an_orphan() -> None:
    times = event("impression", 0), event("click", 1), event("conversion", 4, click_id="nobody")
    assert account(NAMED, "conversion", *times, upto=5) == {"waiting": 1}
    assert account(NAMED, "conversion", *times, upto=6) == {"orphan": 1}


def test_a_named_parent_may_come_within_skew() -> None:
    for click, count in [(6, "joined"), (7, "orphan")]:
        times = event("impression", 4), event("click", click, id="a"), event("conversion", 4, click_id="a")
        assert account(NAMED, "conversion", *times, upto=20) == {count: 1}


def test_a_named_parent_is_remembered_past_its_window() -> None:
    clicked = event("impression", 0), event("click", 0, id="a")
    for time, count in [(10, "joined"), (11, "outside"), (13, "outside"), (14, "orphan")]:
        bought = event("conversion", time, click_id="a")
        assert account(NAMED, "conversion", *clicked, bought, upto=20) == {count: 1}


def test_who_names_a_parent_that_did_not_join_is_an_orphan() -> None:
    bought = event("conversion", 6, click_id="a")
    for click in (event("click", 5, id="a"), event("click", 5, id="a", user="v")):
        assert account(NAMED, "conversion", event("impression", 0), click, bought, upto=9) == {"orphan": 1}


def test_who_names_a_parent_that_waits_waits_with_it() -> None:
    spec = kind_with(NAMED, "click", skew=4)
    early = event("conversion", 0, click_id="a"), event("click", 1, id="a")
    assert account(spec, "conversion", *early, upto=4) == {"waiting": 1}
    assert account(spec, "conversion", *early, upto=5) == {"orphan": 1}
    exposed = event("impression", 5)
    assert account(spec, "conversion", *early, exposed, upto=5) == {"joined": 1}
    assert "6 look+1 #0 cvr ctr=1@5 cvr=1@5" in " ".join(tell(spec, *early, exposed, upto=20))


def test_of_kinds_that_share_a_name_the_preferred_one_that_happened_is_the_parent() -> None:
    view, bought = event("view", 0), event("order", 7, click_id="a")
    click, tap = event("click", 1, id="a"), event("tap", 0, id="a")
    assert account(NAMED_TWICE, "order", view, click, bought, upto=9) == {"joined": 1}
    assert account(NAMED_TWICE, "order", view, click, tap, bought, upto=9) == {
        "outside": 1
    }  # 7 after the tap


def test_a_child_may_name_the_exposure_itself() -> None:
    spec = replace(NAMED_TWICE, tasks=(TaskSpec("refunded", "refund"),))
    views = event("view", 0, id="a"), event("view", 1, id="b")
    assert tell(spec, *views, event("refund", 3, click_id="a", user=None), upto=20) == [
        "0 exposed #0 -",
        "1 exposed #1 -",
        "6 final #0 refunded refunded=1@3",
        "7 final #1 refunded refunded=0",
    ]


def test_a_named_parent_of_an_exposure_to_come_is_waited_for() -> None:
    times = event("refund", 3, click_id="a"), event("view", 4, id="a")
    assert account(NAMED_TWICE, "refund", *times, upto=3) == {"waiting": 1}
    assert account(NAMED_TWICE, "refund", *times, upto=4) == {"joined": 1}
