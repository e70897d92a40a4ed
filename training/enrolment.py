"""Which of a person's clips a baseline is learned from, and which are scored: one protocol for every evaluation."""

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .corpora.manifest import Row

NEUTRAL_CLIPS = 3  # of each person, for the baseline of neutral clips
SEED = 0  # of the draws
PROTOCOLS = {
    "none": "each clip by itself",
    "neutral": f"learned from {NEUTRAL_CLIPS} neutral clips of each person, which are never scored",
    "enrolled": "learned from a random half of each person's clips without their labels; the other half is scored",
    "unlabelled": "transductive: learned from all clips of each person without their labels, and these are scored",
}


@dataclass(frozen=True)
class Person:
    """One speaker's places among the rows given."""

    speaker: str
    learned: list[int]
    scored: list[int]
    lacks: str = ""  # why nothing of this person is used


def draw(rows: Sequence[Row], kind: str) -> list[Person]:
    """The people of `rows` in the order of their files, by the kind of baseline, one of PROTOCOLS.

    Labels serve in `neutral` only; calm, though scored as neutral, teaches nothing there. A person's draw depends on SEED
    and on that person's clips alone.
    """
    people = defaultdict(list)
    for n in sorted(range(len(rows)), key=lambda n: rows[n].path):
        people[rows[n].speaker].append(n)
    found = []
    for speaker, own in people.items():
        generator = np.random.default_rng([SEED, zlib.crc32(speaker.encode())])
        mixed = [own[n] for n in generator.permutation(len(own))]
        learned, lacks = mixed if kind == "unlabelled" else [], ""
        if kind == "neutral":
            learned = [n for n in mixed if rows[n].corpus_label.lower() == "neutral"][:NEUTRAL_CLIPS]
            lacks = "" if len(learned) == NEUTRAL_CLIPS else f"person without {NEUTRAL_CLIPS} neutral clips"
        elif kind == "enrolled":
            learned = mixed[: len(mixed) // 2]
            lacks = "" if learned else "person with one clip"
        scored = own if kind == "unlabelled" else [n for n in own if n not in learned]
        found.append(Person(speaker, learned, scored, lacks))
    return found
