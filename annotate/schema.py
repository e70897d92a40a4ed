"""The study's tables. A clip in one modality pass is an Item; who is shown it holds a Lease; an answer is a Rating.

Ratings, adjudications and the audit log are append-only: a correction is a new row that points at what it `supersedes`.
Times are UTC. What a rater may see is decided in web/rating.py, never here.
"""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, Index, LargeBinary, MetaData, Text, TypeDecorator, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

MODALITIES = ("voice", "face", "both")  # as CREMA-D: sound only, picture only, both
ROLES = ("rater", "lead", "researcher", "adjudicator")


class Utc(TypeDecorator[datetime]):
    """An aware datetime in UTC on every database; SQLite itself keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: Utc, dict[str, Any]: JSON, list[Any]: JSON, list[str]: JSON, str: Text}  # noqa: RUF012


# ---------------------------------------------------------------- people who work here


class Account(Base):
    """Someone who signs in. `name` is all that others see (R07, or a name of one's own)."""

    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str | None]  # argon2; None: the single user of this computer, who does not sign in
    roles: Mapped[list[str]]
    language: Mapped[str] = mapped_column(default="en")
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class Invitation(Base):
    """A link that makes one account. Only a hash of its token is kept."""

    __tablename__ = "invitation"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str | None]  # a name that the lead has chosen; None: the guest chooses
    roles: Mapped[list[str]]
    study_id: Mapped[int | None] = mapped_column(ForeignKey("study.id"))  # who accepts it is chosen to rate this study
    created_by: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class Login(Base):
    """A signed-in browser. Only a hash of its cookie is kept."""

    __tablename__ = "login"
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    csrf: Mapped[str]
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]


class SignInAttempt(Base):
    """What the rate limit of sign-in counts."""

    __tablename__ = "sign_in_attempt"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    address: Mapped[str] = mapped_column(index=True)
    at: Mapped[datetime]
    succeeded: Mapped[bool]


# ---------------------------------------------------------------- what is rated


class Study(Base):
    """`scheme` is scheme.Scheme and `design` is design.Design, both as JSON."""

    __tablename__ = "study"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    scheme: Mapped[dict[str, Any]]
    design: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(default="open")  # open, paused, closed
    only_chosen: Mapped[bool] = mapped_column(default=False)  # only the raters with an Assignment rate it, not every one
    order_version: Mapped[int] = mapped_column(default=0)  # grows when clips or priorities change: plans are made anew
    created_by: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
    created_at: Mapped[datetime]


class Child(Base):
    """The person heard or seen in clips: a pseudonym. Raters never see any of this."""

    __tablename__ = "child"
    __table_args__ = (UniqueConstraint("study_id", "pseudonym"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    pseudonym: Mapped[str]
    age_months: Mapped[int | None]
    sex: Mapped[str | None]
    group: Mapped[str | None]
    language: Mapped[str | None]


class Clip(Base):
    """`kind`: main, gold (its `gold_label` is known) or practice. Without media: only votes were imported."""

    __tablename__ = "clip"
    __table_args__ = (UniqueConstraint("study_id", "content_hash"), UniqueConstraint("study_id", "name"))
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    child_id: Mapped[int | None] = mapped_column(ForeignKey("child.id"), index=True)
    name: Mapped[str]  # as the file was called; shown to leads, never to raters
    content_hash: Mapped[str | None]  # SHA-256 of the file as it came, 64 hex digits
    duration_s: Mapped[float]
    kind: Mapped[str] = mapped_column(default="main")
    gold_label: Mapped[str | None]
    block: Mapped[int] = mapped_column(default=0)  # of the Latin square
    priority: Mapped[float] = mapped_column(default=0.0)  # written by training: higher is rated earlier
    peaks: Mapped[list[Any]]  # loudness 0 to 1, evenly over the duration: the drawn waveform
    consent: Mapped[str | None]
    retain_until: Mapped[date | None]
    details: Mapped[dict[str, Any]]  # further columns of the manifest; they stand in snapshots


class Rendition(Base):
    """The file that a browser plays in one pass. A voice pass has no picture in it, a face pass no sound."""

    __tablename__ = "rendition"
    __table_args__ = (UniqueConstraint("clip_id", "modality"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    clip_id: Mapped[int] = mapped_column(ForeignKey("clip.id"))
    modality: Mapped[str]
    file: Mapped[str]  # relative to the media folder
    media_type: Mapped[str]


class ModelReading(Base):
    """What a model read in a clip, written by training. Only an adjudicator sees it."""

    __tablename__ = "model_reading"
    id: Mapped[int] = mapped_column(primary_key=True)
    clip_id: Mapped[int] = mapped_column(ForeignKey("clip.id"), index=True)
    modality: Mapped[str]
    model_id: Mapped[str]
    probabilities: Mapped[dict[str, Any]]
    written_at: Mapped[datetime]


class Item(Base):
    """A clip in one modality pass. `wanted` ratings are asked for; a stopping rule raises it or closes the item."""

    __tablename__ = "item"
    __table_args__ = (UniqueConstraint("clip_id", "modality"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    clip_id: Mapped[int] = mapped_column(ForeignKey("clip.id"))
    modality: Mapped[str]
    wanted: Mapped[int]


# ---------------------------------------------------------------- who is shown what


class Assignment(Base):
    """A rater whom a lead has chosen for a study. It counts while the study is for chosen raters only."""

    __tablename__ = "assignment"
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)


class Enrolment(Base):
    """A rater in a study. `plan` is the order of this rater's clips, made from the study's seed and `number`."""

    __tablename__ = "enrolment"
    __table_args__ = (UniqueConstraint("study_id", "account_id"), UniqueConstraint("study_id", "number"))
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    number: Mapped[int]  # 0, 1, 2, ...: the row of the Latin square
    plan: Mapped[list[Any]]  # item ids in order, below zero where the clip comes again: small, as it is read at every claim
    place: Mapped[int] = mapped_column(default=0)  # how far into the plan it was shown
    order_version: Mapped[int] = mapped_column(default=-1)
    created_at: Mapped[datetime]


class Lease(Base):
    """An item in front of a rater. Its token, not the page, names the clip. Open and answered leases fill the quota."""

    __tablename__ = "lease"
    __table_args__ = (Index("ix_lease_quota", "item_id", "state"), Index("ix_lease_open", "enrolment_id", "state"))
    token: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    enrolment_id: Mapped[int] = mapped_column(ForeignKey("enrolment.id"))
    order_index: Mapped[int]  # 0, 1, 2, ... for this rater
    is_repeat: Mapped[bool]
    state: Mapped[str]  # open, answered, skipped, expired, released
    claimed_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Rating(Base):
    """One rater's answer to one item. `enrolment_id` None: imported counts of votes, whose raters are unknown."""

    __tablename__ = "rating"
    # A number is never given twice, not even after an erasure: the audit log names ratings by it.
    __table_args__ = (Index("ix_rating_enrolment_item", "enrolment_id", "item_id"), {"sqlite_autoincrement": True})
    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"), index=True)
    enrolment_id: Mapped[int | None] = mapped_column(ForeignKey("enrolment.id"))
    lease_token: Mapped[str | None] = mapped_column(ForeignKey("lease.token"))
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    supersedes: Mapped[int | None] = mapped_column(ForeignKey("rating.id"), unique=True)
    is_repeat: Mapped[bool] = mapped_column(default=False)
    order_index: Mapped[int | None]
    label: Mapped[str | None]  # the largest of `soft` where that is given and has one
    soft: Mapped[dict[str, Any] | None]  # fractions that add to 1
    intensity: Mapped[int | None]  # 0 to 100
    valence: Mapped[int | None]  # 1 to 9
    arousal: Mapped[int | None]  # 1 to 9
    confidence: Mapped[int | None]  # 0 to 100
    cannot_tell: Mapped[bool] = mapped_column(default=False)
    flag: Mapped[str | None]  # the reason
    comment: Mapped[str | None]
    replays: Mapped[int] = mapped_column(default=0)
    first_play_ended_at: Mapped[datetime | None]
    reaction_ms: Mapped[int | None]  # from the end of the first play
    submitted_at: Mapped[datetime]


class Draft(Base):
    """An answer that was not accepted, or not yet sent: it is shown again with the same item."""

    __tablename__ = "draft"
    __table_args__ = (UniqueConstraint("enrolment_id", "item_id", "is_repeat"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    enrolment_id: Mapped[int] = mapped_column(ForeignKey("enrolment.id"))
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    is_repeat: Mapped[bool]
    answer: Mapped[dict[str, Any]]
    reason: Mapped[str]  # unsent, late, stale, foreign
    saved_at: Mapped[datetime]


class Adjudication(Base):
    """The label that an adjudicator settled on for an item, having seen all of its ratings."""

    __tablename__ = "adjudication"
    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"), index=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    supersedes: Mapped[int | None] = mapped_column(ForeignKey("adjudication.id"), unique=True)
    label: Mapped[str | None]  # None: asked for, not yet settled
    comment: Mapped[str | None]
    settled_at: Mapped[datetime]


# ---------------------------------------------------------------- what left the store, and what happened in it


class Snapshot(Base):
    """A study frozen under a name: JSON Lines, gzipped, byte for byte as it was made."""

    __tablename__ = "snapshot"
    __table_args__ = (UniqueConstraint("study_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    name: Mapped[str]
    study_name: Mapped[str]  # as the study was called then
    sha256: Mapped[str]  # of the content before compression
    content: Mapped[bytes] = mapped_column(LargeBinary)
    created_by: Mapped[int | None] = mapped_column(ForeignKey("account.id"))
    created_at: Mapped[datetime]


class Use(Base):
    """Something made from the study's ratings or clips: an export, a snapshot, a backup, a training manifest, ..."""

    __tablename__ = "use"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    kind: Mapped[str]  # export, table, snapshot, manifest, checkpoint, backup
    name: Mapped[str]  # path or id
    sha256: Mapped[str | None]  # None while it is made, and for ever where that was killed
    clips: Mapped[list[Any]]  # ids of the clips within
    made_at: Mapped[datetime]


class Audit(Base):
    """What happened, in order. Each row's `digest` covers its content and the digest before it: a change shows."""

    __tablename__ = "audit"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    account_id: Mapped[int | None]
    action: Mapped[str]
    subject: Mapped[str]  # "rating 12", "study 1"
    detail: Mapped[dict[str, Any]]  # ids and digests, never names, answers or comments: they may have to be erased
    previous: Mapped[str]
    digest: Mapped[str]


class AuditHead(Base):
    """One row: the end of the chain. Every write locks it first, so that writes come one after another."""

    __tablename__ = "audit_head"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]
    digest: Mapped[str]
