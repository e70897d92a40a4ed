"""Trains the default checkpoint by one command; a run that was stopped at any moment goes on where it was.

    python -m training.train --data ROOT --out RUNS
    torchrun --nproc-per-node 2 -m training.train --data ROOT --out RUNS

ROOT holds one folder a corpus (ferplus, ravdess, emodb, nemo, ased, children, java_sed, java_sed_voice), each with a
manifest.csv or parquet files. RUNS keeps features, the state of every stage and the checkpoint. About an hour and a half on
one CPU core.
Several processes, which torchrun starts, share every batch and see together what one alone would see; RUNS is one for all.
A pretrained encoder (--face-encoder, --voice-encoder) is downloaded, or taken from torch's cache, and takes many times that.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from avemo_core import checkpoint
from avemo_core.model.branches.pretrained import FACE_NAMES, OWN, VOICE_NAMES

from . import parallel, protocol
from .recipe import DEFAULT, Corpora, Settings, build, learn


def train(root: Path, runs: Path, settings: Settings = DEFAULT, say=print, device: torch.device | str = "cpu") -> Path:
    """All stages on everybody but the dev people -> `runs/default.safetensors`, which the first process writes."""
    with parallel.first_alone():
        samples = build(settings).voice_branch.reads_samples  # a missing download is said before hours of work
        corpora = Corpora.read(root, runs / "cache", samples)
    everybody = {row.speaker for row in corpora.rows}
    dev = {row.speaker for row in corpora.rows if protocol.is_dev(row.corpus, row.speaker)}
    model, fitted, measured = learn(corpora, everybody - dev, dev, runs, settings=settings, say=say, device=device)
    path = runs / "default.safetensors"
    if parallel.rank() > 0:
        return path
    flags = [f"--{option.replace('_', '-')} {name}" for option, name in settings.encoders.items()]
    card = {
        "command": " ".join(["python -m training.train --data ROOT --out RUNS", *flags]),
        "data": {name: sum(row.corpus == name for row in corpora.rows) for name in protocol.VOICE_CORPORA}
        | {"ferplus": len(corpora.pictures)},
        "dev_people": {name: sorted(people) for name, people in protocol.DEV.items()},
        "settings": asdict(settings),
        "dev": measured,
    }
    checkpoint.save(path, model, "attention_cam", fitted, card, settings=settings.network)
    say(f"{path} holds the checkpoint; copy it to {checkpoint.DEFAULT} to ship it.")
    return path


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder a corpus")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="states, features and the checkpoint go here")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    parser.add_argument("--face-encoder", choices=FACE_NAMES, default=OWN["face"], help="default: %(default)s, our own")
    parser.add_argument("--voice-encoder", choices=VOICE_NAMES, default=OWN["voice"], help="default: %(default)s, our own")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        settings = DEFAULT.encoded(args.face_encoder, args.voice_encoder)
        with parallel.joined(args.device) as device:
            train(args.data, args.out, settings, lambda line: print(line, flush=True), device)
    except (FileNotFoundError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
