"""A reading as the page and the table need it: words, places and numbers, all from the record."""

import base64
import csv as tables
import io
import json
from typing import Any

import numpy as np

from .. import table
from ..explain import render
from ..labels import LABELS, index
from ..types import ClipResult, FaceTrack
from . import figures, wording

DOWNLOADS = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "npz": "application/octet-stream",
}


def download(result: ClipResult, kind: str) -> tuple[bytes, str]:
    """The bytes of one download and its media type; `kind` is one of DOWNLOADS."""
    if kind == "csv":
        body = csv(result).encode()
    elif kind == "json":
        body = json.dumps(result.to_json(), indent=1, ensure_ascii=False).encode()
    else:
        body = figures.export(result, kind)
    return body, DOWNLOADS[kind]


def page_record(result: ClipResult) -> dict[str, Any]:
    """Plain values for the page; pictures of faces and sound come from their own addresses."""
    clip = result.clip
    span = wording.clearest(result)
    return {
        "name": clip.path.name,
        "kind": "image" if clip.is_image else "audio" if clip.video is None else "video",
        "duration_s": clip.duration_s,
        "frame_s": 1 / clip.video.frame_rate if clip.video and clip.video.frame_rate > 0 else 0.04,
        "description": wording.description(result),
        "sentence": [vars(part) for part in wording.verdict(result)],
        "detail": [vars(part) for part in wording.detail(result)],
        "against": wording.against(result),
        "confidence": wording.confidence(result),
        "counted": wording.counted(result),
        "clearest": span and [round(t, 1) for t in span],  # as the sentence says it
        "ribbon": [vars(span) for span in wording.ribbon(result)],
        "ticks": wording.ticks(clip.duration_s),
        "windows": _windows(result),
        "strongest": figures.strongest(result),
        "figure": json.loads(str(figures.timeline(result).to_json())),
        "faces": _faces(result),
        "voice": _voice(result),
        "scale": render.scale(result.evidence),
        "evidence": {label: _evidence(result, label) for label in LABELS},
        "people": _people(result),
        "notes": _notes(result),
    }


def csv(result: ClipResult) -> str:
    """The table of the reading, with the visitor's own file name."""
    out = io.StringIO()
    writer = tables.writer(out)
    writer.writerow(table.HEADER)
    writer.writerows(table.rows(result, result.clip.path.name))
    return out.getvalue()


def _windows(result: ClipResult) -> dict[str, Any]:
    """Times at which the next window's turn comes, and what each says: the page looks up the cursor's place here."""
    if not len(result.window_start_s):
        return {"edges": [], "probabilities": []}
    return {
        "edges": [round(float(t), 3) for t in wording.window_edges(result)],
        "probabilities": [[round(float(p), 4) for p in row] for row in result.both.windows],
    }


def _faces(result: ClipResult) -> dict[str, Any] | None:
    """The strip's cells, or None where no face is read."""
    track = render.person(result)
    if track is None:
        return None
    cells = [
        {"start_s": c.start_s, "end_s": c.end_s, "time_s": None if c.frame is None else float(track.times_s[c.frame])}
        for c in render.strip_cells(result)
    ]
    return {"cells": cells}


def _voice(result: ClipResult) -> dict[str, Any] | None:
    """The spectrogram's hertz, or None where there is no sound."""
    if result.sound is None or not result.sound.log_mel.shape[1]:
        return None
    ticks = [{"hz": hz, "top": share} for hz, share in render.frequency_ticks()]
    return {"ticks": ticks}


def _evidence(result: ClipResult, label: str) -> dict[str, Any]:
    """What spoke for one label in all, in logits, and the contours as SVG paths on a unit of 1000."""
    maps, k = result.evidence, index(label)
    face = None if maps.face is None else float(maps.face[k].sum())
    voice = None if maps.voice is None else float(maps.voice[k].sum())
    return {
        "face": face,
        "voice": voice,
        "bias": float(maps.bias[k]),
        "logit": float(maps.bias[k]) + (face or 0.0) + (voice or 0.0),
        "face_contours": [render.svg_path(lines) for lines in render.face_contours(result, label)],
        "voice_contour": render.svg_path(render.voice_contours(result, label)),
    }


def _people(result: ClipResult) -> list[dict[str, Any]]:
    """Everyone whose face was followed, largest first, with a small picture to choose by."""
    return [
        {
            "track_id": track.track_id,
            "read": track.track_id == result.person,
            "picture": _thumbnail(track),
            "share": float(track.present.mean()) if len(track.present) else 0.0,
        }
        for track in result.faces
    ]


def _thumbnail(track: FaceTrack) -> str:
    best = track.crops[int(np.argmax(track.quality * track.present))]
    return "data:image/png;base64," + base64.b64encode(render.png(best)).decode()


def _notes(result: ClipResult) -> list[dict[str, str]]:
    notes = []
    if result.conflict and not result.verdict.abstained:  # a verdict that is withheld says it itself
        face, voice = (wording.top(reading.probabilities) for reading in (result.face, result.voice))
        text = "Face and voice disagree: "
        text += (
            f"the face alone points to {face}, the voice alone to {voice}."
            if face != voice
            else "they weigh it differently."
        )
        notes.append({"icon": "apart", "text": text})
    for name, reading in (("face", result.face), ("voice", result.voice)):
        if not reading.available and not (name == "voice" and result.clip.is_image):
            notes.append({"icon": "info", "text": f"The {name} was not read: {reading.reason or 'it is missing'}."})
    seen = dict.fromkeys((*result.clip.warnings, *result.warnings))
    return notes + [{"icon": "warn", "text": text} for text in seen]
