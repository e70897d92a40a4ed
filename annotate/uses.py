"""Whatever leaves the store is named in it before its first byte is written, so that an erasure can say where else a child
is, whatever was killed and whenever."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from .schema import Clip, Study, Use
from .store import Store, StudyError, record


@contextlib.contextmanager
def leaving(
    store: Store, account_id: int | None, kind: str, name: str, clips: Mapping[int, Sequence[int]]
) -> Iterator[list[Use]]:
    """A row for each study in what is made now; `clips`: study -> ids. Only what is read from here on may go out: an erasure
    before has taken it away, one afterwards names it.

    The block sets each row's `sha256`, and `clips` anew where fewer went out. Where it fails, nothing was made, and the rows
    are taken back.
    """
    uses = [
        Use(study_id=study_id, kind=kind, name=name, clips=sorted(ids), made_at=datetime.now(UTC))
        for study_id, ids in clips.items()
    ]
    with store.write() as session:
        session.add_all(uses)
    try:
        yield uses
    except BaseException:
        with contextlib.suppress(SQLAlchemyError), store.write() as session:  # at worst there is a name too many
            session.execute(delete(Use).where(Use.id.in_([use.id for use in uses])))
        raise
    action, subject = ("backed up", "store") if kind == "backup" else ("exported", f"study {min(clips)}")
    with store.write() as session:
        session.add_all(uses)
        made = {use.sha256 for use in uses}
        record(session, account_id, action, subject, uses=[use.id for use in uses], sha256=made.pop() if made else None)


def clips_of(session: Session, study_id: int) -> dict[int, list[int]]:
    """{study: the ids of its clips}, as `leaving` takes them."""
    if session.get(Study, study_id) is None:
        raise StudyError(f"There is no study {study_id}.")
    return {study_id: list(session.scalars(select(Clip.id).filter_by(study_id=study_id).order_by(Clip.id)))}
