"""The lead's pages: all studies; one study's progress, agreement, hardest clips and signs; tables; exports and snapshots."""

import csv
import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
import plotly
from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy import select
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse

from avemo_core.labels import EMOTIONS

from .. import snapshots
from ..accounts import Caller
from ..aggregate import Aggregation, aggregate
from ..agreement import WANTED
from ..assignment import as_changed, candidates, choose
from ..erase import overdue
from ..exchange import FORMATS, transfer
from ..exchange.csv import cell
from ..overview import asked_for, clip_rows, finding, look, pace, study_list, version
from ..schema import Adjudication, Item, Rendition, Study
from ..scheme import Label, Scheme
from ..store import Store, StudyError, record
from ..studies import rename
from ..uses import clips_of, leaving
from ..votes import read_study
from .access import PREFIX, Number, need, services
from .lead_figures import agreement_figure, confusion_figure, days_figure, gold_figure
from .pages import page

router = APIRouter(prefix=PREFIX)
Reader = Annotated[Caller, Depends(need("lead", "researcher"))]
Lead = Annotated[Caller, Depends(need("lead"))]
STATES = {
    "open": "raters can rate",
    "paused": "raters see that it is paused",
    "closed": "no more clips are given out; answers to those that raters hold still come in",
}
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


@router.get("/static/plotly.min.js")
def plotly_script(caller: Reader) -> Response:
    return FileResponse(PLOTLY, media_type="text/javascript", headers={"cache-control": "private, max-age=86400"})


# ---------------------------------------------------------------- all studies, one study


@router.get("/lead")
def studies(request: Request, caller: Reader, study: Number | None = None) -> Response:
    if study is not None:
        return RedirectResponse(f"{PREFIX}/lead/{study}", 303)
    with services(request).store.read() as session:
        found = study_list(session)
    return page(request, "lead_studies.html", caller, tab="tab_lead", studies=found, states=STATES)


@router.get("/lead/{study_id}")
def study(request: Request, caller: Reader, study_id: Number, modality: str = "", pair: str = "") -> Response:
    store = services(request).store
    found = looked(request, study_id)
    modality = modality if modality in found["passes"] else (found["passes"] or ["voice"])[0]
    with store.read() as session:
        row, scheme = read_study(session, study_id)
        waiting = asked_for(session, study_id)
        others = [(s.id, s.name) for s in session.scalars(select(Study).order_by(Study.name))]
        frozen = snapshots.snapshots(session, study_id)
        raters = candidates(session, study_id)
        paced = pace(session, study_id, found["progress"]["left"])
        late = [clip for clip in overdue(session) if clip.study == row.name]
    measures = [m for m in found["report"]["measures"] if m["modality"] == modality]
    pairs = found["pairs"].get(modality, {})
    rows = agreement_rows(measures, scheme)
    figure = agreement_figure(rows)
    labels = [face(label) for label in scheme.labels]
    confusion = pairs.get(pair) or found["report"]["confusion"].get(modality, [])
    low, high = figure["layout"]["xaxis"]["range"]
    return page(
        request,
        "lead_study.html",
        caller,
        tab="tab_lead",
        study=row,
        others=others,
        look=found,
        pace=paced,
        modality=modality,
        finding=finding(found, modality, row.name),
        headline=[_headline(found, m) for m in found["passes"]],
        rows=rows,
        figure=json.dumps(figure),
        days=json.dumps(drawn) if (drawn := days_figure(found["days"])) else None,
        gold=json.dumps(gold_figure(found["gold"])) if found["gold"] else None,
        heat_map=json.dumps(confusion_figure(labels, confusion)) if any(map(sum, confusion)) else None,
        wanted_at=(WANTED["alpha"] - low) / (high - low),
        measures=measures,
        labels=labels,
        confusion=confusion,
        pairs=list(pairs),
        pair=pair if pair in pairs else "",
        model=found["model"].get(modality),
        hardest=found["hardest"].get(modality, []),
        playable=_playable(store, study_id),
        waiting=waiting,
        frozen=frozen,
        raters=raters,
        overdue=late,
        formats={name: f for name, f in FORMATS.items() if f.write is not None},
        states=STATES,
        wanted=WANTED,
    )


def looked(request: Request, study_id: int) -> dict[str, Any]:
    return _once(request, "look", study_id, look)


def weighed(request: Request, study_id: int) -> Aggregation:
    return _once(request, "aggregation", study_id, aggregate)


def _once(request: Request, name: str, study_id: int, compute: Callable[[Store, int], Any]) -> Any:
    """What is computed of a study, once for each state of its answers."""
    kept: dict[tuple[str, int], tuple[Any, Any]] = request.app.state._state.setdefault("computed", {})
    store = services(request).store
    with store.read() as session:
        now = version(session, study_id)
    if (name, study_id) not in kept or kept[name, study_id][0] != now:
        kept[name, study_id] = now, compute(store, study_id)
    return kept[name, study_id][1]


def _headline(found: dict[str, Any], modality: str) -> dict[str, Any]:
    measures = found["report"]["measures"]
    wanted = ("alpha nominal", "label", modality, "everyone")
    own = next((m for m in measures if (m["name"], m["of"], m["modality"], m["who"]) == wanted), None)
    acted = next((m for m in measures if m["name"].startswith("plurality") and m["modality"] == modality), None)
    return {"modality": modality, "alpha": own, "acted": acted}


def agreement_rows(measures: list[dict[str, Any]], scheme: Scheme) -> list[dict[str, Any]]:
    """Alpha of all labels, then of each against the rest, in the scheme's order, each with how its label looks."""
    found = {m["of"]: m for m in measures if m["name"] == "alpha nominal" and m["who"] == "everyone"}
    whole = [{"text": "all labels", "emotion": None, "colour": None, **found["label"]}] if "label" in found else []
    return whole + [face(label) | found[label.name] for label in scheme.labels if label.name in found]


def face(label: Label) -> dict[str, Any]:
    """How a label looks: an emotion's colours and glyph, its own colour, or a plain dot."""
    return {
        "key": label.name,
        "text": label.english,
        "emotion": label.name if label.colour is None and label.name in EMOTIONS else None,
        "colour": label.colour,
    }


@router.post("/lead/{study_id}/state")
def set_state(request: Request, caller: Lead, study_id: Number, state: Annotated[str, Form()]) -> Response:
    if state not in STATES:
        raise StudyError(f"A study is {', '.join(STATES)}, not {state!r}.")
    with services(request).store.write() as session:
        row, _ = read_study(session, study_id)
        row.state = state
        record(session, caller.account_id, f"study {state}", f"study {study_id}")
    return RedirectResponse(f"{PREFIX}/lead/{study_id}", 303)


@router.post("/lead/{study_id}/raters")
def choose_raters(
    request: Request,
    caller: Lead,
    study_id: Number,
    who: Annotated[Literal["everyone", "chosen"], Form()],
    raters: Annotated[list[Number] | None, Form()] = None,
    shown: Annotated[list[Number] | None, Form()] = None,
) -> Response:
    """`shown`: who was chosen when the page was made."""
    with services(request).store.write() as session:
        chosen = as_changed(session, study_id, shown or [], raters or [])
        choose(session, caller.account_id, study_id, who == "chosen", chosen)
    return RedirectResponse(f"{PREFIX}/lead/{study_id}#who", 303)


@router.post("/lead/{study_id}/name")
def set_name(request: Request, caller: Lead, study_id: Number, name: Annotated[str, Form()] = "") -> Response:
    with services(request).store.write() as session:
        rename(session, caller.account_id, study_id, name)
    return RedirectResponse(f"{PREFIX}/lead/{study_id}#state", 303)


# ---------------------------------------------------------------- tables


@router.get("/lead/{study_id}/clips")
def clips(request: Request, caller: Reader, study_id: Number, start: Number = 0) -> Response:
    rows = _once(request, "clips", study_id, clip_rows)
    with services(request).store.read() as session:
        row, scheme = read_study(session, study_id)
    values: dict[str, Any] = {"study": row, "rows": rows[start : start + 200], "start": start, "total": len(rows)}
    return page(request, "lead_clips.html", caller, tab="tab_lead", labels=[face(x) for x in scheme.labels], **values)


@router.get("/lead/{study_id}/aggregation")
def aggregation(request: Request, caller: Reader, study_id: Number, start: Number = 0) -> Response:
    store = services(request).store
    found = weighed(request, study_id)
    with store.read() as session:
        row, scheme = read_study(session, study_id)
    shown = Aggregation(found.rows[start : start + 200], found.raters, found.why)
    values: dict[str, Any] = {"study": row, "found": shown, "start": start, "total": len(found.rows)}
    return page(request, "lead_aggregation.html", caller, tab="tab_lead", labels=[face(x) for x in scheme.labels], **values)


@router.get("/lead/{study_id}/{table}.csv")
def table(request: Request, caller: Reader, study_id: Number, table: str) -> Response:
    return csv_download(request, caller, study_id, table, lambda: _rows(request, study_id, table))


def csv_download(
    request: Request, caller: Caller, study_id: int, table: str, rows: Callable[[], Iterable[dict[str, Any]]]
) -> Response:
    """The rows are read once the store has noted that a table of this study's clips is taken home."""
    store, name = services(request).store, f"study-{study_id}-{table}.csv"
    with store.read() as session:
        clips = clips_of(session, study_id)
    with leaving(store, caller.account_id, "table", f"{name}, downloaded by {caller.name}", clips) as (use,):
        content = as_csv(rows()).encode()
        use.sha256 = hashlib.sha256(content).hexdigest()
    return Response(
        content, media_type="text/csv; charset=utf-8", headers={"content-disposition": f'attachment; filename="{name}"'}
    )


def _rows(request: Request, study_id: int, table: str) -> list[dict[str, Any]]:
    if table == "aggregation":
        return [_flat(row) for row in weighed(request, study_id).rows]
    if table == "reliability":
        return weighed(request, study_id).raters
    if table == "clips":
        return [_flat(row) for row in _once(request, "clips", study_id, clip_rows)]
    if table not in (found := _tables(looked(request, study_id))):
        raise StudyError(f"There is no table {table!r}.")
    return found[table]


def _tables(found: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    labels = found["report"]["labels"]
    return {
        "agreement": found["report"]["measures"],
        "confusion": [
            {"pass": modality, "one rater": labels[i], **dict(zip(labels, row, strict=True))}
            for modality, matrix in found["report"]["confusion"].items()
            for i, row in enumerate(matrix)
        ],
        "pairs": [
            {"pass": modality, "raters": pair, "the first": labels[i], **dict(zip(labels, row, strict=True))}
            for modality, tables in found["pairs"].items()
            for pair, matrix in tables.items()
            for i, row in enumerate(matrix)
        ],
        "raters": [_flat(row) for row in found["raters"]],
        "hardest": [_flat(row) for rows in found["hardest"].values() for row in rows],
        "signs": [{"rater": s.rater, "sign": s.kind, "evidence": s.sentence} for s in found["signs"]],
        "days": found["days"],
        "gold": found["gold"],
        "flags": found["flags"],
    }


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Nested values in columns of their own; several labels of a tie with | between them."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{name} {key}": inner for key, inner in value.items()}
        else:
            flat[name] = "|".join(value) if isinstance(value, list) else value
    return flat


def as_csv(rows: Iterable[dict[str, Any]]) -> str:
    """For spreadsheets: UTF-8 with a mark, and no cell that would be run as a formula."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_cell(name) for name in columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return "\ufeff" + text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return cell(value.astimezone(UTC).isoformat())
    return cell(value.item() if isinstance(value, np.generic) else value)


# ---------------------------------------------------------------- media for leads and adjudicators


def _playable(store: Store, study_id: int) -> set[int]:
    query = (
        select(Item.id)
        .join(Rendition, (Rendition.clip_id == Item.clip_id) & (Rendition.modality == Item.modality))
        .where(Item.study_id == study_id)
    )
    with store.read() as session:
        return set(session.scalars(query))


@router.get("/lead/media/{item_id}")
def media(request: Request, caller: Annotated[Caller, Depends(need("lead", "adjudicator"))], item_id: Number) -> Response:
    store = services(request).store
    query = (
        select(Rendition.file, Rendition.media_type)
        .join(Item, (Rendition.clip_id == Item.clip_id) & (Rendition.modality == Item.modality))
        .where(Item.id == item_id)
    )
    with store.read() as session:
        found = session.execute(query).one_or_none()
    path = store.home.media / found.file if found else None
    if found is None or path is None or not path.is_file():
        return PlainTextResponse("This clip has no media here.", 404)
    return FileResponse(path, media_type=found.media_type, headers={"cache-control": "private, no-store"})


# ---------------------------------------------------------------- sent to adjudication, exports, snapshots


@router.post("/lead/{study_id}/adjudication")
def send(request: Request, caller: Lead, study_id: Number, items: Annotated[list[Number] | None, Form()] = None) -> Response:
    """Ask an adjudicator to settle these; one that waits or is settled already is left as it is."""
    with services(request).store.write() as session:
        query = select(Item.id).where(Item.study_id == study_id, Item.id.in_(items or []))
        known = set(session.scalars(query)) - set(
            session.scalars(select(Adjudication.item_id).where(Adjudication.item_id.in_(items or [])))
        )
        now = datetime.now(UTC)
        session.add_all(Adjudication(item_id=i, account_id=caller.account_id, settled_at=now) for i in sorted(known))
        if known:
            record(session, caller.account_id, "adjudication asked for", f"study {study_id}", items=sorted(known))
    return RedirectResponse(f"{PREFIX}/lead/{study_id}#adjudication", 303)


@router.post("/lead/{study_id}/export")
def export(
    request: Request, caller: Reader, study_id: Number, format_name: Annotated[str, Form(alias="format")]
) -> Response:
    suffix = transfer.format_of(format_name).suffix
    name = f"study-{study_id}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{format_name}{suffix}"
    store, where = services(request).store, f"{name}, downloaded by {caller.name}"
    return _sent(store, name, lambda path: transfer.export(store, caller.account_id, study_id, format_name, path, where))


@router.post("/lead/{study_id}/freeze")
def freeze(request: Request, caller: Lead, study_id: Number, name: Annotated[str, Form()]) -> Response:
    snapshots.freeze(services(request).store, caller.account_id, study_id, name.strip())
    return RedirectResponse(f"{PREFIX}/lead/{study_id}#exports", 303)


@router.post("/lead/{study_id}/snapshot")
def snapshot(request: Request, caller: Reader, study_id: Number, name: Annotated[str, Form()]) -> Response:
    store = services(request).store
    file = f"study-{study_id}-snapshot.jsonl.gz"
    where = f"{file} ({name}), downloaded by {caller.name}"
    return _sent(store, file, lambda path: snapshots.write(store, caller.account_id, study_id, name, path, where))


def _sent(store: Store, name: str, write: Callable[[Path], object]) -> Response:
    """What `write` puts at a path, which the record keeps, as a download; a folder as one zip. Nothing stays on the disk:
    the file has no name any more when its first byte goes out."""
    folder = Path(tempfile.mkdtemp(dir=store.home.folder, prefix=".export-"))
    path = folder / name
    try:
        write(path)
        if path.is_dir():
            path, name = Path(shutil.make_archive(str(path) + "-folder", "zip", path)), name + ".zip"
        size, file = path.stat().st_size, path.open("rb")
    except (OSError, StudyError) as error:
        if folder.exists():
            raise
        raise StudyError("Clips were erased meanwhile, and this file with them; ask for it again.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    headers = {"content-length": str(size), "content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_parts(file), media_type="application/octet-stream", headers=headers)


def _parts(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while part := file.read(1 << 20):
            yield part
