"""The recipe: classes and stages, what cannot be learned, and a small checkpoint trained by the whole command."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import get_model

from avemo_core import Analyzer, checkpoint
from avemo_core.labels import LABELS
from avemo_core.model.branches import pretrained
from avemo_core.systems import system
from tests.training.material import SILENT, acted, row, tiny
from training import face, progress, protocol, recipe, train
from training.corpora import ferplus


def corpora_of(rows, sounds=()) -> recipe.Corpora:
    return recipe.Corpora(Path("data"), rows, list(sounds), [None] * len(rows), ferplus.Faces(*[np.zeros(0)] * 6))


def test_calm_is_neutral_among_seven_and_a_class_of_its_own_among_eight():
    corpora = corpora_of([row("calm", "p"), row("neutral", "p"), row("surprise", "q")])
    assert corpora.labels(LABELS).tolist() == [0, 0, 6] and corpora.labels(recipe.EIGHT).tolist() == [7, 0, 6]
    assert corpora.of({"q"}).tolist() == [False, False, True]


def test_a_stage_is_known_by_all_that_it_was_made_of(tmp_path):
    settings = face.Settings()
    one = recipe.stage_folder(tmp_path, "face", {"width": 8}, settings)
    assert one == recipe.stage_folder(tmp_path, "face", {"width": 8}, face.Settings()) and one.name.startswith("face-")
    others = [({"width": 9}, settings), ({"width": 8}, face.Settings(seed=2)), ({"width": 8},)]
    assert len({one, *(recipe.stage_folder(tmp_path, "face", *parts) for parts in others)}) == 4


def test_the_head_starts_from_the_pictures_seven_classes(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks face\.pt; train the stage face first"):
        recipe.with_face(tiny(), tmp_path)
    torch.manual_seed(7)
    trained = face.FaceClassifier()  # eight classes, contempt last
    progress.save(tmp_path / "face.pt", {"average": trained.state_dict()})
    model = recipe.with_face(tiny(classes=8), tmp_path)
    rows = trained.head.weight
    assert torch.equal(model.head.face[:7], rows[:7]) and torch.equal(model.head.face[7], rows[0])  # calm starts as neutral
    crops = torch.rand(2, 1, 48, 48)
    assert torch.equal(model.eval().embed_faces(crops), trained.eval().branch(crops))


def test_a_class_without_examples_is_said_before_anything_is_trained(tmp_path):
    rows, sounds, _ = acted(24, people=4)
    kept = [n for n, one in enumerate(rows) if one.label not in ("disgust", "fear") or one.speaker == "p0"]
    rows, sounds = [rows[n] for n in kept], [sounds[n] for n in kept]
    corpora = corpora_of(rows, sounds)
    with pytest.raises(ValueError, match=r"^No training clip of fear, disgust; the classes are neutral, .*\.$"):
        recipe.learn(corpora, {"p1", "p2", "p3"}, {"p0"}, tmp_path / "runs", say=SILENT)
    with pytest.raises(ValueError, match="Speaker p1 is in training and in dev"):
        recipe.learn(corpora, {"p1", "p2"}, {"p0", "p1"}, tmp_path / "runs", say=SILENT)
    assert not (tmp_path / "runs").exists()


def test_the_default_checkpoint_is_trained_by_one_command_and_reads(small_corpora, small_recipe, tmp_path, monkeypatch):
    first = {name: {f"{name}_00"} for name in protocol.VOICE_CORPORA} | {"java_sed_voice": {"java_sed_voice_00"}}
    monkeypatch.setattr(protocol, "DEV", first)
    said: list[str] = []
    path = train.train(small_corpora, tmp_path, small_recipe, said.append)
    assert path.name == "default.safetensors" and said[-1].startswith(f"{path} holds the checkpoint")
    analyzer = Analyzer(path, device="cpu")
    assert analyzer.card["data"]["ravdess"] == 12 and analyzer.card["settings"]["voice"]["epochs"] == 2
    assert analyzer.card["dev"]["none"]["voice"]["ravdess"]["n"] == 3
    result = analyzer.analyze(
        small_corpora / "java_sed" / "0-anger.mp4", baseline=[small_corpora / "ravdess" / "0-neutral.wav"]
    )
    assert result.face.available and result.voice.available and result.baseline["clips"] == 1
    before = checkpoint.load(path)
    again = checkpoint.load(train.train(small_corpora, tmp_path, small_recipe, SILENT))  # every stage is there
    weights, others = before.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights) and again.card == before.card
    assert again.calibration.both.temperature == pytest.approx(before.calibration.both.temperature, rel=1e-3)


def test_encoders_are_in_the_settings_only_where_chosen(tmp_path):
    assert recipe.DEFAULT.encoded("face_cnn", "mel_cnn") == recipe.DEFAULT
    assert recipe.DEFAULT.network == system("attention_cam").settings
    chosen = recipe.DEFAULT.encoded("resnet18", "mel_cnn")
    assert chosen.encoders == {"face_encoder": "resnet18"} and chosen.network == recipe.DEFAULT.network | chosen.encoders
    assert chosen.face.rate < recipe.DEFAULT.face.rate and chosen.voice == recipe.DEFAULT.voice
    assert recipe.DEFAULT.encoded("face_cnn", "wavlm_base").face == recipe.DEFAULT.face
    assert chosen.seeded(3).encoders == chosen.encoders


def test_a_missing_download_ends_the_command_before_anything_is_read(tmp_path, offline, capsys):
    assert train.main(["--data", str(tmp_path), "--out", str(tmp_path), "--face-encoder", "mobilenet_v3_small"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("The pretrained weights of mobilenet_v3_small could not be downloaded") and len(offline) == 1


def test_the_command_trains_with_pretrained_encoders(
    small_corpora, small_recipe, tmp_path, monkeypatch, offline, small_voice
):
    first = {name: {f"{name}_00"} for name in protocol.VOICE_CORPORA} | {"java_sed_voice": {"java_sed_voice_00"}}
    monkeypatch.setattr(protocol, "DEV", first)
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    hub.mkdir(parents=True)
    seen, heard = (
        get_model("mobilenet_v3_small", weights=None).state_dict(),
        pretrained.VOICES[small_voice][3]().state_dict(),
    )
    torch.save(seen, hub / pretrained.FACES["mobilenet_v3_small"][0])
    torch.save(heard, hub / pretrained.VOICES[small_voice][0])
    said: list[str] = []
    path = train.train(small_corpora, tmp_path, small_recipe.encoded("mobilenet_v3_small", small_voice), said.append)
    shutil.rmtree(hub)  # from here on nothing is looked for
    analyzer = Analyzer(path, device="cpu")
    assert analyzer.card["command"].endswith("--face-encoder mobilenet_v3_small --voice-encoder small_voice")
    weights = analyzer.model.state_dict()
    for name, value in heard.items():  # frozen, and in half precision in the file
        assert torch.equal(weights[f"voice_branch.network.{name}"], value.half().float()), name
    assert analyzer.model.voice_branch.mixture.abs().max() > 0
    moved = (weights["face_branch.layers.features.0.0.weight"] - seen["features.0.0.weight"]).abs().max()
    assert 1e-5 < moved < 0.05  # fine-tuned
    result = analyzer.analyze(small_corpora / "java_sed" / "0-anger.mp4")
    assert result.face.available and result.voice.available and not offline
    folders = {one.name.split("-")[0] for one in tmp_path.iterdir() if one.is_dir()}
    assert {"cache", "face", "voice", "joint"} <= folders and any((tmp_path / "cache" / "samples").iterdir())
