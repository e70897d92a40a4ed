"""Trains the default checkpoint by one command, in four stages; a run that was stopped goes on where it was.

    python -m training.train --data ROOT --out RUN

ROOT holds one folder a corpus (ferplus, ravdess, emodb, nemo, ased, java_sed, java_sed_voice), each with a manifest.csv or
parquet files. About one hour and a half on two CPU cores.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from avemo_core import checkpoint
from avemo_core.faces import Detector
from avemo_core.labels import index
from avemo_core.model.attention_cam import AttentionCAM
from avemo_core.systems import system

from . import calibrate, face, features, joint, progress, protocol, voice
from .corpora import ferplus, manifest

STAGES = ("face", "voice", "joint", "calibrate")


def voice_rows(root: Path) -> list[manifest.Row]:
    """Every labelled clip of the voice corpora under `root`, speakers checked."""
    rows = [row for name in protocol.VOICE_CORPORA for row in manifest.read(root / name, name) if row.label is not None]
    dev = {row.speaker for row in rows if protocol.is_dev(row.corpus, row.speaker)}
    protocol.assert_disjoint({"training": {row.speaker for row in rows} - dev, "dev": dev})
    return rows


def assemble(out: Path) -> AttentionCAM:
    """The house model with the averaged branches and heads of the face and the voice stage."""
    model = AttentionCAM(**system("attention_cam").settings)
    state = progress.load(out / "voice.pt")
    faces = progress.load(out / "face.pt")
    if state is None or faces is None:
        raise FileNotFoundError(f"{out} lacks face.pt or voice.pt; train the stages face and voice first.")
    model.load_state_dict(state["average"])
    weights = faces["average"]
    model.face_branch.load_state_dict({k.removeprefix("branch."): v for k, v in weights.items() if k.startswith("branch.")})
    # the head's first seven rows; a softmax over seven forgets contempt
    model.head.face.data.copy_(weights["head.weight"][: len(model.head.face)])
    return model.eval()


def material(model: AttentionCAM, root: Path, cache: Path, rows, sounds, dev: np.ndarray) -> joint.Material:
    """Training pairs for the fusion stage."""
    detector = Detector()
    train = np.flatnonzero(~dev)
    clips = [i for i in train if rows[i].corpus == "java_sed"]
    tracks = [features.face(rows[i].path, cache, detector) for i in clips]
    kept = [(i, track) for i, track in zip(clips, tracks, strict=True) if track is not None]
    picture_rows = ferplus.read(root / "ferplus", "Training")
    picture_rows = picture_rows.take(~ferplus.is_dev(picture_rows.files))
    still_tokens, still_votes = joint.stills(model, picture_rows, most=12_000, seed=1)
    tokens, picture_labels = joint.pictures(model, picture_rows, each=900, views=3, seed=1)
    return joint.Material(
        pictures=tokens,
        picture_labels=picture_labels,
        clip_tokens=[joint.face_tokens(model, track.crops) for _, track in kept],
        clip_present=[track.present for _, track in kept],
        clip_sounds=[sounds[i] for i, _ in kept],
        clip_labels=np.array([index(rows[i].label) for i, _ in kept]),
        clip_speakers=np.array([rows[i].speaker for i, _ in kept]),
        sounds=[sounds[i] for i in train],
        labels=np.array([index(rows[i].label) for i in train]),
        speakers=np.array([rows[i].speaker for i in train]),
        weights=voice.sampling_weights([rows[i] for i in train]),
        stills=still_tokens,
        still_votes=still_votes,
    )


def train(root: Path, out: Path, stages: Sequence[str] = STAGES, say=print) -> Path | None:
    """Runs the stages in order; returns the checkpoint's path when `calibrate` is among them."""
    out.mkdir(parents=True, exist_ok=True)
    cache = out / "cache"
    if "face" in stages:
        face.train(root / "ferplus", out, say=say)
    if not set(stages) & {"voice", "joint", "calibrate"}:
        return None
    rows = voice_rows(root)
    sounds = features.voices(rows, cache)
    dev = np.array([protocol.is_dev(row.corpus, row.speaker) for row in rows])
    if "voice" in stages:
        voice.train(rows, sounds, dev, out, say=say)
    if not set(stages) & {"joint", "calibrate"}:
        return None
    model = assemble(out)
    if "joint" in stages:
        joint.train(model, material(model, root, cache, rows, sounds, dev), out, say=say)
    if "calibrate" not in stages:
        return None
    state = progress.load(out / "joint.pt")
    if state is None:
        raise FileNotFoundError(f"{out} lacks joint.pt; train the stage joint first.")
    model.load_state_dict(state["average"])
    picked = [rows[i] for i in np.flatnonzero(dev)]
    fitted, measured = calibrate.fit(model, picked, ferplus.read(root / "ferplus", "Training"))
    card = {
        "command": "python -m training.train --data ROOT --out RUN",
        "data": {name: sum(row.corpus == name for row in rows) for name in protocol.VOICE_CORPORA},
        "dev_people": {name: sorted(people) for name, people in protocol.DEV.items()},
        "settings": {
            "face": asdict(face.Settings()),
            "voice": asdict(voice.Settings()),
            "joint": asdict(joint.Settings()),
        },
        "dev": measured,
    }
    path = out / "default.safetensors"
    checkpoint.save(path, model, "attention_cam", fitted, card)
    say(f"{path} holds the checkpoint; copy it to {checkpoint.DEFAULT} to ship it.")
    return path


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder a corpus")
    parser.add_argument("--out", type=Path, default=Path("runs/default"), help="states, features and the checkpoint go here")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: all)")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        train(args.data, args.out, args.stages, say=lambda line: print(line, flush=True))
    except (FileNotFoundError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
