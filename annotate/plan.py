"""The order of a rater's clips, made from the study's seed and the rater's number: the same again at any time.

Practice comes first; then the passes; in a pass the blocks in the order of the rater's row of a Latin square, and in a
block the clips of higher priority first, those of equal priority shuffled. Gold and repeats are strewn in between.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .design import Design

Entry = tuple[int, bool]  # (item_id, is_repeat)
APART = 20  # clips between a clip and its repeat, where there are as many


@dataclass(frozen=True)
class Planned:
    """What the order needs to know of an item."""

    item_id: int
    modality: str
    kind: str
    block: int = 0
    priority: float = 0.0


def make(design: Design, number: int, items: Sequence[Planned]) -> list[Entry]:
    """The whole order of the rater with this number."""
    practice = [item for item in items if item.kind == "practice"]
    order = [
        entry for name in design.passes for entry in _shuffled(design, number, [i for i in practice if i.modality == name])
    ]
    blocks = sorted({item.block for item in items if item.kind == "main"})
    rows = latin_square(len(blocks))
    row = [blocks[k] for k in rows[number % len(rows)]] if blocks else []
    for name in design.passes:
        order += _pass(design, number, row, [item for item in items if item.modality == name])
    return order


def remade(design: Design, number: int, items: Sequence[Planned], old: Sequence[Entry], place: int) -> list[Entry]:
    """The order made anew, with its first `place` entries, which the rater has met, left as they are."""
    met = set(old[:place])
    return [*old[:place], *(entry for entry in make(design, number, items) if entry not in met)]


def packed(entries: Iterable[Entry]) -> list[int]:
    """As the database keeps it: item ids, below zero where they come again."""
    return [-item_id if is_repeat else item_id for item_id, is_repeat in entries]


def unpacked(numbers: Iterable[int]) -> list[Entry]:
    return [(abs(number), number < 0) for number in numbers]


def latin_square(n: int) -> list[list[int]]:
    """Williams' square of 0 to n-1: each stands at each place equally often, and directly after each other equally often.

    It has n rows; for odd n that needs 2n, the second half being the first read backwards.
    """
    zigzag = [(k + 1) // 2 if k % 2 else (n - k // 2) % n for k in range(n)]  # 0, 1, n-1, 2, n-2, ...
    rows = [[(block + row) % n for block in zigzag] for row in range(n)]
    return rows if n % 2 == 0 else rows + [row[::-1] for row in rows]


def _pass(design: Design, number: int, blocks: Sequence[int], items: Sequence[Planned]) -> list[Entry]:
    main = [
        entry
        for block in blocks
        for entry in _shuffled(design, number, [i for i in items if (i.kind, i.block) == ("main", block)])
    ]
    gold = _shuffled(design, number, [item for item in items if item.kind == "gold"])
    return _with_repeats(design, number, _with_gold(design, number, main, gold), {item_id for item_id, _ in gold})


def _shuffled(design: Design, number: int, items: Sequence[Planned]) -> list[Entry]:
    ordered = sorted(items, key=lambda item: (-item.priority, _draw(design.seed, number, item.modality, item.item_id)))
    return [(item.item_id, False) for item in ordered]


def _with_gold(design: Design, number: int, main: Sequence[Entry], gold: Sequence[Entry]) -> list[Entry]:
    """One somewhere in the middle of each stretch of `gold_every` clips, so that nobody can tell the next; all are in."""
    every = max(2, min(design.gold_every, len(main) // max(1, len(gold))))
    after: dict[int, list[Entry]] = {}
    for k, entry in enumerate(gold):
        at = k * every + every // 4 + _draw(design.seed, number, "gold", entry[0]) % max(1, every // 2)
        after.setdefault(min(at, len(main) - 1), []).append(entry)
    return _strewn(main, after)


def _with_repeats(design: Design, number: int, order: Sequence[Entry], gold: set[int]) -> list[Entry]:
    """A share of the main clips again, each at least APART later, or, in a short pass, as late as it goes.

    Which ones is drawn by item, so that a plan made anew repeats the same ones.
    """
    last = len(order) - 1
    places = {item_id: k for k, (item_id, _) in enumerate(order) if item_id not in gold}
    draws = {item_id: _draw(design.seed, number, "repeat", item_id) for item_id in places}
    wanted = round(design.repeat_share * len(places))
    chosen = sorted(places, key=lambda item_id: (max(0, places[item_id] + APART - last), draws[item_id]))[:wanted]
    after: dict[int, list[Entry]] = {}
    for item_id in chosen:
        at = places[item_id] + APART + draws[item_id] % APART
        after.setdefault(min(at, last), []).append((item_id, True))
    return _strewn(order, after)


def _strewn(order: Sequence[Entry], after: dict[int, list[Entry]]) -> list[Entry]:
    """`order` with further entries behind its k-th one. Those for -1, the end of nothing, come where there is no order."""
    return [*after.get(-1, []), *(entry for k, own in enumerate(order) for entry in (own, *after.get(k, [])))]


def _draw(*what: object) -> int:
    """A number that looks random and is always the same for the same things."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:8])
