"""The recipe: from people to learn from and people to calibrate on to a model that reads. The default checkpoint and every
fold of a cross-validation come from this one function.

Stages: face (FER+ pictures), voice (studio and read voices), anybody (the same voices as anybody's, anywhere), joint (all
voices, real pairs, pictures), calibrate (dev people). Each keeps its state in a folder named after what it learned from, so
a stage with the same people is not trained again.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avemo_core.calibration import Calibration
from avemo_core.labels import LABELS
from avemo_core.model.attention_cam import AttentionCAM
from avemo_core.model.branches.pretrained import OWN
from avemo_core.systems import system
from avemo_core.types import FaceTrack, Sound

from . import calibrate, face, features, joint, parallel, progress, protocol, voice
from .corpora import ferplus, manifest
from .face import Settings as FaceSettings
from .joint import Settings as JointSettings
from .voice import ANYBODY
from .voice import Settings as VoiceSettings

EIGHT = (*LABELS, "calm")  # RAVDESS as papers score it
FINE_TUNED = 2e-4  # peak rate of a face network that comes trained: gentler, else it forgets
Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """Of every stage; written into the card."""

    face: FaceSettings
    voice: VoiceSettings
    anybody: VoiceSettings  # the last epochs of the voice
    joint: JointSettings
    encoders: dict[str, str] = field(default_factory=dict)  # face_encoder, voice_encoder: only those that are not our own

    @property
    def network(self) -> dict[str, Any]:
        """What the model is built with."""
        return system("attention_cam").settings | self.encoders

    def seeded(self, seed: int) -> "Settings":
        """The same with another seed in every stage but the face's, which is trained once."""
        anybody = replace(self.anybody, seed=self.anybody.seed - self.voice.seed + seed)
        return replace(self, voice=replace(self.voice, seed=seed), anybody=anybody, joint=replace(self.joint, seed=seed))

    def encoded(self, face: str, voice: str) -> "Settings":
        """The same with these encoders; a pretrained face network is fine-tuned."""
        chosen = {"face": face, "voice": voice}
        encoders = {f"{which}_encoder": name for which, name in chosen.items() if name != OWN[which]}
        tuned = replace(self.face, rate=FINE_TUNED) if face != OWN["face"] else self.face
        return replace(self, face=tuned, encoders=encoders)


DEFAULT = Settings(FaceSettings(), VoiceSettings(), ANYBODY, JointSettings())


@dataclass(frozen=True)
class Corpora:
    """Everything that can be learned from, read once: N clips with a voice, and the FER+ training pictures."""

    root: Path
    rows: list[manifest.Row]
    sounds: list[Sound]
    tracks: list[FaceTrack | None]  # faces of the audio-visual clips
    pictures: ferplus.Faces

    @classmethod
    def read(cls, root: Path, cache: Path, samples: bool = False) -> "Corpora":
        """`root` holds one folder a corpus; features come from `cache` or go there. FileNotFoundError says what lacks.

        `samples`: the sounds hold them, for a voice encoder that reads them.
        """
        rows = [row for name in protocol.VOICE_CORPORA for row in labelled(manifest.read(root / name, name))]
        sounds = features.voices(rows, cache, samples)
        pairs = [n for n, row in enumerate(rows) if row.corpus == protocol.PAIRS]
        tracks: list[FaceTrack | None] = [None] * len(rows)
        for n, track in zip(pairs, features.faces_of([rows[n] for n in pairs], cache), strict=True):
            tracks[n] = track
        return cls(root, rows, sounds, tracks, ferplus.read(root / "ferplus", "Training"))

    def labels(self, names: tuple[str, ...]) -> np.ndarray:
        """Class of each row [N]: the corpus's own label where `names` has it, else its place among the seven."""
        return np.array([names.index(r.corpus_label if r.corpus_label in names else str(r.label)) for r in self.rows])

    def of(self, speakers: set[str]) -> np.ndarray:
        """bool [N]: the clips of these people."""
        return np.array([row.speaker in speakers for row in self.rows])


def labelled(rows: list[manifest.Row]) -> list[manifest.Row]:
    """The rows to learn from: those with a label, and of a corpus that is read aloud all, as neutral."""
    rows = [replace(row, label=LABELS[0]) if row.corpus in protocol.READ else row for row in rows]
    return [row for row in rows if row.label is not None]


def stage_folder(runs: Path, stage: str, *made_of: object) -> Path:
    """The folder of a stage's state: named by everything that its weights depend on."""
    text = json.dumps(made_of, sort_keys=True, default=str)
    return runs / f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def build(settings: Settings, classes: int = len(LABELS)) -> AttentionCAM:
    """The model before any stage; every run starts from the same weights: seeds decide what it sees and when.

    AvemoError where the weights of a pretrained encoder are not here and cannot be downloaded.
    """
    torch.manual_seed(0)
    return AttentionCAM(**settings.network | {"classes": classes}, pretrained=True)


def with_face(model: AttentionCAM, faces: Path) -> AttentionCAM:
    """The model with the averaged face branch and the rows of its head for the seven labels."""
    state = progress.load(faces / "face.pt")
    if state is None:
        raise FileNotFoundError(f"{faces} lacks face.pt; train the stage face first.")
    weights = state["average"]
    model.face_branch.load_state_dict({k.removeprefix("branch."): v for k, v in weights.items() if k.startswith("branch.")})
    # a softmax over seven forgets contempt; a class that pictures do not have starts as neutral does
    rows = weights["head.weight"][: len(LABELS)]
    model.head.face.data.copy_(torch.cat([rows, rows[:1].expand(len(model.head.face) - len(rows), -1)]))
    return model


def pictures_of(corpora: Corpora, model: AttentionCAM, folder: Path) -> joint.Pictures:
    """FER+ training pictures as tokens of this face branch; kept in `folder`."""
    path = folder / "pictures.pt"
    kept = progress.load(path)
    if kept is None:
        rows = corpora.pictures.take(~ferplus.is_dev(corpora.pictures.files))
        tokens, labels = joint.views_of(model, rows, each=900, views=3, seed=1)
        stills, votes = joint.stills_of(model, rows, most=12_000, seed=1)
        kept = {"tokens": tokens, "labels": torch.from_numpy(labels), "stills": stills, "votes": votes}
        progress.save(path, kept)
    return joint.Pictures(kept["tokens"], kept["labels"].numpy(), kept["stills"], kept["votes"])


def learn(
    corpora: Corpora,
    train: set[str],
    dev: set[str],
    runs: Path,
    names: tuple[str, ...] = LABELS,
    settings: Settings = DEFAULT,
    without: tuple[str, ...] = (),
    say: Say = print,
    device: torch.device | str = "cpu",
) -> tuple[AttentionCAM, Calibration, dict]:
    """A model of the classes `names` from the people `train`, calibrated on the people `dev`.

    Args:
        runs: where stages keep their states.
        without: corpora left out altogether.
        device: where the network is trained; what it sees is drawn on the CPU, the same for every device.

    Returns:
        the model, on the CPU, its calibration, and scores on the dev people. Of several processes only the first has the
        last two: it alone calibrates.
    """
    protocol.assert_disjoint({"training": train, "dev": dev})
    kept = np.array([row.corpus not in without for row in corpora.rows])
    learned = np.flatnonzero(corpora.of(train) & kept)
    held = np.flatnonzero(corpora.of(dev) & kept)
    labels = corpora.labels(names)
    missing = sorted(set(range(len(names))) - set(labels[learned].tolist()))
    if missing:
        raise ValueError(f"No training clip of {', '.join(names[k] for k in missing)}; the classes are {', '.join(names)}.")

    seen = {name: value for name, value in settings.network.items() if name != "voice_encoder"}
    faces = stage_folder(runs, "face", seen, settings.face)
    face.train(corpora.pictures, faces, settings.face, say, device, settings.encoders.get("face_encoder", OWN["face"]))
    model = build(settings, len(names)).to(device)
    model, voices = _voice_stage(corpora, model, labels, learned, held, names, runs, settings, say)
    model = _joint_stage(corpora, with_face(model, faces), labels, learned, runs, faces, voices, settings.joint, say).cpu()
    if parallel.rank() > 0:
        return model, Calibration(), {}
    clips = [calibrate.Clip(corpora.rows[i], int(labels[i]), corpora.sounds[i], corpora.tracks[i]) for i in held]
    dev_pictures = corpora.pictures.take(ferplus.is_dev(corpora.pictures.files))
    return model, *calibrate.fit(model, clips, dev_pictures, names)


def _files(corpora: Corpora, chosen: Sequence[int] | np.ndarray) -> list[str]:
    """What a stage learns from, for the name of its folder."""
    return [f"{corpora.rows[i].corpus}/{corpora.rows[i].path.name}" for i in chosen]


def _voice_stage(
    corpora: Corpora,
    model: AttentionCAM,
    labels: np.ndarray,
    learned: np.ndarray,
    held: np.ndarray,
    names: tuple[str, ...],
    runs: Path,
    settings: Settings,
    say: Say,
) -> tuple[AttentionCAM, Path]:
    """The studio and read voices among the clips `learned`, scored on those `held`: the model, and the last folder."""
    apart = (*protocol.STUDIO, *protocol.READ)
    heard, dev = ([int(i) for i in part if corpora.rows[i].corpus in apart] for part in (learned, held))
    both = heard + dev
    rows, sounds = [corpora.rows[i] for i in both], [corpora.sounds[i] for i in both]
    given = rows, sounds, labels[both], np.arange(len(both)) >= len(heard)
    folder = stage_folder(runs, "voice", settings.network, settings.voice, names, _files(corpora, heard))
    model = voice.train(*given, model, folder, settings.voice, say)
    folder = stage_folder(runs, "anybody", folder.name, settings.anybody)
    return voice.train(*given, model, folder, settings.anybody, say), folder


def _joint_stage(
    corpora: Corpora,
    model: AttentionCAM,
    labels: np.ndarray,
    learned: np.ndarray,
    runs: Path,
    faces: Path,
    voices: Path,
    settings: JointSettings,
    say: Say,
) -> AttentionCAM:
    """All clips `learned`, real pairs among them, and pictures; `faces` and `voices` are the folders of those stages."""
    folder = stage_folder(runs, "joint", faces.name, voices.name, settings, _files(corpora, learned))
    tracks = [corpora.tracks[i] for i in learned]
    material = joint.Voices(
        [corpora.rows[i] for i in learned],
        [corpora.sounds[i] for i in learned],
        labels[learned],
        [None if t is None else (joint.face_tokens(model, t.crops), t.present) for t in tracks],
    )
    with parallel.first_alone():
        pictures = pictures_of(corpora, model, faces)
    return joint.train(model, pictures, material, folder, settings, say)
