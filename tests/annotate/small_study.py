"""A study written straight into the store, for what needs many clips and no true media."""

import hashlib
import io
import wave
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import select

from annotate.design import Design
from annotate.queue import enrol
from annotate.schema import Account, Child, Clip, Item, Rendition, Study
from annotate.scheme import SCHEMES, Scheme
from annotate.store import Store, gold_digests, record


def make_study(
    store: Store,
    kinds: Sequence[str] = ("main",) * 10,
    design: Design | None = None,
    scheme: Scheme = SCHEMES["basic seven"],
    name: str = "Joy at school",
    own_media: bool = False,
) -> int:
    """A study with a clip for each kind, in every pass; its media is one short tone for all of them, or one for each."""
    design = design or Design(repeat_share=0.0)
    files = [f"{k}.wav" if own_media else "tone.wav" for k in range(len(kinds))]
    for k, file in enumerate(dict.fromkeys(files)):
        (store.home.media / file).write_bytes(tone(0.5 + k / 8000))
    with store.write() as session:
        study = Study(name=name, scheme=scheme.to_json(), design=design.to_json(), created_at=datetime.now(UTC))
        child = Child(pseudonym="Vasya-secret", age_months=61, sex="male", group="typical-secret", language="ru-secret")
        session.add(study)
        session.flush()
        child.study_id = study.id
        session.add(child)
        session.flush()
        clips = [
            Clip(
                study_id=study.id,
                child_id=child.id,
                name=f"angry_child_{k:05}.wav",
                content_hash=hashlib.sha256(f"{study.id} {k}".encode()).hexdigest(),
                duration_s=0.5,
                kind=kind,
                gold_label=scheme.names[0] if kind == "gold" else None,
                block=k % design.blocks,
                peaks=[0.1, 0.9, 0.4],
                details={},
            )
            for k, kind in enumerate(kinds)
        ]
        session.add_all(clips)
        session.flush()
        if gold := gold_digests(clips):
            record(session, None, "study created", f"study {study.id}", gold=gold)
        for modality in design.passes:
            session.add_all(
                Item(study_id=study.id, clip_id=clip.id, modality=modality, wanted=design.replications) for clip in clips
            )
            session.add_all(
                Rendition(clip_id=clip.id, modality=modality, file=file, media_type="audio/wav")
                for clip, file in zip(clips, files, strict=True)
            )
        return study.id


def make_raters(store: Store, study_id: int, count: int) -> list[tuple[int, int]]:
    """(account_id, enrolment_id) of new raters R01, R02, ..., enrolled."""
    with store.write() as session:
        first = len(session.scalars(select(Account.id)).all())
        accounts = [
            Account(name=f"R{first + k + 1:02}", roles=["rater"], created_at=datetime.now(UTC)) for k in range(count)
        ]
        session.add_all(accounts)
        session.flush()
        return [(account.id, enrol(session, study_id, account.id).id) for account in accounts]


def tone(seconds: float = 0.5, rate: int = 8000) -> bytes:
    """A WAV file of a quiet tone."""
    samples = (3000 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()
