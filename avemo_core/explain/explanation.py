"""One entry to every method: a clip or its reading in, one method's raw maps on the clip's own time axis out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .. import inputs, sound
from ..analyzer import Analyzer
from ..baseline import Baseline
from ..types import MELS, SOUND_HOP_S, AvemoError, ClipResult, Explanation
from . import effect, faithfulness
from .methods import METHODS, Method, method
from .methods.maps import Maps
from .scene import Scene, scene_of, target_of


def explain(
    analyzer: Analyzer,
    clip: str | Path | ClipResult,
    name: str = "cam",
    target: str | tuple[str, ...] | None = None,
    window: int | None = None,
    baseline: Baseline | None = None,
    layer: str | None = None,
    head: int | None = None,
    randomised: int | None = None,
    cut: Sequence[float] = (),
    part: effect.Part | None = None,
) -> Explanation:
    """Where the reading of a clip comes from.

    Args:
        clip: a file, or what `analyze` found in it, which saves decoding.
        name: of one method, of methods.METHODS.
        target: a label, two joined by a dash ("anger-disgust": what speaks for the first rather than the second), or None
            for the most likely one.
        window: its number on the reading's grid, or None for the whole clip, windows weighted as in the reading.
        baseline: what the person was known by, where the reading was made with it.
        layer: of the branches, whose maps the methods by gradient read ("stage1"), or None for the last.
        head: of cross-modal attention, by its number, or None for the mean of all.
        randomised: seed of random weights in the place of what the model learned. A map that stays as it is shows the
            input, not the model (Adebayo et al. 2018).
        cut: shares of the strongest cells: how far the target's probability falls without them stands in `effects`.
        part: a span of time, or a region in it, to be cut as well.

    Raises:
        AvemoError: the file, the method, the target or the window is not there, or the model has no such layer.
    """
    return explain_all(analyzer, clip, (name,), target, window, baseline, layer, head, randomised, cut, part)[0]


def explain_all(
    analyzer: Analyzer,
    clip: str | Path | ClipResult,
    methods: tuple[str, ...],
    target: str | tuple[str, ...] | None = None,
    window: int | None = None,
    baseline: Baseline | None = None,
    layer: str | None = None,
    head: int | None = None,
    randomised: int | None = None,
    cut: Sequence[float] = (),
    part: effect.Part | None = None,
) -> list[Explanation]:
    """Several methods' maps of the same windows, which share one pass; a layer or head is that of those which have any."""
    try:
        chosen = [method(name) for name in methods]
    except ValueError as error:
        raise AvemoError(str(error)) from None
    settings = settings_of(chosen, layer, head)
    result = clip if isinstance(clip, ClipResult) else analyzer.analyze(clip, baseline=baseline)
    names = target_of(result, target)
    scene = scene_of(analyzer, result, names, window, baseline)
    if randomised is not None:
        scene = replace(scene, model=faithfulness.randomised(scene.model, randomised))
        settings = [own | {"weights": f"random {randomised}"} for own in settings]
    without = [] if part is None else [effect.of_part(scene, part)]
    out = []
    for name, one, own in zip(methods, chosen, settings, strict=True):
        options = {option: value for option, value in own.items() if option in one.options}
        found = replace(laid(scene, name, one.maps(scene, **options), names, window), settings=own)
        out.append(replace(found, effects=(*effect.of_strongest(scene, found, cut), *without)))
    return out


def settings_of(methods: Sequence[Method], layer: str | None, head: int | None) -> list[dict[str, Any]]:
    """What is chosen of each method's own options. AvemoError where none of the methods has that option."""
    given = {name: value for name, value in {"layer": layer, "head": head}.items() if value is not None}
    for name in given:
        if not any(name in one.options for one in methods):
            able = ", ".join(other for other, one in METHODS.items() if name in one.options)
            raise AvemoError(f"No method asked for has a {name} to choose; give none, or one of {able}.")
    return [{name: value for name, value in given.items() if name in one.options} for one in methods]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def laid(scene: Scene, name: str, found: Maps, target: tuple[str, ...], window: int | None) -> Explanation:
    """Maps of windows on the clip's own time axis; what adds up goes on adding up, what does not is averaged."""
    result, track, share = scene.result, scene.track, scene.share
    heard, none = result.sound, np.zeros(0)
    face = voice = None
    if found.face is not None and track is not None and "face" not in scene.missing:
        total = len(track.times_s)
        face = inputs.on_frames(_array(found.face), scene.given, share, total)
        if not found.summed:
            one = np.ones((*found.face.shape[:2], 1, 1), np.float32)
            face = face / np.maximum(inputs.on_frames(one, scene.given, share, total), 1e-9)
    if found.voice is not None and heard is not None and "voice" not in scene.missing:
        total = heard.log_mel.shape[1]
        voice = inputs.on_columns(_array(found.voice), scene.given, share, total, spread=found.summed)
        if not found.summed:
            one = np.ones((len(found.voice), 1, found.voice.shape[2]), np.float32)
            voice = voice / np.maximum(inputs.on_columns(one, scene.given, share, total, spread=False), 1e-9)
    groups = 1 if voice is None else len(voice)
    chosen = slice(None) if window is None else slice(window, window + 1)
    return Explanation(
        method=name,
        unit=found.unit,
        signed=found.signed,
        model_id=result.model_id,
        target=target,
        window=window,
        start_s=float(result.window_start_s[chosen][0]),
        end_s=float(result.window_end_s[chosen][-1]),
        face=face,
        face_times_s=none if track is None else track.times_s,
        voice=voice,
        voice_times_s=none if heard is None else heard.start_s + np.arange(heard.log_mel.shape[1]) * SOUND_HOP_S,
        voice_edges_hz=sound.mel_edges_hz()[:: MELS // groups],
        missing=found.missing | scene.missing,
        attention=_attention(scene, found, share),
        channels={layer: _array(weights).mean(0) for layer, weights in found.channels.items()},
    )


def _attention(scene: Scene, found: Maps, share: np.ndarray) -> dict[str, np.ndarray]:
    """Cross-modal attention of windows as means on the clip's axes: [N,1+T] and [T,1+N], the null key first."""
    track, heard = scene.track, scene.result.sound
    if not found.attention or track is None or heard is None:
        return {}
    frames, columns = len(track.times_s), heard.log_mel.shape[1]
    out = {
        "face_to_voice": np.zeros((frames, 1 + columns), np.float32),
        "voice_to_face": np.zeros((columns, 1 + frames), np.float32),
    }
    seen, spoken = np.zeros(frames), np.zeros(columns)
    to_voice, to_face = (_array(found.attention[name]) for name in out)
    step = scene.given.voice.shape[3] // to_face.shape[1]
    for w, (rows, (first, held)) in enumerate(zip(scene.given.frames, scene.given.columns, strict=True)):
        if not len(rows) or not len(held):
            continue
        coarse = np.arange(first, first + len(held)) // step
        part = 1 / np.bincount(coarse, minlength=to_face.shape[1])[coarse]  # a column's share goes to those under it
        asked = to_voice[w][: len(rows)]
        out["face_to_voice"][rows, 0] += share[w] * asked[:, 0]
        out["face_to_voice"][np.ix_(rows, 1 + held)] += share[w] * asked[:, 1 + coarse] * part
        asked = to_face[w][coarse]
        out["voice_to_face"][held, 0] += share[w] * asked[:, 0]
        out["voice_to_face"][np.ix_(held, 1 + rows)] += share[w] * asked[:, 1 : 1 + len(rows)]
        seen[rows] += share[w]
        spoken[held] += share[w]
    out["face_to_voice"] /= np.maximum(seen, 1e-9)[:, None]
    out["voice_to_face"] /= np.maximum(spoken, 1e-9)[:, None]
    return out
