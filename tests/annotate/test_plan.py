"""A rater's order: blocks in the rows of a Latin square, gold and repeats in between, the same again at any time."""

from collections import Counter
from itertools import pairwise

import pytest

from annotate import plan
from annotate.design import Design
from annotate.plan import Planned, latin_square, make, remade


def clips(main: int = 80, gold: int = 0, practice: int = 0, passes: tuple[str, ...] = ("voice",), blocks: int = 4):
    kinds = ["main"] * main + ["gold"] * gold + ["practice"] * practice
    names = [(modality, k, kind) for modality in passes for k, kind in enumerate(kinds)]
    return [Planned(n + 1, modality, kind, block=k % blocks) for n, (modality, k, kind) in enumerate(names)]


@pytest.mark.parametrize("n", range(1, 13))
def test_each_block_stands_at_each_place_equally_often(n):
    square = latin_square(n)
    for k in range(n):
        assert set(Counter(row[k] for row in square).values()) == {len(square) // n}
    assert all(sorted(row) == list(range(n)) for row in square)


@pytest.mark.parametrize("n", range(2, 13))
def test_each_block_follows_each_other_equally_often(n):
    pairs = Counter(pair for row in latin_square(n) for pair in pairwise(row))
    assert len(pairs) == n * (n - 1)
    assert set(pairs.values()) == {1 if n % 2 == 0 else 2}


@pytest.mark.parametrize("number", [0, 1, 7])
def test_the_same_seed_and_rater_give_the_same_order(number):
    design, items = Design(seed=3), clips(200, gold=5)
    assert make(design, number, items) == make(design, number, items[::-1])
    assert make(design, number, items) != make(design, number + 4, items)
    assert make(design, number, items) != make(Design(seed=4), number, items)


@pytest.mark.parametrize("number", range(8))
def test_everything_comes_once_and_the_share_of_repeats_holds(number):
    design = Design(passes=("voice", "face", "both"), repeat_share=0.1, gold_every=10)
    items = clips(100, gold=6, practice=3, passes=design.passes)
    order = make(design, number, items)
    first = [item_id for item_id, is_repeat in order if not is_repeat]
    repeats = [item_id for item_id, is_repeat in order if is_repeat]
    assert sorted(first) == sorted(item.item_id for item in items)
    assert len(repeats) == len(set(repeats)) == 30
    kinds = {item.item_id: item.kind for item in items}
    assert {kinds[item_id] for item_id in repeats} == {"main"}


def test_practice_comes_first_and_the_passes_one_after_another():
    design = Design(passes=("face", "voice"))
    items = {item.item_id: item for item in clips(40, gold=2, practice=3, passes=("voice", "face"))}
    order = [items[item_id] for item_id, _ in make(design, 1, list(items.values()))]
    assert [item.kind for item in order].index("main") == 6
    assert all(item.kind == "practice" for item in order[:6])
    rest = [item.modality for item in order[6:]]
    assert rest == sorted(rest, key=design.passes.index)


@pytest.mark.parametrize("number", range(9))
def test_blocks_come_in_the_order_of_the_raters_row(number):
    design, items = Design(repeat_share=0.0), {item.item_id: item for item in clips(40)}
    blocks = [items[item_id].block for item_id, _ in make(design, number, list(items.values()))]
    seen = list(dict.fromkeys(blocks))
    assert seen == latin_square(4)[number % 4]
    assert blocks == [block for block in seen for _ in range(10)]


def test_higher_priority_comes_first_in_its_block():
    design = Design(repeat_share=0.0, blocks=1)
    items = [Planned(k, "voice", "main", 0, priority=float(k % 3)) for k in range(30)]
    priorities = [item_id % 3 for item_id, _ in make(design, 0, items)]
    assert priorities == sorted(priorities, reverse=True)


@pytest.mark.parametrize("number", range(6))
def test_gold_comes_about_every_so_many_clips_and_all_of_it(number):
    design = Design(repeat_share=0.0, gold_every=20)
    gold = {item.item_id for item in clips(400, gold=15) if item.kind == "gold"}
    places = [k for k, (item_id, _) in enumerate(make(design, number, clips(400, gold=15))) if item_id in gold]
    gaps = [b - a for a, b in pairwise(places)]
    assert len(places) == 15
    assert all(10 <= gap <= 31 for gap in gaps)
    assert len(set(gaps)) > 2  # nobody can count on it
    few = make(design, number, clips(6, gold=15))
    assert {item_id for item_id, _ in few} == {item.item_id for item in clips(6, gold=15)}


@pytest.mark.parametrize(("main", "apart"), [(400, plan.APART), (30, 15), (3, 1), (1, 0), (0, 0)])
def test_repeats_come_at_least_20_clips_later_or_as_late_as_a_short_pass_allows(main, apart):
    design = Design(repeat_share=0.34)
    for number in range(4):
        order = make(design, number, clips(main))
        first = {item_id: k for k, (item_id, is_repeat) in enumerate(order) if not is_repeat}
        distances = [k - first[item_id] for k, (item_id, is_repeat) in enumerate(order) if is_repeat]
        assert len(distances) == round(0.34 * main)
        assert all(distance >= apart for distance in distances)


def test_a_plan_is_kept_as_numbers():
    entries = [(3, False), (12, False), (3, True)]
    assert plan.packed(entries) == [3, 12, -3]
    assert plan.unpacked(plan.packed(entries)) == entries


def test_a_plan_made_anew_leaves_what_was_met_and_repeats_the_same_clips():
    design, items = Design(repeat_share=0.1), clips(100)
    old = make(design, 2, items)
    more = [*items, *(Planned(1000 + k, "voice", "main", k % 4, priority=1.0) for k in range(20))]
    new = remade(design, 2, more, old, 40)
    assert new[:40] == old[:40]
    assert len(new) == len(set(new)) == 132
    assert {item_id for item_id, is_repeat in new if not is_repeat} == {item.item_id for item in more}
    assert new[40][0] >= 1000  # what has a higher priority now comes next
    without = remade(design, 2, items[:50], old, 40)
    assert {entry[0] for entry in without[40:]} <= {item.item_id for item in items[:50]}
