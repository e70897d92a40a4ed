"""Who is shown which clip, and what becomes of the answer. The token of a lease, not the page, names the clip.

    enrolment = enrol(session, study_id, account_id)
    shown = claim(store, enrolment.id)                      # up to three clips: one to answer, the others to load ahead
    saved = submit(store, account_id, shown[0].token, key, answer)  # and the clips that come then

Every write holds the store's one lock, so counting and then leasing is exact. What cannot be accepted is kept as a draft.
The audit log tells of ratings, skips and refusals; where a clip lay meanwhile, the leases themselves tell. What a rater has
done by now is read in past.py.
"""

import logging
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from scipy.special import betaincinv
from sqlalchemy import ColumnElement, and_, bindparam, delete, exists, func, select, update
from sqlalchemy.orm import Session, defer

from .answers import Answer, checked
from .assignment import need_rater
from .design import Design
from .offers import AHEAD, RATER, expire, held_as, leases_of, offers
from .past import IS_CURRENT, answer_of, heard
from .schema import Clip, Draft, Enrolment, Item, Lease, Rating, Rendition, Study
from .scheme import Scheme
from .store import Store, StudyError, rating_digest, record

LOG = logging.getLogger(__name__)
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
KEY = re.compile(r"[!-~]{1,100}")

Found = tuple[Lease, Enrolment, Study]


class Refused(StudyError):  # noqa: N818 what becomes of an answer, not a fault
    """An answer that was not accepted. `reason`: late, stale, foreign or unknown; `kept`: as this rater's draft."""

    def __init__(self, reason: str, sentence: str, kept: bool) -> None:
        super().__init__(sentence)
        self.reason, self.kept = reason, kept


@dataclass(frozen=True)
class Shown:
    """A clip in front of a rater, and no more of it than a rater may know."""

    token: str
    number: int  # 1, 2, 3, ... for this rater
    modality: str
    media_type: str
    duration_s: float
    peaks: list[Any]
    is_practice: bool
    draft: dict[str, Any] | None
    expires_at: datetime


@dataclass(frozen=True)
class Saved:
    """An answer that was accepted, and the clips that its rater holds then; None where the study gives out no more."""

    rating_id: int
    enrolment_id: int
    clips: list[Shown] | None


# ---------------------------------------------------------------- joining


def enrol(session: Session, study_id: int, account_id: int) -> Enrolment:
    """The account's place in the study, made with the next number where there is none yet (inside a write).

    NotYours where the study is for chosen raters only and the account is none of them.
    """
    found = enrolment_of(session, study_id, account_id)
    if found is not None:
        return found
    need_rater(session, _study(session, study_id), account_id)
    last = session.scalar(select(func.max(Enrolment.number)).where(Enrolment.study_id == study_id))
    enrolment = Enrolment(
        study_id=study_id,
        account_id=account_id,
        number=0 if last is None else last + 1,
        plan=[],
        place=0,
        order_version=-1,
        created_at=datetime.now(UTC),
    )
    session.add(enrolment)
    session.flush()
    record(session, account_id, "enrolled", f"enrolment {enrolment.id}", study=study_id)
    return enrolment


def enrolment_of(session: Session, study_id: int, account_id: int) -> Enrolment | None:
    wanted = select(Enrolment).where(Enrolment.study_id == study_id, Enrolment.account_id == account_id)
    return session.scalars(wanted.options(defer(Enrolment.plan))).one_or_none()


# ---------------------------------------------------------------- claiming


def claim(store: Store, enrolment_id: int, now: datetime | None = None) -> list[Shown]:
    """The clips that this rater holds, up to AHEAD, the first to be answered first; empty when there is nothing more.

    Who holds clips gets the same again, with their time renewed. StudyError where the study is paused or closed, NotYours
    where it is no longer for this rater.
    """
    with store.write() as session:
        return _claim(session, *_enrolled(session, enrolment_id), now or datetime.now(UTC))


def _claim(session: Session, enrolment: Enrolment, study: Study, now: datetime) -> list[Shown]:
    """As claim(), within a write."""
    need_rater(session, study, enrolment.account_id)
    _need_open(study)
    design = Design.from_json(study.design)
    expires_at = now + timedelta(minutes=design.lease_minutes)
    leases = session.scalars(_HELD, {"enrolment_id": enrolment.id}).all()
    expire(session, [lease.token for lease in leases if lease.expires_at <= now])
    held = [lease for lease in leases if lease.state == "open"]
    for lease in held:
        lease.expires_at = expires_at
    for item_id, is_repeat, order_index in offers(session, study, design, enrolment, now, AHEAD - len(held)):
        lease = Lease(
            token=secrets.token_urlsafe(24),
            item_id=item_id,
            enrolment_id=enrolment.id,
            order_index=order_index,
            is_repeat=is_repeat,
            state="open",
            claimed_at=now,
            expires_at=expires_at,
        )
        session.add(lease)
    session.flush()
    return _shown(session, enrolment.id)


def renew(store: Store, account_id: int, tokens: list[str], now: datetime | None = None) -> float:
    """Hold these clips longer. Returns for how many seconds; 0.0 where none of them is held any more."""
    now = now or datetime.now(UTC)
    seconds = 0.0
    with store.write() as session:
        for token in tokens:
            found = _lease(session, token)
            if found is None or found[1].account_id != account_id:
                continue
            lease, _, study = found
            if lease.state == "open" and lease.expires_at > now:
                minutes = Design.from_json(study.design).lease_minutes
                lease.expires_at, seconds = now + timedelta(minutes=minutes), minutes * 60
    return seconds


def release(store: Store, account_id: int, study_id: int) -> None:
    """Give back the clips that this rater holds: others may have them at once, and so may this rater."""
    with store.write() as session:
        enrolment = enrolment_of(session, study_id, account_id)
        if enrolment is not None:
            session.execute(update(Lease).where(*held_as(enrolment.id, "open")).values(state="released"))


def skip(store: Store, account_id: int, token: str) -> None:
    """Put a clip back; it comes once more at the end. Skipping it twice by accident is one skip."""
    with store.write() as session:
        found = _lease(session, token)
        if found is None or found[1].account_id != account_id:
            raise Refused(
                "unknown", "This clip is not one that you hold, so it cannot be skipped; go on with the next.", False
            )
        lease, enrolment, study = found
        need_rater(session, study, account_id)
        if lease.state == "answered":
            raise Refused(
                "stale", "You have answered this clip already, so it cannot be skipped; edit the answer instead.", False
            )
        if lease.state != "skipped":  # one whose time ran out too: the rater has seen it and will not answer now
            lease.state = "skipped"
            record(session, account_id, "clip skipped", f"item {lease.item_id}", enrolment=enrolment.id)


# ---------------------------------------------------------------- answering


def submit(store: Store, account_id: int, token: str, key: str, answer: Answer, now: datetime | None = None) -> Saved:
    """The rating and, claimed in the same write, the clips that come next: the disk is waited for once, and not twice.

    The same key with the same answer again is harmless and names the same rating. Refused where the clip is not this
    rater's to answer any more; the answer is then kept as the rater's draft. StudyError where it is no answer to the
    study's question.
    """
    now = now or datetime.now(UTC)
    _check_key(key)
    clips = None
    with store.write() as session:
        found = _lease(session, token)
        done = _submit(session, found, account_id, key, answer, now)
        if found is not None and not isinstance(done, Refused):
            _, enrolment, study = found
            enrolment_id = enrolment.id
            try:  # the answer is saved all the same, and the next claim says why
                with session.begin_nested():
                    clips = _claim(session, enrolment, study, now)
            except StudyError:
                pass
            except Exception:
                LOG.exception("The clips after rating %s could not be claimed.", done)
    if isinstance(done, Refused):  # raised only now, so that the draft is committed
        raise done
    return Saved(done, enrolment_id, clips)


def _submit(
    session: Session, found: Found | None, account_id: int, key: str, answer: Answer, now: datetime
) -> int | Refused:
    if found is None:
        return Refused(
            "unknown", "No clip is known under this token, so nothing was saved; reload the page to go on.", False
        )
    lease, enrolment, study = found
    own = enrolment if enrolment.account_id == account_id else enrol(session, study.id, account_id)
    if own is not enrolment:
        sentence = "This clip was given to someone else, so it was not saved; your answer is kept for when it comes to you."
        return _refuse(session, own, lease, answer, "foreign", sentence, now)
    earlier = session.scalars(select(Rating).where(Rating.idempotency_key == key)).one_or_none()
    fits = checked(answer, Scheme.from_json(study.scheme), Design.from_json(study.design))
    if earlier is not None and earlier.lease_token == lease.token and answer_of(earlier) == fits:
        return earlier.id
    if earlier is not None or lease.state in ("answered", "skipped"):
        skipped = lease.state == "skipped"
        what, where = ("skipped", "comes back with it") if skipped else ("answered", "stands in your answers")
        sentence = f"This clip was {what} already, perhaps in another tab; the later answer was not saved, but {where}."
        return _refuse(session, own, lease, answer, "stale", sentence, now)
    if lease.state != "open" or lease.expires_at <= now:
        lease.state = "expired" if lease.state == "open" else lease.state
        sentence = (
            "This clip was held too long and went back to the queue; your answer is kept for when it comes to you again."
        )
        return _refuse(session, own, lease, answer, "late", sentence, now)
    lease.state = "answered"
    rating = _add(session, fits, lease, key, now, None)
    session.execute(delete(Draft).where(*_draft(own.id, lease.item_id, lease.is_repeat)))
    detail = _ask_for_more(session, study, lease)
    record(session, account_id, "rating submitted", f"rating {rating.id}", digest=rating_digest(rating), **detail)
    return rating.id


def correct(store: Store, account_id: int, rating_id: int, key: str, answer: Answer, now: datetime | None = None) -> int:
    """A new rating that supersedes one's own; its id. Only the newest version can be edited."""
    now = now or datetime.now(UTC)
    _check_key(key)
    with store.write() as session:
        old = session.get(Rating, rating_id)
        mine = _enrolled(session, old.enrolment_id) if old and old.enrolment_id else None
        if old is None or mine is None or mine[0].account_id != account_id:
            raise Refused("foreign", f"Rating {rating_id} is not one of yours, so it cannot be edited.", False)
        study = mine[1]
        need_rater(session, study, account_id)
        fits = checked(answer, Scheme.from_json(study.scheme), Design.from_json(study.design))
        newer = session.scalars(select(Rating).where(Rating.supersedes == rating_id)).one_or_none()
        if newer is not None and newer.idempotency_key == key and answer_of(newer) == fits:
            return newer.id
        if newer is not None or session.scalar(select(exists().where(Rating.idempotency_key == key))):
            raise Refused(
                "stale", "This rating was edited already, perhaps in another tab; reload it to edit it again.", False
            )
        if study.state == "closed":
            raise StudyError(f"The study {study.name} is closed, so its ratings can no longer be edited.")
        lease = session.get(Lease, old.lease_token) if old.lease_token else None
        if lease is None:
            raise StudyError(f"Rating {rating_id} was imported; it cannot be edited here.")
        rating = _add(session, fits, lease, key, now, old.id)
        session.execute(delete(Draft).where(*_draft(mine[0].id, lease.item_id, lease.is_repeat)))
        detail = {"supersedes": old.id, **_ask_for_more(session, study, lease)}
        record(session, account_id, "rating corrected", f"rating {rating.id}", digest=rating_digest(rating), **detail)
        return rating.id


def save_draft(store: Store, account_id: int, token: str, answer: Answer, now: datetime | None = None) -> bool:
    """Keep an answer that is not sent yet, while its clip is still to be answered. Returns whether it is."""
    with store.write() as session:
        found = _lease(session, token)
        if found is None or found[1].account_id != account_id or found[0].state in ("answered", "skipped"):
            return False
        lease, enrolment, _ = found
        _keep(session, enrolment.id, lease.item_id, lease.is_repeat, answer, "unsent", now or datetime.now(UTC))
        return True


def _add(session: Session, answer: Answer, lease: Lease, key: str, now: datetime, supersedes: int | None) -> Rating:
    rating = Rating(
        **{name: getattr(answer, name) for name in Answer.__dataclass_fields__},
        item_id=lease.item_id,
        enrolment_id=lease.enrolment_id,
        lease_token=lease.token,
        idempotency_key=key,
        supersedes=supersedes,
        is_repeat=lease.is_repeat,
        order_index=lease.order_index,
        submitted_at=now,
    )
    session.add(rating)
    session.flush()
    return rating


def _refuse(
    session: Session, enrolment: Enrolment, lease: Lease, answer: Answer, reason: str, sentence: str, now: datetime
) -> Refused:
    _keep(session, enrolment.id, lease.item_id, reason != "foreign" and lease.is_repeat, answer, reason, now)
    record(session, enrolment.account_id, "answer refused", f"item {lease.item_id}", reason=reason, enrolment=enrolment.id)
    return Refused(reason, sentence, True)


def _keep(
    session: Session, enrolment_id: int, item_id: int, is_repeat: bool, answer: Answer, reason: str, now: datetime
) -> None:
    draft = session.scalars(select(Draft).where(*_draft(enrolment_id, item_id, is_repeat))).one_or_none()
    if draft is None:
        draft = Draft(enrolment_id=enrolment_id, item_id=item_id, is_repeat=is_repeat)
        session.add(draft)
    draft.answer, draft.reason, draft.saved_at = answer.to_json(), reason, now


# ---------------------------------------------------------------- when there are ratings enough


def leader_width(counts: list[int]) -> float:
    """Width of the 95 % interval of the leading label's share: a Beta, of a Dirichlet posterior with Perks's prior (1947).

    That prior weighs as much as one answer in all. With a uniform one, which weighs as one answer for every label, three
    answers that differ would seem surer than three that agree.
    """
    labels = len(counts)
    most, rest = max(counts) + 1 / labels, sum(counts) - max(counts) + (labels - 1) / labels
    return float(betaincinv(most, rest, 0.975) - betaincinv(most, rest, 0.025)) if rest else 0.0


def _ask_for_more(session: Session, study: Study, lease: Lease) -> dict[str, int]:
    """Raise the item's quota by one where the study has a stopping rule, the quota is full, and the leader is unclear."""
    design = Design.from_json(study.design)
    if design.stop_width is None or lease.is_repeat:
        return {}
    item, kind = session.execute(select(Item, Clip.kind).join(Clip).where(Item.id == lease.item_id)).one()
    if kind != "main" or item.wanted >= design.most_replications:
        return {}
    current = select(Rating.label, func.count()).where(Rating.item_id == item.id, ~Rating.is_repeat, IS_CURRENT)
    found: dict[str | None, int] = dict(session.execute(current.group_by(Rating.label)).tuples().all())
    names = Scheme.from_json(study.scheme).names
    if sum(found.values()) < item.wanted or leader_width([found.get(name, 0) for name in names]) < design.stop_width:
        return {}
    item.wanted += 1
    return {"item": item.id, "wanted": item.wanted}


# ---------------------------------------------------------------- rows


def _study(session: Session, study_id: int) -> Study:
    study = session.get(Study, study_id)
    if study is None:
        raise StudyError(f"There is no study {study_id}; the studies that there are stand on the first page.")
    return study


def _enrolled(session: Session, enrolment_id: int) -> tuple[Enrolment, Study]:
    query = select(Enrolment, Study).join(Study, Enrolment.study_id == Study.id).where(Enrolment.id == enrolment_id)
    found = session.execute(query.options(defer(Enrolment.plan))).tuples().one_or_none()
    if found is None:
        raise StudyError(f"There is no enrolment {enrolment_id}; open the study to be enrolled in it.")
    return found


def _lease(session: Session, token: str) -> Found | None:
    return session.execute(_LEASE, {"token": token}).tuples().one_or_none() if TOKEN.fullmatch(token) else None


def _need_open(study: Study) -> None:
    if study.state == "paused":
        raise StudyError(f"The study {study.name} is paused by its lead; no clips are given out until it goes on.")
    if study.state != "open":
        raise StudyError(f"The study {study.name} is closed; no more clips are given out. Thank you for your answers.")


def _check_key(key: str) -> None:
    if not KEY.fullmatch(key):
        raise StudyError("The key of a submit has 1 to 100 plain characters, such as a UUID; send it again with such a key.")


def _draft(enrolment_id: int, item_id: int, is_repeat: bool) -> tuple[ColumnElement[bool], ...]:
    return Draft.enrolment_id == enrolment_id, Draft.item_id == item_id, Draft.is_repeat == is_repeat


def _shown(session: Session, enrolment_id: int) -> list[Shown]:
    rows = session.execute(_SHOWN, {"enrolment_id": enrolment_id})
    return [
        Shown(
            lease.token,
            lease.order_index + 1,
            modality,
            media_type,
            duration_s,
            heard(modality, peaks),
            kind == "practice",
            draft,
            lease.expires_at,
        )
        for lease, modality, kind, duration_s, peaks, media_type, draft in rows
    ]


# ---------------------------------------------------------------- statements
# Put together once, because they run at every answer: that takes longer than the database needs for them.

_LEASE = (
    select(Lease, Enrolment, Study)
    .join(Enrolment, Lease.enrolment_id == Enrolment.id)
    .join(Study, Enrolment.study_id == Study.id)
    .where(Lease.token == bindparam("token"))
    .options(defer(Enrolment.plan))
)
_SHOWN = (
    select(Lease, Item.modality, Clip.kind, Clip.duration_s, Clip.peaks, Rendition.media_type, Draft.answer)
    .join(Item, Lease.item_id == Item.id)
    .join(Clip, Item.clip_id == Clip.id)
    .join(Rendition, and_(Rendition.clip_id == Clip.id, Rendition.modality == Item.modality))
    .outerjoin(
        Draft,
        and_(Draft.enrolment_id == Lease.enrolment_id, Draft.item_id == Lease.item_id, Draft.is_repeat == Lease.is_repeat),
    )
    .where(*held_as(RATER, "open"))
    .order_by(Lease.order_index)
)
_HELD = leases_of(RATER, "open")
