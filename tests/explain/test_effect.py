"""What becomes of the target without a part of the clip, and what the maps are without what the model learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from avemo_core.explain import effect, faithfulness
from avemo_core.explain.effect import Part
from avemo_core.explain.explanation import explain
from avemo_core.explain.scene import scene_of
from avemo_core.types import AvemoError


@pytest.fixture(scope="module")
def result(analyzer, clip_of):
    return analyzer.analyze(clip_of("talk.mp4"))


def test_what_a_map_marks_falls_more_than_what_it_does_not(analyzer, result):
    found = explain(analyzer, result, "layercam", "happiness", window=0, layer="stage2", cut=(0.1, 0.2))
    assert [one.what for one in found.effects] == [
        f"strongest {share} % of the {name}" for name in ("face", "voice") for share in (10, 20)
    ]
    assert [one.share for one in found.effects] == pytest.approx([0.1, 0.2] * 2, abs=1e-3)
    assert len({one.before for one in found.effects}) == 1 and all(one.fall > 0 for one in found.effects)
    scene = scene_of(analyzer, result, ("happiness",), 0)
    assert found.effects[0].before == pytest.approx(float(scene.output.logits.softmax(1)[0, 1]), abs=1e-5)
    flipped = replace(found, face=-found.face, voice=-found.voice)
    for one, other in zip(found.effects, effect.of_strongest(scene, flipped, (0.1, 0.2)), strict=True):
        assert one.fall > other.fall
    told = found.to_json()["effects"][1]
    assert told == {"what": "strongest 20 % of the face", "share": found.effects[1].share} | {
        name: getattr(found.effects[1], name) for name in ("before", "after", "fall")
    }


def test_everything_cut_is_what_the_deletion_curve_ends_with(analyzer, result):
    scene = scene_of(analyzer, result, ("happiness",), 0)
    found = explain(analyzer, result, "gradcam", "happiness", window=0, cut=(1.0,))
    for one, modality in zip(found.effects, ("face", "voice"), strict=True):
        maps = torch.rand((*scene.given.face_mask.shape, 6, 6) if modality == "face" else (1, 10, 25))
        curve = faithfulness.curves(scene, maps, modality, draws=1, steps=2).deletion[0]
        assert (one.before, one.after) == pytest.approx((curve[0], curve[-1]), abs=1e-5)


def test_a_span_and_its_regions(analyzer, result):
    scene = scene_of(analyzer, result, ("happiness",))
    whole = effect.of_part(scene, Part(0.5, 1.5))
    face, voice = (
        effect.of_part(scene, Part(0.5, 1.5, box=(0, 0.5, 1, 1))),
        effect.of_part(scene, Part(0.5, 1.5, hz=(0, 900))),
    )
    assert whole.share == pytest.approx(1 / result.clip.duration_s, rel=0.1) and face.share == pytest.approx(
        whole.share / 2, rel=0.1
    )
    assert voice.share < whole.share and (whole.what, face.what, voice.what) == (
        "0.50 to 1.50 s",
        "0.50 to 1.50 s, box 0 0.5 1 1",
        "0.50 to 1.50 s, 0 to 900 Hz",
    )
    assert whole.before == face.before == voice.before and whole.after != face.after
    everything = effect.of_part(scene, Part(0, 99))
    assert everything.share == 1 and everything.fall > 0
    assert explain(analyzer, result, part=Part(0.5, 1.5)).effects == (whole,)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Part(2, 1), "from an earlier to a later second of the clip: got 2 to 1."),
        (lambda: Part(0, 1, box=(0.5, 0, 0.4, 1)), "A box is left, top, right and bottom as shares of the crop"),
        (lambda: Part(0, 1, hz=(400, 300)), "A band goes from a lower to a higher frequency in Hz: got 400 to 300."),
    ],
)
def test_a_part_that_is_none_is_one_sentence(make, said):
    with pytest.raises(AvemoError, match=said):
        make()


def test_cuts_that_cannot_be_are_one_sentence(analyzer, result):
    with pytest.raises(AvemoError, match="Nothing that was explained of the face or voice lies at 50"):
        explain(analyzer, result, part=Part(50, 60))
    with pytest.raises(AvemoError, match="A share to be cut lies above 0 and at most at 1"):
        explain(analyzer, result, cut=(10,))
    assert not explain(analyzer, result, "channel", cut=(0.1,)).effects  # it has no place


def test_the_twin_from_random_weights_is_another_map_and_comes_again(analyzer, result):
    true = explain(analyzer, result, "layercam", "happiness", layer="stage2")
    twin, again, other = (
        explain(analyzer, result, "layercam", "happiness", layer="stage2", randomised=seed) for seed in (0, 0, 1)
    )
    assert twin.settings == {"layer": "stage2", "weights": "random 0"} and twin.face.shape == true.face.shape
    assert np.array_equal(twin.face, again.face) and not np.allclose(twin.face, other.face)
    found = faithfulness.likeness(true, twin)
    assert set(found) == {"face", "voice"} and max(map(abs, found.values())) < 0.9
    assert faithfulness.likeness(true, true) == pytest.approx({"face": 1, "voice": 1})
    assert np.array_equal(explain(analyzer, result, "layercam", "happiness", layer="stage2").face, true.face)


def test_attention_made_uniform_is_the_mean_of_the_values_by_hand():
    """Two heads of one unit, three keys of which the last is not there; all matrices are the identity."""
    attention = nn.MultiheadAttention(2, 2, batch_first=True).eval()
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.eye(2).repeat(3, 1))
        attention.in_proj_bias.copy_(torch.tensor([0.5, -0.5, 0, 0, 0, 0]))  # a query of zeros has no bias either
        attention.out_proj.weight.copy_(torch.eye(2))
        attention.out_proj.bias.zero_()
    query, keys = torch.tensor([[[2.0, 3.0]]]), torch.tensor([[[1.0, 10.0], [3.0, 20.0], [99.0, 99.0]]])
    hidden = torch.tensor([[False, False, True]])
    before = attention(query, keys, keys, key_padding_mask=hidden)[0][0, 0].detach()
    effect.even_out(attention, head=1)
    one, weights = attention(query, keys, keys, key_padding_mask=hidden, average_attn_weights=False)
    assert one[0, 0].tolist() == pytest.approx([float(before[0]), 15.0])  # (10 + 20) / 2; the other head is as it was
    assert weights[0, 1, 0].tolist() == pytest.approx([0.5, 0.5, 0])
    effect.even_out(attention)
    assert attention(query, keys, keys, key_padding_mask=hidden)[0][0, 0].tolist() == pytest.approx([2.0, 15.0])


def test_the_effect_of_attention_made_uniform(analyzer, result):
    scene = scene_of(analyzer, result, ("happiness",), 0)
    both = {direction: effect.of_attention(scene, direction) for direction in effect.ASKING}
    assert (
        both["face_to_voice"].before
        == both["voice_to_face"].before
        == pytest.approx(float(scene.output.logits.softmax(1)[0, 1]), abs=1e-5)
    )
    assert both["face_to_voice"].after != both["voice_to_face"].after
    one = effect.of_attention(scene, "face_to_voice", head=0)
    assert (one.what, one.share) == ("attention face to voice, head 0", 0.25)
    assert one.after != both["face_to_voice"].after
    again = scene_of(analyzer, result, ("happiness",), 0).output.logits
    assert torch.equal(again, scene.output.logits)  # the model itself is as it was
    with pytest.raises(AvemoError, match="There is no head 4 in this attention"):
        effect.of_attention(scene, "face_to_voice", head=4)
    with pytest.raises(AvemoError, match="to cut without the face: nobody here"):
        effect.of_attention(replace(scene, missing={"face": "nobody here"}), "face_to_voice")
