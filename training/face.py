"""First stage: the face branch on FER+ vote distributions, eight classes (contempt is dropped later).

The branch with its own eight-class head, to compare with papers, is scored by

    python -m training.face --state RUNS/face-.../face.pt --root DATA/ferplus --usage PublicTest
"""

import argparse
import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avemo_core.model.branches.face_cnn import FaceCNN
from avemo_core.model.branches.pretrained import FACE_NAMES, OWN, FaceEncoder

from . import augment, parallel, progress
from .corpora import ferplus


@dataclass(frozen=True)
class Settings:
    epochs: int = 34
    batch: int = 128
    rate: float = 2e-3  # peak of a one-cycle schedule
    weight_decay: float = 0.05
    mixup: float = 0.2  # Beta(a, a)
    finish: float = 0.3  # share of the epochs, the last, without mixup and with ever gentler augmentation
    gentlest: float = 0.3  # strength of the augmentation in the last epoch
    decay: float = 0.999  # moving average, about 1,000 steps
    dropout: float = 0.3  # of the pooled features, before the head
    balance: float = 0.2  # sampling weight = class frequency ** -balance: rare disgust and fear are seen more often
    seed: int = 1


class FaceClassifier(nn.Module):
    """The face branch, mean over the map, a linear head: the head's rows later become the rows of the CAM head."""

    def __init__(
        self,
        classes: int = len(ferplus.CLASSES),
        dropout: float = 0.0,
        encoder: str = OWN["face"],
        pretrained: bool = False,
    ):
        super().__init__()
        self.branch = FaceCNN() if encoder == OWN["face"] else FaceEncoder(encoder, pretrained)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.branch.channels, classes)

    def tokens(self, crops: Tensor) -> Tensor:
        """Crops [N,1,S,S] in 0..1 -> [N,D]."""
        return self.branch(crops).mean((2, 3))

    def logits(self, tokens: Tensor) -> Tensor:
        return self.head(self.dropout(tokens))

    def forward(self, crops: Tensor) -> Tensor:
        return self.logits(self.tokens(crops))


def targets(votes: np.ndarray) -> np.ndarray:
    """Votes [n,8] -> distributions [n,8]; single votes among ten are taken as slips and dropped (Barsoum et al. 2016)."""
    kept = np.where(votes > 1, votes, 0).astype(np.float32)
    return kept / np.maximum(kept.sum(1, keepdims=True), 1)


def strength(settings: Settings, epoch: int) -> float:
    """Of the augmentation in this epoch, the first being 0: 1, then falling to `gentlest` over the finish.

    What is read later is not altered: the network should have seen such pictures last.
    """
    left = (settings.epochs - 1 - epoch) / max(1.0, settings.finish * settings.epochs)
    return settings.gentlest + (1 - settings.gentlest) * min(1.0, left)


@torch.inference_mode()
def predict(model: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """uint8 [n,48,48] -> probabilities [n,8], averaged over the picture and its mirror image."""
    model.eval()
    device, out = next(model.parameters()).device, []
    for start in range(0, len(pixels), 256):
        crops = torch.from_numpy(pixels[start : start + 256]).to(device)[:, None].float() / 255
        out.append((model(crops).softmax(1) + model(crops.flip(3)).softmax(1)) / 2)
    return torch.cat(out).cpu().numpy()


def scores(probabilities: np.ndarray, faces: ferplus.Faces, classes: int) -> dict[str, float]:
    """Accuracy and UAR over rows whose majority has at least five of ten votes and is one of the first `classes`."""
    names = ferplus.CLASSES[:classes]
    keep = np.isin(faces.majority, names) & (faces.agreed >= 5)
    truth = np.array([names.index(name) for name in faces.majority[keep]])
    said = probabilities[keep, :classes].argmax(1)
    recall = [float((said[truth == k] == k).mean()) for k in np.unique(truth)]
    return {"n": int(keep.sum()), "accuracy": float((said == truth).mean()), "uar": float(np.mean(recall))}


def train(
    rows: ferplus.Faces,
    out: Path,
    settings: Settings = Settings(),
    say=print,
    device: torch.device | str = "cpu",
    encoder: str = OWN["face"],
) -> Path:
    """Training pictures -> `out/face.pt`, which is returned; a run that was stopped goes on after its last whole epoch.

    An `encoder` other than the own branch starts from its pretrained weights.
    """
    dev = ferplus.is_dev(rows.files)
    dev_rows = rows.take(dev)
    keep = ~dev & (targets(rows.votes).sum(1) > 0)
    keep &= ~np.isin(rows.majority, ("unknown", "NF"))
    pixels = torch.from_numpy(rows.pixels[keep])[:, None]
    soft = torch.from_numpy(targets(rows.votes[keep]))
    frequency = soft.sum(0) / soft.sum()
    weights = (soft / soft.sum(1, keepdim=True)) @ frequency.clamp(min=1e-4) ** -settings.balance

    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    path = out / "face.pt"
    model = FaceClassifier(dropout=settings.dropout, encoder=encoder, pretrained=not path.exists())
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    parallel.shared_norms(model)
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.rate, weight_decay=settings.weight_decay)
    steps = max(1, len(pixels) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.rate, total_steps=steps * settings.epochs, pct_start=0.15, final_div_factor=1e3
    )
    state = progress.State(path, settings, generator, model=model, average=average, optimizer=optimizer, schedule=schedule)
    reached = state.load()
    first, history = reached.get("epoch", 0), reached.get("history", [])

    for epoch in range(first, settings.epochs):
        started, total = time.time(), 0.0
        model.train()
        torch.manual_seed(settings.seed + epoch)  # dropout's own draws: the same whether the run was stopped or not
        hard = strength(settings, epoch)
        order = torch.multinomial(weights, steps * settings.batch, replacement=True, generator=generator)
        for chosen in order.view(steps, settings.batch):
            crops, wanted = augment.faces(pixels[chosen].float() / 255, generator, hard), soft[chosen]
            if hard == 1:
                crops, wanted = augment.mixup(crops, wanted, settings.mixup, generator)
            crops = crops[parallel.own(len(crops))].to(device, memory_format=torch.channels_last)
            with torch.autocast(crops.device.type, torch.bfloat16):
                logits = model.logits(parallel.gather(model.tokens(crops), len(wanted)))
            loss = F.cross_entropy(logits.float(), wanted.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            parallel.average(model.parameters())
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            progress.moving_average(
                average, model, min(settings.decay, (1 + schedule.last_epoch) / (10 + schedule.last_epoch))
            )
            total += loss.item()
        if parallel.rank() == 0:
            found = scores(predict(average, dev_rows.pixels), dev_rows, 7)
            history.append({"epoch": epoch + 1, "loss": total / steps, **found})
            say(f"face {history[-1]} {time.time() - started:.0f} s")
        state.save(epoch=epoch + 1, history=history)
    return state.path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.face", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="face.pt of a training run")
    parser.add_argument("--root", type=Path, required=True, help="folder with the parquet files of FER+")
    parser.add_argument("--usage", default="PublicTest")
    parser.add_argument("--face-encoder", choices=FACE_NAMES, default=OWN["face"], help="what the run trained")
    args = parser.parse_args()
    state = progress.load(args.state)
    if state is None:
        raise SystemExit(f"No state at {args.state}; train the stage face first.")
    model = FaceClassifier(encoder=args.face_encoder)
    model.load_state_dict(state["average"])
    rows = ferplus.read(args.root, args.usage)
    probabilities = predict(model, rows.pixels)
    strict = rows.take(rows.strict)
    found = {f"{k} classes": scores(probabilities, rows, k) for k in (7, 8)}
    found |= {f"{k} classes, strict": scores(probabilities[rows.strict], strict, k) for k in (7, 8)}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
