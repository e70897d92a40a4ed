"""A study with votes, written straight into the store: raters that agree to a degree, repeats, gold, and names that bite."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import insert, select

from annotate.design import Design
from annotate.schema import Account, Child, Clip, Enrolment, Item, Rating, Rendition, Study
from annotate.scheme import SCHEMES, Scheme
from annotate.store import Store
from tests.annotate.small_study import tone

HOSTILE = '<img src=x onerror="alert(1)">'
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def make_voted(
    store: Store,
    clips: int = 40,
    raters: Sequence[str] = ("R01", "R02", HOSTILE),
    agreement: float = 0.7,
    gold: int = 0,
    repeats: int = 0,
    passes: Sequence[str] = ("voice",),
    scheme: Scheme = SCHEMES["basic seven"],
    name: str = "Joy at school",
    media: bool = True,
    start: datetime = START,
) -> int:
    """Each rater answers each clip: what is expressed with probability `agreement`, else any label; later the repeats."""
    random = np.random.default_rng(7)
    (store.home.media / "tone.wav").write_bytes(tone())
    with store.write() as session:
        design = Design(passes=tuple(passes), replications=max(len(raters), 1))
        study = Study(name=name, scheme=scheme.to_json(), design=design.to_json(), created_at=start)
        session.add(study)
        session.flush()
        children = [
            Child(study_id=study.id, pseudonym=f"child {i}", age_months=48 + 30 * i, sex=("male", "female")[i % 2])
            for i in range(4)
        ]
        session.add_all(children)
        session.flush()
        rows = [
            Clip(
                study_id=study.id,
                child_id=children[i % 4].id,
                name=HOSTILE if i == 0 else f"c_{i:04}.wav",
                duration_s=1.5,
                kind="gold" if i < gold else "main",
                gold_label=scheme.names[i % len(scheme.names)] if i < gold else None,
                peaks=[0.2],
                details={},
            )
            for i in range(clips)
        ]
        session.add_all(rows)
        session.flush()
        truth = {clip.id: scheme.names[i % len(scheme.names)] for i, clip in enumerate(rows)}
        for modality in passes:
            session.add_all(
                Item(study_id=study.id, clip_id=c.id, modality=modality, wanted=design.replications) for c in rows
            )
            if media:
                session.add_all(
                    Rendition(clip_id=c.id, modality=modality, file="tone.wav", media_type="audio/wav") for c in rows
                )
        session.flush()
        items = (
            session.execute(select(Item.id, Item.clip_id).where(Item.study_id == study.id).order_by(Item.id)).tuples().all()
        )
        votes = []
        for number, rater in enumerate(raters):
            account = session.scalars(select(Account).where(Account.name == rater)).one_or_none()
            account = account or Account(name=rater, roles=["rater"], created_at=start)
            session.add(account)
            session.flush()
            enrolment = Enrolment(study_id=study.id, account_id=account.id, number=number, plan=[], created_at=start)
            session.add(enrolment)
            session.flush()
            shown = [(item, clip, False) for item, clip in items] + [
                (item, clip, True) for item, clip in items[-repeats:] if repeats
            ]
            for order, (item, clip, again) in enumerate(shown):
                label = truth[clip] if random.random() < agreement else scheme.names[random.integers(len(scheme.names))]
                votes.append(
                    {
                        "item_id": item,
                        "enrolment_id": enrolment.id,
                        "idempotency_key": uuid.uuid4().hex,
                        "is_repeat": again,
                        "order_index": order,
                        "label": label,
                        "intensity": int(random.choice([0, 25, 50, 75, 100])),
                        "valence": int(random.integers(1, 10)),
                        "arousal": int(random.integers(1, 10)),
                        "confidence": 50,
                        "comment": HOSTILE if order == 0 else None,
                        "flag": "noise" if order == 1 else None,
                        "reaction_ms": int(random.integers(900, 4000)),
                        "submitted_at": start + timedelta(seconds=12 * order + int(random.integers(0, 4))),
                    }
                )
        if votes:
            session.execute(insert(Rating), votes)
        return study.id
