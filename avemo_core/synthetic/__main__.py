"""python -m avemo_core.synthetic OUT: draws the examples again, the same every time."""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from PIL import Image

from .clips import Scene, write_clip

POSTER = 96  # pixels


@dataclass(frozen=True)
class Example:
    """One example: what the page says about it, and how it is made."""

    file: str
    title: str
    teaches: str
    seconds: float
    face: str = "neutral"
    voice: str | None = "neutral"
    person: str | tuple[str, ...] = "mara"
    seed: int = 0
    size: tuple[int, int] = (360, 360)
    scene: Scene = field(default_factory=Scene)

    @property
    def name(self) -> str:
        return Path(self.file).stem


EXAMPLES = (
    Example(
        "both_agree.mp4",
        "Both agree",
        "Face and voice express happiness together; it builds up and fades.",
        4.6,
        "happiness",
        "happiness",
        "mara",
        3,
    ),
    Example(
        "they_disagree.mp4",
        "They disagree",
        "The face smiles while the voice is afraid: look at each on its own.",
        4.6,
        "happiness",
        "fear",
        "amara",
        3,
    ),
    Example(
        "quiet_low_light.mp4",
        "Quiet, low light",
        "A sad face in a dim room, a voice near the noise, and half a second out of the picture.",
        5.6,
        "sadness",
        "sadness",
        "kenji",
        2,
        scene=Scene(light=0.3, noise=5.0, volume_db=-8.0, away=(4.2, 4.7), room=0.0012),
    ),
    Example(
        "two_people.mp4",
        "Two people",
        "Two faces, one voice: choose whom to read.",
        5.0,
        "surprise",
        "surprise",
        ("lena", "noa"),
        7,
        (560, 320),
    ),
    Example(
        "face_only.mp4",
        "Face only",
        "No sound at all: raised brows, wide eyes and a dropped jaw are read alone.",
        4.4,
        "surprise",
        None,
        "ivan",
        4,
    ),
    Example(
        "voice_only.m4a", "Voice only", "No picture at all: the voice is read alone.", 4.4, "neutral", "anger", "ivan", 9
    ),
)


def _poster(clip: Path, at_s: float) -> Image.Image:
    """The picture shown at `at_s`, cut square; for sound alone its waveform."""
    with av.open(str(clip)) as opened:
        if opened.streams.video:
            frame = next(f for f in opened.decode(video=0) if f.time >= at_s).to_image()
            side = min(frame.size)
            left = (frame.width - side) // 2
            return frame.crop((left, 0, left + side, side)).resize((POSTER, POSTER), Image.Resampling.LANCZOS)
        sound = np.concatenate([f.to_ndarray().reshape(-1) for f in opened.decode(audio=0)])
    bars = np.array([np.sqrt((part**2).mean()) for part in np.array_split(sound, 24)])
    picture = np.full((4 * POSTER, 4 * POSTER, 3), (42, 49, 61), np.uint8)
    for k, height in enumerate(np.maximum(bars / bars.max() * 1.1 * POSTER, 4).astype(int)):
        picture[2 * POSTER - height : 2 * POSTER + height, 18 + 15 * k : 25 + 15 * k] = (182, 190, 202)
    return Image.fromarray(picture).resize((POSTER, POSTER), Image.Resampling.LANCZOS)


def make(example: Example, folder: Path) -> dict[str, str | float]:
    """Writes an example's clip and poster; returns its row of examples.json."""
    clip = folder / example.file
    picture = clip.suffix == ".mp4"
    write_clip(
        clip,
        example.face,
        example.voice,
        example.person,
        example.seconds,
        example.seed,
        size=example.size,
        scene=example.scene,
        picture=picture,
    )
    poster = f"{example.name}.jpg"
    _poster(clip, 0.55 * example.seconds).save(folder / poster, quality=88)
    return {
        "name": example.name,
        "file": example.file,
        "title": example.title,
        "teaches": example.teaches,
        "duration_s": example.seconds,
        "poster": poster,
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m avemo_core.synthetic", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the clips, posters and examples.json (static/examples)")
    parser.add_argument("--only", choices=[e.name for e in EXAMPLES], nargs="+", help="remake these only")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    listing = given.out / "examples.json"
    known = {row["name"]: row for row in json.loads(listing.read_text("utf-8"))} if listing.exists() else {}
    for example in EXAMPLES:
        if given.only and example.name not in given.only and example.name in known:
            continue
        known[example.name] = make(example, given.out)
        print(f"{example.file}: {(given.out / example.file).stat().st_size / 1000:.0f} kB")
    rows = [known[e.name] for e in EXAMPLES]
    listing.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
