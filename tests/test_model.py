"""The house model on tiny networks: attention by hand, evidence that adds up, and inputs that must not matter."""

import math

import pytest
import torch

from avemo_core.model.attention.channel import ChannelAttention
from avemo_core.model.attention.spatial import SpatialAttention
from avemo_core.model.attention.temporal import TemporalAttention
from avemo_core.model.attention_cam import AttentionCAM, Output
from avemo_core.model.branches.mel_cnn import STRIDE, MelCNN, shrink_mask
from avemo_core.model.fusion.cross_modal import CrossModalAttention, time_code
from avemo_core.model.heads.cam import CamHead, Personal
from avemo_core.systems import SYSTEMS, system

FRAMES, COLUMNS = 6, 80


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def shaken(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The model with every number random, those that start at zero too, so that no part is idle."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                inputs = value[0].numel() if value.dim() > 1 else 11
                value.copy_(torch.randn(value.shape, generator=generator) * (1.5 / inputs**0.5))
                if name.endswith("running_var"):
                    value.abs_().add_(0.5)
        for part in model.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.weight.abs_().add_(1.0)  # else each layer would weaken what the test varies
    return model.eval().requires_grad_(False)


def tiny(classes: int = 7) -> AttentionCAM:
    return shaken(AttentionCAM(classes, (4, 8, 8, 8), (1, 2, 1), (4, 8, 8, 8), (1, 2, 1), width=8))


@pytest.fixture(scope="module")
def model() -> AttentionCAM:
    return tiny()


def window(batch: int = 2, seed: int = 1) -> dict[str, torch.Tensor]:
    """What forward() takes: random crops, log-mel and clocks, everything valid."""
    generator = torch.Generator().manual_seed(seed)
    syllables = torch.randn(batch, 1, 1, COLUMNS // 8, generator=generator).repeat_interleave(8, 3)
    bands = torch.randn(batch, 1, 16, 1, generator=generator)
    noise = torch.randn(batch, 1, 16, COLUMNS, generator=generator)
    return {
        "crops": torch.rand(batch, FRAMES, 1, 16, 16, generator=generator),
        "face_times": (torch.arange(FRAMES) * 0.1).expand(batch, -1),
        "face_mask": torch.ones(batch, FRAMES),
        "log_mel": 6 * syllables * bands + noise - 5,
        "sound_times": (torch.arange(COLUMNS) * 0.01).expand(batch, -1),
        "sound_valid": torch.ones(batch, COLUMNS),
    }


# ---------------------------------------------------------------- attention, by hand


def test_channel_attention_weighs_the_mean_of_valid_places():
    attention = ChannelAttention(2, reduction=2)
    with torch.no_grad():
        attention.squeeze.weight.copy_(torch.tensor([[1.0, 2.0]]))
        attention.squeeze.bias.fill_(-1.0)
        attention.excite.weight.copy_(torch.tensor([[1.0], [-0.5]]))
        attention.excite.bias.copy_(torch.tensor([0.25, 0.0]))
    maps = torch.tensor([[[[0.0, 2.0, 100.0]], [[1.0, 1.0, -100.0]]]])
    mask = torch.tensor([[[[1.0, 1.0, 0.0]]]])
    # valid means 1 and 1 -> relu(1 + 2 - 1) = 2
    expected = [sigmoid(2 + 0.25), sigmoid(-0.5 * 2)]
    assert attention.weights(maps, mask)[0].tolist() == pytest.approx(expected)
    assert attention.weights(maps[..., :2])[0].tolist() == pytest.approx(expected)
    assert attention(maps, mask)[0, :, 0, 1].tolist() == pytest.approx([2 * expected[0], expected[1]])


def test_channel_attention_of_nothing_valid_is_finite():
    assert torch.isfinite(ChannelAttention(8)(torch.ones(1, 8, 2, 2), torch.zeros(1, 1, 1, 2))).all()


def test_spatial_attention_weighs_mean_and_maximum_over_channels():
    attention = SpatialAttention()
    with torch.no_grad():
        attention.conv.weight.zero_()
        attention.conv.weight[0, 0, 3, 3], attention.conv.weight[0, 1, 3, 3] = 2.0, -1.0
        attention.conv.bias.fill_(0.5)
    maps = torch.tensor([[[[1.0, 0.0]], [[3.0, -4.0]]]])
    expected = [sigmoid(2 * 2 - 3 + 0.5), sigmoid(2 * -2 - 0 + 0.5)]
    assert attention.weights(maps)[0, 0, 0].tolist() == pytest.approx(expected)
    assert attention(maps)[0, 1, 0].tolist() == pytest.approx([3 * expected[0], -4 * expected[1]])


def test_temporal_attention_is_a_softmax_over_valid_steps():
    attention = TemporalAttention(1, hidden=1)
    with torch.no_grad():
        attention.hidden.weight.fill_(1.0)
        attention.hidden.bias.zero_()
        attention.score.weight.fill_(2.0)
    tokens = torch.tensor([[[0.0], [1.0], [50.0]]]).expand(2, -1, -1)
    weights = attention(tokens, torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    one = math.exp(2 * math.tanh(1))
    assert weights[0].tolist() == pytest.approx([1 / (1 + one), one / (1 + one), 0.0])
    assert weights[1].tolist() == [0, 0, 0]


def test_time_code_has_sines_then_cosines_of_true_seconds():
    code = time_code(torch.tensor([[0.0, 0.05, 5.0]]), 8)[0]
    assert code.shape == (3, 8)
    assert code[0].tolist() == pytest.approx([0, 0, 0, 0, 1, 1, 1, 1])
    assert code[1, 0] == pytest.approx(1, abs=1e-5)  # a quarter of the shortest period, 0.2 s
    assert code[2, 3] == pytest.approx(1, abs=1e-5)  # a quarter of the longest, 20 s
    assert torch.equal(time_code(torch.tensor([[0.4]]), 8), time_code(torch.tensor([[0.1, 0.4]]), 8)[:, 1:])


def test_cross_modal_attention_falls_back_on_the_null_key():
    asks = shaken(CrossModalAttention(3, 5, width=8))
    own, other, clock = torch.randn(1, 4, 3), torch.randn(1, 6, 5), torch.arange(6.0)[None] / 10
    added, attention = asks(own, clock[:, :4], other, clock, torch.zeros(1, 6), weights=True)
    assert attention[0, :, 0].tolist() == [1] * 4 and not attention[0, :, 1:].any()
    again, _ = asks(own, clock[:, :4], torch.full_like(other, 1e30), clock, torch.zeros(1, 6), weights=True)
    assert torch.equal(added, again) and added.abs().max() > 0
    mask = torch.tensor([[1.0, 0, 1, 1, 1, 1]])
    there, attention = asks(own, clock[:, :4], other, clock, mask, weights=True)
    assert attention.sum(2)[0].tolist() == pytest.approx([1] * 4)
    assert not attention[0, :, 2].any() and (attention[0, :, [0, 1, 3, 4, 5, 6]] > 0).all()
    assert not torch.allclose(there, added)


# ---------------------------------------------------------------- the head


def test_head_by_hand():
    head = CamHead(2, 2, 1)
    with torch.no_grad():
        head.face.copy_(torch.tensor([[1.0, 0.0], [0.5, -1.0]]))
        head.voice.copy_(torch.tensor([[2.0], [-3.0]]))
        head.bias.copy_(torch.tensor([0.1, 0.2]))
        head.balance.copy_(torch.tensor([math.log(3), 0.0]))
    available = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    weights = head.modality_weights(available)
    assert weights.flatten().tolist() == pytest.approx([0.75, 0.25, 1, 0, 0, 1, 0, 0])
    face, voice = torch.tensor([[4.0, 2.0]]).expand(4, -1), torch.tensor([[1.0]]).expand(4, -1)
    face_sum, voice_sum = head.sums("face", face), head.sums("voice", voice)
    assert face_sum[0].tolist() == [4, 0] and voice_sum[0].tolist() == [2, -3]
    logits = head.bias + weights[:, :1] * face_sum + weights[:, 1:] * voice_sum
    wanted = [0.1 + 3 + 0.5, 0.2 + 0 - 0.75, 4.1, 0.2, 2.1, -2.8, 0.1, 0.2]
    assert logits.flatten().tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("available", [None, (1, 1), (1, 0), (0, 1), (0, 0)])
@pytest.mark.parametrize("gaps", [False, True])
def test_evidence_and_bias_sum_to_the_logit(model, available, gaps):
    given = window()
    if gaps:
        given["face_mask"] = torch.tensor([[1.0, 0, 0, 1, 1, 0], [0.0] * 6])
        given["sound_valid"] = torch.stack(((torch.arange(COLUMNS) >= 13).float(), (torch.arange(COLUMNS) < 41).float()))
    counted = None if available is None else torch.tensor([available, available]).float()
    out = model(**given, available=counted, maps=True)
    total = model.head.bias + out.face_evidence.sum((2, 3, 4)) + out.voice_evidence.sum((2, 3))
    assert torch.allclose(total, out.logits, atol=1e-5)
    assert out.face_evidence.shape == (2, 7, FRAMES, 2, 2) and out.voice_evidence.shape == (2, 7, 2, 10)
    if available == (0, 0):
        assert torch.equal(out.logits, model.head.bias.expand(2, -1))
    plain = model(**given, available=counted)
    assert plain.face_evidence is None and torch.allclose(plain.logits, out.logits, atol=1e-5)


def test_evidence_is_zero_where_nothing_was_seen_or_heard(model):
    given = window()
    given["face_mask"] = torch.tensor([[1.0, 0, 1, 1, 1, 1]]).expand(2, -1)
    given["sound_valid"] = (torch.arange(COLUMNS) < 40).float().expand(2, -1)
    out = model(**given, maps=True)
    assert not out.face_evidence[:, :, 1].any() and out.face_evidence[:, :, 0].abs().sum() > 0
    assert not out.voice_evidence[..., 5:].any() and out.voice_evidence[..., :5].abs().sum() > 0


def test_moving_a_feature_map_moves_its_evidence(model):
    generator = torch.Generator().manual_seed(3)
    maps = torch.zeros(1, 4, 8, 6, 6)
    maps[..., 1:3, 1:3] = torch.randn(1, 4, 8, 2, 2, generator=generator)
    clock, voice = torch.arange(4)[None] / 10, torch.randn(1, 8, 2, 5, generator=generator)
    rest = (voice, torch.arange(5)[None] / 25, torch.ones(1, 5))
    out = model.fuse(maps, clock, torch.ones(1, 4), *rest, maps=True)
    moved = model.fuse(maps.roll((2, 3), (3, 4)), clock, torch.ones(1, 4), *rest, maps=True)
    assert torch.allclose(moved.face_evidence, out.face_evidence.roll((2, 3), (3, 4)), atol=1e-6)
    assert torch.allclose(moved.logits, out.logits, atol=1e-5)
    assert out.face_evidence.std() > 1e-3


# ---------------------------------------------------------------- a person who is known


def known(trust: list[list[float]], width: int = 8, seed: int = 5) -> Personal:
    """A person whose face and voice are somewhat their own, known as far as `trust` [B,2] says."""
    generator = torch.Generator().manual_seed(seed)
    shift, scale = (
        {name: draw(len(trust), width, generator=generator) for name in ("face", "voice")}
        for draw in (torch.randn, torch.rand)
    )
    return Personal(shift, scale, torch.tensor(trust))


def fused(model: AttentionCAM, given: dict, available=None, personal: Personal | None = None) -> Output:
    """What forward() does, of a person who may be known."""
    faces = model.embed_faces(given["crops"].flatten(0, 1)).unflatten(0, given["crops"].shape[:2])
    voice = model.embed_voice(given["log_mel"], given["sound_valid"])
    mask = shrink_mask(given["sound_valid"], STRIDE)
    clock = given["sound_times"][:, ::STRIDE]
    return model.fuse(faces, given["face_times"], given["face_mask"], voice, clock, mask, available, True, personal)


def test_a_known_person_by_hand():
    head = CamHead(2, 2, 1)
    with torch.no_grad():
        head.face.copy_(torch.tensor([[1.0, 0.0], [0.5, -1.0]]))
        head.face_personal.copy_(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
        head.face_mean.copy_(torch.tensor([2.0, 7.0]))
    shift, scale = torch.tensor([[2.0, -4.0]]).expand(2, -1), torch.tensor([[3.0, 1.0]]).expand(2, -1)
    person = Personal({"face": shift}, {"face": scale}, torch.tensor([[0.5, 0.0], [0.0, 0.5]]))
    pooled = torch.tensor([[3.0, 1.0], [3.0, 1.0]])
    # [3,1] - 0.5 * [2,-4] = [2,3], which lies [0,-4] from the mean, stretched by [2,1] about it: [2,3]
    # votes [[1,1],[1,-1]]; a face that is not known at all is a stranger's
    assert head.sums("face", pooled, person).tolist() == [[5, -1], [3, 0.5]]
    assert head.sums("face", pooled + 1, person).tolist() == [[5 + 3, -1 + 1], [4, 0]]  # [3,4] -> [4,4]
    # what is usual: the token less what is taken off is [1,3] = [3,1] - [2,-2]; -0.25 * votes of [2,-2] * [2,1]
    usual = head.usual("face", person, torch.tensor([0.25, 0.25]))
    assert usual.tolist() == [[-0.5, -1.5], [0, 0]]
    assert head.votes("face", person).tolist() == [[[2, 1], [2, -1]], [[1, 0], [0.5, -1]]]


@pytest.mark.parametrize("available", [None, (1, 1), (1, 0), (0, 1), (0, 0)])
@pytest.mark.parametrize("gaps", [False, True])
def test_evidence_bias_and_what_is_usual_sum_to_the_logit(model, available, gaps):
    given = window()
    if gaps:
        given["face_mask"] = torch.tensor([[1.0, 0, 0, 1, 1, 0], [0.0] * 6])
        given["sound_valid"] = torch.stack(((torch.arange(COLUMNS) >= 13).float(), (torch.arange(COLUMNS) < 41).float()))
    counted = None if available is None else torch.tensor([available, available]).float()
    person = known([[0.9, 0.2], [0.3, 1.0]])  # each window trusts another person as far as it may
    out = fused(model, given, counted, person)
    total = model.head.bias + out.usual + out.face_evidence.sum((2, 3, 4)) + out.voice_evidence.sum((2, 3))
    assert torch.allclose(total, out.logits, atol=1e-5)
    stranger = fused(model, given, counted)
    if available == (0, 0):
        assert torch.equal(out.logits, stranger.logits) and not out.usual.any()
    else:
        assert (out.logits - stranger.logits).abs().max() > 0.1


def test_a_window_is_read_by_its_own_trust_alone(model):
    given = window()
    mixed = fused(model, given, personal=known([[0.9, 0.2], [0.0, 0.0]]))
    stranger = fused(model, given)
    assert torch.allclose(mixed.logits[1], stranger.logits[1], atol=1e-6)
    assert (mixed.logits[0] - stranger.logits[0]).abs().max() > 0.1


def test_a_person_of_whom_nothing_is_known_changes_nothing_at_all(model):
    given = window(batch=5)
    nothing, stranger = fused(model, given, personal=known([[0.0, 0.0]] * 5)), fused(model, given)
    for name in ("logits", "face_logits", "voice_logits", "face_token", "voice_token"):
        assert torch.equal(getattr(nothing, name), getattr(stranger, name)), name
    for name in ("face_evidence", "voice_evidence"):
        assert torch.allclose(getattr(nothing, name), getattr(stranger, name), atol=1e-6), name
    assert not nothing.usual.any()


# ---------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("filling", [0.0, 1e4, math.nan, math.inf])
@pytest.mark.parametrize(("missing", "available"), [("crops", (0, 1)), ("log_mel", (1, 0))])
def test_a_missing_modality_changes_nothing_whatever_it_holds(model, missing, available, filling):
    given = window()
    counted = torch.tensor([available, available]).float()
    before = model(**given, available=counted, maps=True)
    given[missing] = torch.full_like(given[missing], filling)
    after = model(**given, available=counted, maps=True)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.face_evidence, after.face_evidence) and torch.equal(
        before.voice_evidence, after.voice_evidence
    )


def test_a_modality_without_a_valid_step_is_missing(model):
    given = window()
    alone = model(**given, available=torch.tensor([[0.0, 1.0]]).expand(2, -1))
    given["face_mask"] = torch.zeros(2, FRAMES)
    assert torch.allclose(model(**given).logits, alone.logits, atol=1e-6)


@pytest.mark.parametrize("valid", [40, 41, 43, 47])
def test_padding_changes_nothing(valid):
    """In double precision, where rounding does not hide what leaks."""
    model = tiny().double()
    short = window()
    short["log_mel"], short["sound_times"] = short["log_mel"][..., :valid], short["sound_times"][:, :valid]
    short["sound_valid"] = torch.ones(2, valid)
    padded = window()
    padded["sound_valid"] = (torch.arange(COLUMNS) < valid).float().expand(2, -1)
    padded["log_mel"] = torch.where(padded["sound_valid"][:, None, None] > 0, padded["log_mel"], 7.0)
    padded["crops"] = torch.cat((padded["crops"], torch.rand(2, 3, 1, 16, 16)), 1)
    padded["face_times"] = torch.cat((padded["face_times"], torch.full((2, 3), 9.9)), 1)
    padded["face_mask"] = torch.cat((torch.ones(2, FRAMES), torch.zeros(2, 3)), 1)
    one, other = (model(**{name: value.double() for name, value in given.items()}) for given in (short, padded))
    assert torch.allclose(one.logits, other.logits, rtol=0, atol=1e-12)


def test_windows_of_a_batch_do_not_meet(model):
    both, first = window(), {key: value[:1] for key, value in window().items()}
    assert torch.allclose(model(**both).logits[:1], model(**first).logits, atol=1e-5)


def test_loudness_of_the_recording_does_not_matter(model):
    given = window()
    before = model(**given).logits
    given["log_mel"] = given["log_mel"] - 4.6  # 20 dB quieter
    assert torch.allclose(model(**given).logits, before, atol=1e-5)


def test_what_is_there_does_matter(model):
    before = model(**window()).logits
    for key in ("crops", "log_mel", "face_times"):
        given = window()
        given[key] = given[key].flip(-1) if key != "face_times" else given[key] * 3
        assert (model(**given).logits - before).abs().max() > 1e-3, key


def test_scale_puts_the_loudest_band_at_two_and_silence_80_db_under_it():
    scaled = MelCNN.scale(torch.tensor([[[[-10.0, -14.6, -90.0, 50.0]]]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
    assert scaled.flatten().tolist() == pytest.approx([2, 1, -2, 0], abs=1e-5)


def test_a_shrunk_column_is_valid_when_its_first_is():
    assert shrink_mask(torch.tensor([[1, 1, 1, 1, 1, 0, 0, 0, 0]]), 4).tolist() == [[1, 1, 0]]


# ---------------------------------------------------------------- systems


@pytest.mark.parametrize("classes", [4, 6, 8])
def test_number_of_classes_is_a_setting(classes):
    out = tiny(classes)(**window(), maps=True)
    assert out.logits.shape == (2, classes) and out.face_evidence.shape[1] == out.voice_evidence.shape[1] == classes


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_builds_from_its_settings(name):
    listed = system(name)
    built = listed.build(**listed.settings)
    assert sum(p.numel() for p in built.parameters()) > 1e5 and listed.paper


def test_unknown_system_names_the_valid_ones():
    with pytest.raises(ValueError, match="'resnet'; choose one of attention_cam"):
        system("resnet")
