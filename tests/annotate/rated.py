"""Raters who answer the clips of a small study through the queue, and what tests of it ask afterwards."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from annotate.answers import Answer
from annotate.queue import Refused, claim, submit
from annotate.schema import Lease
from annotate.store import Store
from tests.conftest import is_one_sentence

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANGER = Answer(label="anger", intensity=75, reaction_ms=800, first_play_ended_at=NOON)
FEAR = Answer(label="fear")


def items_of(store: Store, tokens: list[str]) -> list[int]:
    with store.read() as session:
        found = dict(session.execute(select(Lease.token, Lease.item_id).where(Lease.token.in_(tokens))).tuples().all())
    return [found[token] for token in tokens]


def rate_all(store: Store, rater: tuple[int, int], answer: Answer = ANGER, most: int = 10_000) -> list[str]:
    """Answers until nothing comes any more; the tokens."""
    tokens = []
    while len(tokens) < most and (shown := claim(store, rater[1])):
        submit(store, rater[0], shown[0].token, f"key-{rater[1]}-{len(tokens)}-{shown[0].token}", answer)
        tokens.append(shown[0].token)
    return tokens


def refused(call, *arguments, **named) -> Refused:
    with pytest.raises(Refused) as found:
        call(*arguments, **named)
    assert is_one_sentence(str(found.value))
    return found.value
