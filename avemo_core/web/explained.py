"""What the Inspect page shows of a reading and of one explanation: plain values and pictures, all from the computation."""

import base64
from pathlib import Path
from typing import Any

import numpy as np

from .. import presence
from ..explain import figure, overlay, render
from ..explain.faithfulness import Curves, area, sure
from ..explain.methods import METHODS
from ..explain.methods.gradients import layers_of
from ..labels import LABELS
from ..model.attention_cam import AttentionCAM
from ..types import FACE_STEP_S, ClipResult, Explanation
from . import wording

CHUNK = 30  # frames in one picture of faces: a page asks for three seconds at a time
MAP_PX = 96  # side of one frame's map in it
STOPS = 21  # colours of a bar
ALIKE, UNLIKE = 0.5, 0.3  # mean rank correlation without its sign, from which on and under which two maps are called so
SLOW = ("integrated_gradients", "occlusion")  # many passes of the model for each window


def material(result: ClipResult, model: AttentionCAM) -> dict[str, Any]:
    """What can be explained in a reading: its frames, windows, streams, and every method there is with its options."""
    track, heard = render.person(result), result.sound
    voice = heard is not None and heard.log_mel.shape[1] > 0
    ticks = [{"hz": hz, "top": share} for hz, share in render.frequency_ticks()]
    return {
        "name": result.clip.path.name,
        "kind": "image" if result.clip.is_image else "audio" if result.clip.video is None else "video",
        "duration_s": result.clip.duration_s,
        "label": LABELS[int(result.both.probabilities.argmax())],
        "missing": {r.condition: r.reason for r in (result.face, result.voice) if not r.available},
        "methods": [
            {
                "name": name,
                "title": one.title,
                "source": one.source,
                "targeted": one.targeted,
                "slow": name in SLOW,
                "layered": "layer" in one.options,
            }
            for name, one in METHODS.items()
        ],
        "layers": layers_of(model),
        "heads": model.face_asks.attention.num_heads,
        "times": [round(float(t), 3) for t in moments(result)],
        "present": None if track is None else [bool(there) for there in track.present],
        "chunk": CHUNK,
        "picture": picture(result),
        "readings": readings(result),
        "windows": windows(result),
        "voice": {"ticks": ticks, "start_s": heard.start_s} if voice and heard is not None else None,
        "ticks": wording.ticks(result.clip.duration_s),
    }


def moments(result: ClipResult) -> np.ndarray:
    """[N] seconds that the cursor steps through: the frames of the face that was read, or as many a second without one."""
    track = render.person(result)
    return np.arange(0, max(result.clip.duration_s, FACE_STEP_S), FACE_STEP_S) if track is None else track.times_s


def windows(result: ClipResult) -> list[dict[str, Any]]:
    """Each window's span, the part of the time axis where its turn is, its weight in the reading, its likeliest label."""
    if not len(result.window_start_s):
        return []
    starts, ends, edges = result.window_start_s, result.window_end_s, wording.window_edges(result)
    shares = presence.normed(_weights(result)["both"])
    return [
        {
            "start_s": round(float(starts[w]), 3),
            "end_s": round(float(ends[w]), 3),
            "from_s": round(float(edges[w]), 3),
            "to_s": round(float(edges[w + 1]), 3),
            "share": round(float(shares[w]), 4),
            "label": wording.clear_top(result.both.windows[w]),
        }
        for w in range(len(starts))
    ]


def readings(result: ClipResult) -> dict[str, Any]:
    """Of face, voice and both: why it was not read, else None; the clip's probabilities; each window's.

    A window with too little of what is read has None.
    """
    weights = _weights(result)
    return {
        one.condition: {
            "reason": None if one.available else one.reason,
            "clip": _rounded(one.probabilities),
            "windows": [_rounded(row) if weights[one.condition][w] else None for w, row in enumerate(one.windows)],
        }
        for one in (result.face, result.voice, result.both)
    }


def _rounded(row: np.ndarray) -> list[float]:
    return [round(float(p), 4) for p in row]


def _weights(result: ClipResult) -> dict[str, np.ndarray]:
    """How much of each window [W] shows the face that was read, holds speech, and both together."""
    starts, ends = result.window_start_s, result.window_end_s
    return presence.weights(result.clip, render.person(result), result.sound, starts, ends)[0]


def picture(result: ClipResult) -> dict[str, Any] | None:
    """Where each frame's crop lies in the clip's picture, [re, im, re, im] of overlay.spots, and how coarsely it is blurred.

    None where nobody's face was read.
    """
    track = render.person(result)
    if track is None:
        return None
    places = overlay.spots(result)
    numbers = np.round(places.view(float), 5).tolist()
    spots = [spot if there else None for spot, there in zip(numbers, track.present, strict=True)]
    return {"spots": spots, "cell": overlay.cell(track, places)}


def facts(result: ClipResult, found: Explanation) -> dict[str, Any]:
    """One explanation: scales and colours of its maps, the voice's values as they are drawn, reasons where there is none."""
    face = voice = None
    if found.face is not None:
        outlined = bool(np.ptp(np.maximum(found.face, 0), axis=(1, 2)).any())
        face = {"shape": list(found.face.shape[1:]), "outlined": outlined} | _bar(found.face, found.signed)
    if found.voice is not None:
        values, _ = render.over_clip(found.voice, found.voice_times_s, result.clip.duration_s)
        voice = {
            "shape": list(values.shape),
            "edges_hz": [round(float(hz), 1) for hz in found.voice_edges_hz],
            "rows": render.band_rows(found.voice_edges_hz).tolist(),
            "values": packed(values),
            "outline": voice_outline(result, found),
        } | _bar(found.voice, found.signed)
    return {
        "method": found.method,
        "heading": figure.heading(found),
        "unit": found.unit,
        "signed": found.signed,
        "target": list(found.target),
        "window": found.window,
        "start_s": round(found.start_s, 3),
        "end_s": round(found.end_s, 3),
        "missing": found.missing,
        "face": face,
        "voice": voice,
        "channels": [_channels(layer, weights) for layer, weights in found.channels.items()],
    }


def _bar(values: np.ndarray, signed: bool) -> dict[str, Any]:
    """The ends of one stream's scale, and its colours from the least to the most value."""
    whole = figure.scale(values)
    least = -whole if signed else 0.0
    colours = render.coloured(np.linspace(least, whole, STOPS)[None], whole, signed)[0, :, :3]
    return {"least": least, "most": whole, "colours": ["#" + bytes(colour).hex() for colour in colours.tolist()]}


def _channels(layer: str, weights: np.ndarray) -> dict[str, Any]:
    low, middle, high = np.quantile(weights, (0, 0.5, 1))
    return {"layer": layer, "count": len(weights), "least": float(low), "median": float(middle), "most": float(high)}


def packed(values: np.ndarray) -> str:
    """An array as base64 of little-endian float32, row by row: a tenth of what JSON would take."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def crops(result: ClipResult, chunk: int) -> np.ndarray | None:
    """uint8 [64, 64 * n, 3]: the n frames of a chunk side by side, None where there are none."""
    track = render.person(result)
    shown = [] if track is None else list(track.crops[chunk * CHUNK : (chunk + 1) * CHUNK])
    return np.hstack(shown) if shown else None


def face_maps(found: Explanation, chunk: int, whole: float | None = None) -> np.ndarray | None:
    """RGBA uint8 [96, 96 * n, 4] to lay over `crops`, on a scale that ends at `whole`; None where there are none.

    Without `whole` the scale is the map's own, one for the clip.
    """
    if found.face is None:
        return None
    whole = figure.scale(found.face) if whole is None else whole
    shown = found.face[chunk * CHUNK : (chunk + 1) * CHUNK]
    pictures = [render.coloured(render.stretched(one, MAP_PX, MAP_PX), whole, found.signed) for one in shown]
    return np.hstack(pictures) if pictures else None


def face_outlines(found: Explanation, chunk: int) -> list[str]:
    """SVG paths round the strongest fifth of each frame's map in a chunk, resampled as it is drawn; "" of an even one."""
    shown = () if found.face is None else found.face[chunk * CHUNK : (chunk + 1) * CHUNK]
    return [render.svg_path(render.top_outline(render.stretched(one, MAP_PX, MAP_PX))) for one in shown]


def voice_outline(result: ClipResult, found: Explanation) -> str:
    """SVG path over the spectrogram round the strongest fifth of what was explained of the voice; "" of an even map."""
    assert found.voice is not None
    values, times = render.over_clip(found.voice, found.voice_times_s, result.clip.duration_s)
    heard = found.voice_times_s
    inside = (times >= max(found.start_s, heard[0])) & (times <= min(found.end_s, heard[-1])) if len(heard) else times < 0
    if not inside.any():
        return ""
    first, count = int(inside.argmax()), int(inside.sum())
    lines = render.top_outline(np.repeat(values[:, inside], render.band_rows(found.voice_edges_hz), axis=0)[::-1])
    return render.svg_path([(line * (count, 1) + (first, 0)) / (len(times), 1) for line in lines])


def face_masks(found: Explanation, chunk: int) -> np.ndarray | None:
    """RGBA uint8 [96, 96 * n, 4] to lay over `crops`: as opaque as each place is kept; None where there are none."""
    if found.face is None:
        return None
    shown = render.kept(found.face)[chunk * CHUNK : (chunk + 1) * CHUNK]
    opaque = [np.round(render.stretched(one, MAP_PX, MAP_PX) * 255).astype(np.uint8) for one in shown]
    return np.hstack([np.dstack([np.zeros((MAP_PX, MAP_PX, 3), np.uint8), one]) for one in opaque]) if opaque else None


def voice_map(result: ClipResult, found: Explanation, whole: float | None = None) -> np.ndarray | None:
    """RGBA uint8 [240,W,4] to lay over the spectrogram, on its own scale or on one that ends at `whole`."""
    if found.voice is None:
        return None
    values, _ = render.over_clip(found.voice, found.voice_times_s, result.clip.duration_s)
    rows = render.band_rows(found.voice_edges_hz)
    whole = figure.scale(found.voice) if whole is None else whole
    return render.coloured(np.repeat(values, rows, axis=0)[::-1], whole, found.signed)


def twinned(own: Explanation, alike: list[dict[str, float]]) -> dict[str, Any]:
    """By modality the rank correlations of a map with those of untrained networks, and in a sentence what they mean."""
    found = {name: _alike(getattr(own, name), [one[name] for one in alike]) for name in alike[0]}
    return {"draws": len(alike), "alike": ALIKE, "unlike": UNLIKE} | found


def _alike(values: np.ndarray, found: list[float]) -> dict[str, Any]:
    """A map turned upside down is the clip's as well, so the sign does not count."""
    strength = float(np.abs(found).mean())
    if not np.ptp(values):
        verdict, meaning = "nothing to compare", "this map is the same everywhere"
    elif strength >= ALIKE:
        verdict, meaning = "alike", "this map shows the clip more than what was learned"
    elif strength >= UNLIKE:
        verdict, meaning = "partly alike", "some of this map shows the clip rather than what was learned"
    else:
        verdict, meaning = "unlike", "this map rests on what was learned"
    return {"verdict": verdict, "meaning": meaning, "strength": strength, "least": min(found), "most": max(found)}


def tested(curves: Curves, window: int, heaviest: bool, contrast: bool, start_s: float, end_s: float) -> dict[str, Any]:
    """Of one window: the map's curve under deletion, the mean of the random maps', and the areas under both."""
    own, rivals = curves.deletion[0], curves.random_deletion[0]
    return {
        "window": window,
        "heaviest": heaviest,
        "contrast": contrast,
        "start_s": round(start_s, 3),
        "end_s": round(end_s, 3),
        "deletion": [round(float(p), 4) for p in own],
        "random": [round(float(p), 4) for p in rivals.mean(0)],
        "area": float(area(own)),
        "random_area": float(area(rivals).mean()),
        "draws": len(rivals),
        "beaten": int((area(rivals) > area(own)).sum()),
        "sure": sure(area(own), *area(rivals)),
        "better": bool(curves.deletion_gain[0] > 0),
    }


def file_name(name: str, found: Explanation, suffix: str) -> str:
    """ "clip-gradcam-anger-disgust-window2.svg", or ...-stage1-random0.svg of a layer, of random weights."""
    method = found.method.replace("+", "p")
    window = "" if found.window is None else f"-window{found.window}"
    own = "".join(f"-head{one}" if key == "head" else f"-{one}".replace(" ", "") for key, one in found.settings.items())
    return f"{Path(name).stem}-{method}-{'-'.join(found.target)}{window}{own}.{suffix}"


def zip_name(name: str, target: tuple[str, ...], window: int | None) -> str:
    """ "clip-maps-anger-disgust-window2.zip"."""
    return f"{Path(name).stem}-maps-{'-'.join(target)}{'' if window is None else f'-window{window}'}.zip"
