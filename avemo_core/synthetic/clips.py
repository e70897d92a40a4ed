"""Clips of drawn people who speak, written as any camera would: H.264 and AAC in mp4, or raw files for a fake webcam."""

import wave as wave_file
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from .. import encoding
from ..encoding import Pictures, Sound
from .face import draw_face
from .people import PEOPLE, Expression, Person, expression
from .voice import RATE, speak

Array = np.ndarray


@dataclass(frozen=True)
class Scene:
    """What happens around the person; times in seconds from the start of the clip."""

    light: float = 1.0  # 0.3 is a dim room
    noise: float = 0.0  # of the camera, standard deviation in grey levels
    volume_db: float = 0.0  # added to the voice
    away: tuple[float, float] | None = None  # the face is out of the picture between these times
    sound_starts: float = 0.0  # the first sound of the file has this timestamp
    room: float = 0.0  # noise added to the sound, standard deviation


def strength(times: Array, seconds: float) -> Array:
    """How far the expression is built up at `times`: none at first, full in the middle, less again at the end."""
    rise = np.clip((times - 0.07 * seconds) / (0.16 * seconds), 0, 1)
    fall = np.clip((0.99 * seconds - times) / (0.12 * seconds), 0, 1)
    level = np.minimum(rise, 0.15 + 0.85 * fall)
    return level * level * (3 - 2 * level)


def loudness(sound: Array, times: Array) -> Array:
    """How loud the voice is around each time, 0..1 of its own loudest moments."""
    if not len(sound):
        return np.zeros(len(times))
    window = np.hanning(int(0.09 * RATE))
    power = np.sqrt(np.convolve(sound.astype(np.float64) ** 2, window / window.sum(), "same"))
    at = np.interp(times, np.arange(len(sound)) / RATE, power)
    return np.clip(at / max(float(np.quantile(power, 0.95)), 1e-6), 0, 1)


def _blinks(times: Array, rng: np.random.Generator) -> Array:
    """How far the lids are shut at each time: a blink of a sixth of a second every two to four seconds."""
    shut = np.zeros(len(times))
    at = rng.uniform(0.5, 1.2)
    while at < times[-1]:
        shut = np.maximum(shut, np.clip(1.25 - np.abs(times - at) / 0.09, 0, 1))
        at += rng.uniform(2.0, 3.6)
    return shut


def _speaking(e: Expression, loud: float, k: int) -> Expression:
    """The expression with the mouth moved by the voice, and its lips rounded now and then."""
    relaxed = 1 - 0.35 * loud
    return Expression(
        **{
            **vars(e),
            "jaw_drop": min(e.jaw_drop + 0.34 * loud * (0.8 + 0.2 * np.sin(k * 0.9)), 1),
            "lips_part": min(e.lips_part + 0.5 * loud, 1),
            "lip_tighten": e.lip_tighten * relaxed,
            "lip_corner_depress": e.lip_corner_depress * relaxed,
        }
    )


def frames(
    emotion: str | None,
    person: Person,
    seconds: float,
    seed: int,
    fps: int,
    size: tuple[int, int],
    sound: Array,
    scene: Scene,
):
    """Yields uint8 [height, width, 3] of one person whose face moves and whose mouth follows `sound` (16 kHz).

    emotion None: the background only.
    """
    rng = np.random.default_rng([seed, 71])
    times = np.arange(round(seconds * fps)) / fps
    level, loud, shut = strength(times, seconds), loudness(sound, times - scene.sound_starts), _blinks(times, rng)
    phase, pace = rng.uniform(0, 6, 6), rng.uniform(0.8, 1.2, 6)
    full = expression(emotion or "neutral")
    for k, t in enumerate(times):
        e = full.scaled(float(level[k] * (0.94 + 0.06 * np.sin(3 * t + phase[5]))))
        e = _speaking(e, float(loud[k]), k).also(lid_droop=float(shut[k]))
        sway = np.sin(2 * np.pi * 0.23 * pace * t + phase)
        x = 9.0 if emotion is None else 0.05 * sway[0] + _leaves(t, scene.away)
        picture = draw_face(
            person,
            e,
            size,
            yaw=7 * sway[1] + 2 * sway[3],
            roll=2.5 * sway[2],
            scale=1 + 0.015 * sway[4],
            shift=(x, 0.02 * sway[3] - 0.02 * loud[k]),
            gaze=(-0.25 * sway[1], 0.1 * sway[4]),
        )
        yield _camera(picture, scene, rng)


def _leaves(t: float, away: tuple[float, float] | None) -> float:
    """Sideways shift in head units: out of the picture between the two times, on its way 0.3 s before and after."""
    if away is None:
        return 0.0
    out = np.clip(min(t - away[0] + 0.3, away[1] + 0.3 - t) / 0.3, 0, 1)
    return 3.6 * float(out * out * (3 - 2 * out))


def _camera(picture: Array, scene: Scene, rng: np.random.Generator) -> Array:
    if scene.light == 1 and not scene.noise:
        return picture
    dim = picture.astype(np.float32) * scene.light * np.array((1.04, 0.98, 0.9), np.float32)
    return np.clip(dim + rng.normal(0, scene.noise, picture.shape), 0, 255).astype(np.uint8)


def voice_of(emotion: str | None, person: Person, seconds: float, seed: int, scene: Scene = Scene()) -> Array:
    """The clip's sound at 16 kHz, float32; empty for emotion None. It is shorter where the sound starts late."""
    if emotion is None:
        return np.zeros(0, np.float32)
    length = seconds - scene.sound_starts
    sound = speak(emotion, length, person, seed, strength(np.linspace(0, length, 200), length))
    sound = sound * 10 ** (scene.volume_db / 20)
    if scene.room:
        sound = sound + np.random.default_rng([seed, 13]).normal(0, scene.room, len(sound))
    return np.clip(sound, -1, 1).astype(np.float32)


def write_clip(
    path: str | Path,
    emotion_face: str | None = "neutral",
    emotion_voice: str | None = "neutral",
    person: Person | str | tuple[Person | str, ...] = "mara",
    seconds: float = 4.0,
    seed: int = 0,
    fps: int = 25,
    size: tuple[int, int] = (360, 360),
    scene: Scene = Scene(),
    picture: bool = True,
    crf: int = 27,
) -> Path:
    """Writes a clip and returns its path; equal arguments give equal pictures and sound.

    emotion_face None: a background with nobody in front of it (picture=False: no picture stream).
    emotion_voice None: no sound stream. Several persons sit side by side; the first one speaks, the others listen, neutral.
    """
    path = Path(path)
    people = [PEOPLE[p] if isinstance(p, str) else p for p in (person if isinstance(person, tuple) else (person,))]
    if not picture and emotion_voice is None:
        raise ValueError("A clip needs a picture or a voice: found neither; give emotion_voice or picture=True.")
    sound = voice_of(emotion_voice, people[0], seconds, seed, scene)
    pictures = None
    if picture:
        each = (size[0] // len(people) // 2 * 2, size[1])
        silence = np.zeros(0, np.float32)
        rows = [
            frames(
                emotion_face if k == 0 or emotion_face is None else "neutral",
                p,
                seconds,
                seed + k,
                fps,
                each,
                silence if k else sound,
                scene,
            )
            for k, p in enumerate(people)
        ]
        pictures = (np.hstack(row) for row in zip(*rows, strict=True))
        size = (each[0] * len(people), size[1])
    shown = None if pictures is None else Pictures(pictures, Fraction(fps), size)
    heard = Sound([sound], RATE, scene.sound_starts) if len(sound) else None
    encoding.write(path, shown, heard, crf)
    return path


def write_webcam(
    y4m_path: str | Path,
    wav_path: str | Path,
    emotion: str = "happiness",
    seconds: float = 4.0,
    seed: int = 0,
    person: str = "mara",
) -> None:
    """What Chromium's fake camera and microphone play in a loop: y4m 320 x 240 at 15 fps, wav 48 kHz 16 bit mono."""
    sound = voice_of(emotion, PEOPLE[person], seconds, seed)
    with open(y4m_path, "wb") as out:
        out.write(b"YUV4MPEG2 W320 H240 F15:1 Ip A1:1 C420jpeg\n")
        for picture in frames(emotion, PEOPLE[person], seconds, seed, 15, (320, 240), sound, Scene()):
            planes = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuvj420p").to_ndarray()
            out.write(b"FRAME\n" + planes.tobytes())
    loud = 3 * np.fft.irfft(np.fft.rfft(sound), 3 * len(sound))  # 16 kHz -> 48 kHz
    with wave_file.open(str(wav_path), "wb") as out_sound:
        out_sound.setnchannels(1)
        out_sound.setsampwidth(2)
        out_sound.setframerate(48000)
        out_sound.writeframes((np.clip(loud, -1, 1) * 32767).astype("<i2").tobytes())
