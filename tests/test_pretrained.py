"""Pretrained encoders with random weights: shapes, what is frozen, downloads that fail, and checkpoints that need none."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
import torchvision

from avemo_core import Analyzer, checkpoint, sound
from avemo_core.calibration import Calibration
from avemo_core.explain import render
from avemo_core.model.attention_cam import AttentionCAM
from avemo_core.model.branches.pretrained import FACES, VOICES, FaceEncoder, VoiceEncoder
from avemo_core.systems import system
from avemo_core.types import AvemoError
from tests.conftest import is_one_sentence

FACE = "mobilenet_v3_small"  # the smallest


def samples(batch: int = 2, columns: int = 200) -> torch.Tensor:
    return torch.randn(batch, 1, 160, columns, generator=torch.Generator().manual_seed(1)) * 0.1


def built(voice: str) -> tuple[AttentionCAM, dict]:
    """The house model with both encoders, and its settings."""
    settings = system("attention_cam").settings | {"face_encoder": FACE, "voice_encoder": voice}
    torch.manual_seed(5)
    return AttentionCAM(**settings).eval(), settings


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize("name", FACES)
def test_face_networks_keep_where_on_the_face(name):
    with torch.device("meta"):  # shapes without the work
        encoder = FaceEncoder(name).eval()
        maps = encoder(torch.zeros(5, 1, 48, 48))
    assert maps.shape == (5, encoder.channels, *((3, 3) if name == "vggface2" else (4, 4)))
    assert not any(key.startswith(("mean", "deviation")) for key in encoder.state_dict())


def test_crops_are_normalised_as_each_network_expects():
    seen = []
    for name in (FACE, "vggface2"):
        encoder = FaceEncoder(name).eval()
        encoder.layers = torch.nn.Identity()
        encoder.attention = torch.nn.Identity()
        seen.append(encoder(torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 1, 48, 48)))
    imagenet, vggface2 = seen
    assert imagenet.shape == (2, 3, 112, 112) and vggface2.shape == (2, 3, 160, 160)
    assert imagenet[:, :, 0, 0].flatten().tolist() == pytest.approx([-2.118, -2.036, -1.804, 2.249, 2.429, 2.640], abs=1e-3)
    assert vggface2[:, :, 0, 0].flatten().tolist() == pytest.approx([-127.5 / 128] * 3 + [127.5 / 128] * 3)


@pytest.mark.parametrize("name", VOICES)
def test_voice_networks_are_those_of_torchaudios_bundles(name):
    bundle = getattr(torchaudio.pipelines, name.upper())
    make = torchaudio.models.wavlm_model if "wavlm" in name else torchaudio.models.wav2vec2_model
    with torch.device("meta"):
        ours, theirs = VoiceEncoder(name), make(**bundle._params)
        layers = theirs.extract_features(torch.zeros(1, 32_080))[0]
    shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in (ours.network, theirs)]
    assert shapes[0] == shapes[1] and bundle.sample_rate == 16_000 and VOICES[name][0] == bundle._path
    assert len(layers) == len(ours.mixture) and layers[0].shape == (1, 100, ours.projection.in_features)


@pytest.mark.parametrize("name", ["wavlm_base", None])
def test_a_voice_network_is_frozen_and_what_follows_it_learns(small_voice, name):
    encoder = VoiceEncoder(name or small_voice)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.train()
    assert encoder.training and not any(part.training for part in encoder.network.modules())
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.1, weight_decay=0.5)
    maps = encoder(samples(), torch.ones(2, 200))
    assert maps.shape == (2, encoder.channels, 1, 25) and maps.std() > 0
    maps.square().mean().backward()
    optimizer.step()
    assert all(p.grad is None for p in encoder.network.parameters()) and encoder.mixture.grad.abs().max() > 0
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("network"), name


def test_the_mixture_starts_as_the_mean_of_the_layers(small_voice):
    encoder, layers = VoiceEncoder(small_voice), torch.randn(2, 3, 5, 16)
    assert torch.allclose(encoder.mix(layers), layers.mean(0), atol=1e-6)
    with torch.no_grad():
        encoder.mixture.copy_(torch.tensor([0.0, 50.0]))
    assert torch.allclose(encoder.mix(layers), layers[1], atol=1e-6)


def test_a_column_of_the_voice_map_hears_its_own_moment(small_voice):
    """Only convolutions: attention lets every moment hear every other."""
    encoder = VoiceEncoder(small_voice).eval()
    encoder.network.extract_features = lambda wave: [[encoder.network.feature_extractor(wave, None)[0].repeat(1, 1, 2)]]
    encoder.mixture = torch.nn.Parameter(torch.zeros(1))
    burst = samples(1)
    burst[..., :80], burst[..., 88:] = 0, 0  # the eleventh of 25 cells of eight columns
    encoder.attention = torch.nn.Identity()
    maps = encoder(burst, torch.ones(1, 200))[0, :, 0]
    assert (maps - maps[:, :1]).abs().sum(0).argmax() == 10


@pytest.mark.parametrize("columns", [1, 7, 8, 43, 200])
def test_the_voice_map_has_a_column_for_every_eight(small_voice, columns):
    encoder = VoiceEncoder(small_voice).eval()
    maps = encoder(samples(2, columns), torch.ones(2, columns))
    assert maps.shape == (2, 128, 1, -(-columns // 8)) and torch.isfinite(maps).all()


def test_what_is_masked_is_not_heard_and_loudness_does_not_matter(small_voice):
    torch.manual_seed(0)
    encoder, heard = VoiceEncoder(small_voice).eval(), samples()
    mask = torch.ones(2, 200)
    mask[:, 120:] = 0
    before = encoder(heard, mask)
    assert not before[..., 15:].any() and before[..., :15].any()
    heard[..., 120:] = torch.nan
    assert torch.equal(encoder(heard, mask), before)
    assert torch.allclose(encoder(heard / 300, mask), before, atol=2e-3)  # norms add a little to what they divide by
    assert torch.allclose(encoder(heard[:1], mask[:1]), before[:1], atol=1e-4)  # windows of a batch do not meet
    assert not encoder(torch.zeros(2, 1, 80, 200), torch.zeros(2, 200)).any()  # no sound at all


def test_log_mel_is_refused(small_voice):
    with pytest.raises(ValueError, match=r"reads samples \[B,1,160,L\]; got shape \(2, 1, 80, 200\)\.$"):
        VoiceEncoder(small_voice)(torch.zeros(2, 1, 80, 200), torch.ones(2, 200))


@pytest.mark.parametrize("available", [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_evidence_and_bias_sum_to_the_logit(small_voice, available):
    model, _ = built(small_voice)
    clock = torch.arange(200)[None].expand(2, -1) * 0.01
    mask = torch.ones(2, 200)
    mask[1, 100:] = 0
    with torch.inference_mode():
        counted = torch.tensor([available, available]).float()
        crops = torch.rand(2, 6, 1, 48, 48)
        out = model(crops, clock[:, :60:10], torch.ones(2, 6), samples(), clock, mask, counted, maps=True)
    assert out.face_evidence.shape == (2, 7, 6, 4, 4) and out.voice_evidence.shape == (2, 7, 1, 25)
    total = model.head.bias + out.face_evidence.sum((2, 3, 4)) + out.voice_evidence.sum((2, 3))
    assert torch.allclose(total, out.logits, atol=1e-4)
    assert bool(out.face_evidence.any()) == bool(available[0]) and bool(out.voice_evidence.any()) == bool(available[1])


# ---------------------------------------------------------------- names and downloads


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(ValueError, match=r"Unknown face encoder 'vgg'; choose one of face_cnn, resnet18, .*, vggface2"):
        AttentionCAM(face_encoder="vgg")
    with pytest.raises(ValueError, match=r"Unknown voice encoder 'hubert'; choose one of mel_cnn, wavlm_base, .*_xlsr53"):
        AttentionCAM(voice_encoder="hubert")


@pytest.mark.parametrize("name", [*FACES, *VOICES])
def test_a_missing_download_is_one_sentence_that_says_which_file_goes_where(name, offline):
    make = FaceEncoder if name in FACES else VoiceEncoder
    with torch.device("meta"), pytest.raises(AvemoError) as caught:
        make(name, pretrained=True)
    text = str(caught.value)
    [file] = offline  # where the library itself looks for it
    assert text.startswith(f"The pretrained weights of {name} could not be downloaded or read (") and "\n" not in text
    assert text.endswith(f"connect to a network, or put the file {file.name} into {file.parent}.")
    assert "Name or service not known" in text and is_one_sentence(text.replace(str(file.parent), "it"))


def cached(weights: dict[str, torch.Tensor], folder: Path, file: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(weights, folder / file)


def test_files_put_into_the_folder_are_read(offline, small_voice):
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    face = torchvision.models.get_model(FACE, weights=None)
    voice = VOICES[small_voice][3]()
    cached(face.state_dict(), hub, FACES[FACE][0])
    cached(voice.state_dict(), hub, VOICES[small_voice][0])
    for mine, theirs in (
        (FaceEncoder(FACE, pretrained=True).layers.features, face.features),
        (VoiceEncoder(small_voice, pretrained=True).network, voice),
    ):
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in mine.state_dict().items())
    (hub / FACES[FACE][0]).write_bytes(b"half a file")
    with pytest.raises(AvemoError, match=f"weights of {FACE} could not be downloaded or read"):
        FaceEncoder(FACE, pretrained=True)
    assert not offline


# ---------------------------------------------------------------- end to end


@pytest.fixture
def encoded(offline, small_voice, tmp_path) -> Path:
    """A checkpoint with both encoders."""
    model, settings = built(small_voice)
    checkpoint.save(tmp_path / "it.safetensors", model, "attention_cam", Calibration(), {}, half=False, settings=settings)
    return tmp_path / "it.safetensors"


def test_a_checkpoint_with_encoders_is_read_without_a_download(encoded, offline, small_voice):
    back, model = checkpoint.load(encoded).model, built(small_voice)[0]
    weights = model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in back.state_dict().items()) and not offline
    crops = torch.rand(1, 1, 48, 48)
    assert torch.equal(back.embed_faces(crops), model.embed_faces(crops))
    assert not any(p.requires_grad for p in back.voice_branch.network.parameters())


def test_a_checkpoint_of_an_unknown_encoder_is_said(encoded, monkeypatch):
    monkeypatch.delitem(VOICES, "small_voice")
    with pytest.raises(AvemoError, match="Unknown voice encoder 'small_voice'; choose one of mel_cnn, wavlm_base"):
        checkpoint.load(encoded)


def test_clips_are_read_with_encoders(encoded, clip_of):
    analyzer = Analyzer(encoded, device="cpu")
    for name in ("talk.mp4", "voice.wav", "silent.mp4"):
        result = analyzer.analyze(clip_of(name))
        evidence = result.evidence
        spoken = result.sound is not None
        assert result.voice.available == spoken and result.face.available == (name != "voice.wav")
        logit = evidence.bias + sum(
            maps.reshape(7, -1).sum(1) for maps in (evidence.face, evidence.voice) if maps is not None
        )
        assert result.both.probabilities == pytest.approx(np.exp(logit) / np.exp(logit).sum(), abs=1e-3)
        if spoken:
            assert result.sound.samples.shape == (160, result.sound.log_mel.shape[1])
            assert evidence.voice.shape[1] == 1 and evidence.voice_edges_hz.tolist() == pytest.approx([60, 8000], rel=0.3)
            assert render.voice_evidence(result, "anger").shape[0] == render.SPECTROGRAM_PX
            assert render.voice_contours(result, result.verdict.label) is not None
    wave = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    found, _ = analyzer.read_window(None, np.zeros(0), wave, 0.0, 0.0, 2.0)
    assert found["face"] is None
    other, _ = analyzer.read_window(None, np.zeros(0), None, 0.0, 0.0, 2.0)
    assert other["voice"] is None


def test_samples_are_kept_only_where_they_are_read(analyzer, clip_of):
    assert analyzer.analyze(clip_of("voice.wav")).sound.samples is None
    wave = np.arange(500, dtype=np.float32)
    assert np.array_equal(sound.columns(wave)[:, 1], wave[160:320]) and sound.columns(wave).shape == (160, 3)
    assert np.shares_memory(sound.describe(wave / 500, samples=True).samples, wave) is False
    assert set(system("attention_cam").settings).isdisjoint({"face_encoder", "voice_encoder", "pretrained"})
