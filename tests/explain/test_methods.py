"""Methods of explanation: by hand on small maps, on a planted model whose answer is known, and on real readings."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from avemo_core.explain import figure
from avemo_core.explain.explanation import explain, explain_all
from avemo_core.explain.methods import METHODS, attention, gradients, perturbation
from avemo_core.explain.scene import Scene, scene_of, scores_of
from avemo_core.inputs import Inputs
from avemo_core.labels import LABELS
from avemo_core.model.attention_cam import Output
from avemo_core.types import AvemoError

TARGETED = [name for name, one in METHODS.items() if one.targeted]


@pytest.fixture(scope="module")
def read(analyzer, clip_of):
    known: dict[str, object] = {}

    def one(name: str):
        if name not in known:
            known[name] = analyzer.analyze(clip_of(name))
        return known[name]

    return one


# ---------------------------------------------------------------- by hand

MAPS = torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]]])  # two feature maps of one row and two columns
GRADIENT = torch.tensor([[[1.0, 3.0]], [[-1.0, 0.0]]])


def test_gradcam_by_hand():
    # weights are the mean gradients, 2 and -0.5: 2 * [1, 2] - 0.5 * [3, 0] = [0.5, 4]
    assert gradients._gradcam(MAPS, GRADIENT).tolist() == [[0.5, 4.0]]
    assert gradients._gradcam(MAPS, -GRADIENT).tolist() == [[0.0, 0.0]]  # what speaks against is cut


def test_gradcam_plus_plus_by_hand():
    # first map: sum 3; shares g2 / (2 g2 + 3 g3): 1/5 and 9/(18+81) = 1/11; weight 1/5 * 1 + 1/11 * 3
    # second: its gradient is nowhere positive, so its weight is 0
    weight = 1 / 5 + 3 / 11
    assert gradients._gradcam_plus_plus(MAPS, GRADIENT)[0].tolist() == pytest.approx([weight, 2 * weight])
    assert not gradients._gradcam_plus_plus(MAPS, torch.zeros_like(MAPS)).any()


def test_layercam_by_hand():
    assert gradients._layercam(MAPS, GRADIENT).tolist() == [[1.0, 6.0]]


def test_rollout_by_hand():
    first = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])  # both look at the second
    second = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])  # both look at the first
    # half is passed on: first [[.5,.5],[0,1]], second [[1,0],[.5,.5]]; the product is [[.5,.5],[.25,.75]]
    assert attention.rolled_out([first, second])[0].tolist() == [[0.5, 0.5], [0.25, 0.75]]
    assert attention.rolled_out([torch.eye(3)[None]] * 4)[0].tolist() == torch.eye(3).tolist()


def test_a_blurred_crop_keeps_its_light_and_no_feature():
    crops = torch.zeros(1, 1, 48, 48)
    crops[..., 20:24, 20:24] = 1.0
    out = perturbation.blurred(crops)
    assert out.max() < 0.03 and out.mean() == pytest.approx(crops.mean(), rel=0.5)
    assert torch.allclose(perturbation.blurred(torch.full((1, 1, 48, 48), 0.4)), torch.tensor(0.4))


def test_the_mean_spectrum_stands_in_for_the_sound():
    voice, mask = torch.tensor([[[[1.0, 3.0, 99.0], [0.0, -2.0, 99.0]]]]), torch.tensor([[1.0, 1.0, 0.0]])
    assert perturbation.levelled(voice, mask).tolist() == [[[[2, 2, 0], [-1, -1, 0]]]]


# ---------------------------------------------------------------- a planted model

FRAMES, SIDE, BANDS, COLUMNS = 3, 48, 80, 200


class Planted(nn.Module):
    """Anger is how bright the face and how loud the sound are, where either is above the middle; nothing else counts."""

    def __init__(self):
        super().__init__()
        self.face_branch = nn.Module()
        self.face_branch.channels = 1

    def embed_faces(self, crops):
        return nn.functional.avg_pool2d(torch.relu(crops - 0.5), 8)

    def embed_voice(self, voice, mask):
        return nn.functional.avg_pool2d(torch.relu(voice - 0.5) * mask[:, None, None], 8)

    def fuse(self, faces, face_times, face_mask, voice, voice_times, voice_mask, available, maps=False, personal=None):
        def logits(total):
            return torch.cat([torch.zeros(len(total), 3), total[:, None], torch.zeros(len(total), 3)], 1)

        face = faces[:, :, 0] * face_mask[..., None, None] * available[:, :1, None, None]
        sound = voice[:, 0] * available[:, 1:, None]
        total = logits(face.sum((1, 2, 3)) + sound.sum((1, 2)))
        by_face, by_voice = torch.zeros(len(faces), 7, *face.shape[1:]), torch.zeros(len(faces), 7, *sound.shape[1:])
        by_face[:, 3], by_voice[:, 3] = face, sound
        return Output(total, total, total, total, total, by_face, by_voice)


def planted(face: torch.Tensor, voice: torch.Tensor, label: str = "anger") -> Scene:
    """Two windows of the same three crops [3,1,48,48] and log-mel [1,1,80,200]."""
    windows = 2
    given = Inputs(
        crops=face,
        place=torch.arange(FRAMES).expand(windows, -1),
        face_times=torch.zeros(windows, FRAMES),
        face_mask=torch.ones(windows, FRAMES),
        voice=voice.expand(windows, -1, -1, -1),
        voice_mask=torch.ones(windows, COLUMNS),
        voice_times=torch.zeros(windows, COLUMNS // 8),
        frames=[np.arange(FRAMES)] * windows,
        columns=[(0, np.arange(COLUMNS))] * windows,
    )
    target = torch.eye(7)[LABELS.index(label)]
    return Scene(Planted(), given, torch.ones(windows, 2), np.full(windows, 0.5), target, None, None, None, {})


def patched() -> tuple[torch.Tensor, torch.Tensor]:
    """A dark face with a bright patch, and silence with one loud sound."""
    face, voice = torch.full((FRAMES, 1, SIDE, SIDE), 0.2), torch.full((1, 1, BANDS, COLUMNS), 0.2)
    face[..., 8:16, 32:40] = 1.0
    voice[..., 16:24, 96:104] = 1.0
    return face, voice


@pytest.mark.parametrize("name", TARGETED)
def test_the_patch_that_decides_is_found(name):
    found = METHODS[name].maps(planted(*patched()))
    for maps, y, x in ((found.face[0, 1], 12 / 48, 36 / 48), (found.voice[1], 20 / 80, 100 / 200)):
        row, column = np.unravel_index(int(maps.argmax()), maps.shape)
        assert abs((row + 0.5) / maps.shape[0] - y) < 0.13 and abs((column + 0.5) / maps.shape[1] - x) < 0.13


@pytest.mark.parametrize("name", TARGETED)
def test_what_is_the_same_everywhere_has_no_peak(name):
    found = METHODS[name].maps(planted(torch.full((FRAMES, 1, SIDE, SIDE), 0.7), torch.full((1, 1, BANDS, COLUMNS), 0.7)))
    for maps in (found.face, found.voice):
        assert torch.isfinite(maps).all() and float(maps.max() - maps.min()) < 1e-4


@pytest.mark.parametrize("name", TARGETED)
def test_of_a_label_that_nothing_speaks_for_the_map_is_zero(name):
    found = METHODS[name].maps(planted(*patched(), label="fear"))
    assert not found.face.any() and not found.voice.any()


def test_integrated_gradients_sum_to_the_difference():
    scene = planted(*patched())
    found = perturbation.integrated_gradients(scene)
    crops, voice, rows = scene.given.seen(scene.given.crops), scene.given.voice, torch.arange(2)
    score = scores_of(scene)
    bare = score(perturbation.blurred(crops), perturbation.levelled(voice, scene.given.voice_mask), rows)
    difference = score(crops, voice, rows) - bare
    assert (found.face.sum((1, 2, 3)) + found.voice.sum((1, 2))).tolist() == pytest.approx(difference.tolist(), rel=0.02)
    assert difference.min() > 0.5


def test_a_modality_that_does_not_count_has_no_say():
    scene = planted(*patched())
    scene = replace(scene, available=torch.tensor([[0.0, 1.0]]).expand(2, -1))
    for name in TARGETED:
        found = METHODS[name].maps(scene)
        assert not found.face.any() and found.voice.any(), name


# ---------------------------------------------------------------- no pass is repeated

SHARED = [name for name, one in METHODS.items() if name not in ("occlusion", "integrated_gradients", "rollout")]


def test_all_maps_share_one_pass_through_the_branches_and_one_through_the_fusion(analyzer, read):
    result, model, seen, heard, fused = read("talk.mp4"), analyzer.model, [], [], []
    hooks = [
        model.face_branch.register_forward_hook(lambda module, args, out: seen.append(len(args[0]))),
        model.voice_branch.register_forward_hook(lambda module, args, out: heard.append(len(args[0]))),
        model.face_pool.register_forward_hook(lambda module, args, out: fused.append(len(args[0]))),
    ]
    try:
        explain_all(analyzer, result, tuple(SHARED), "anger")
    finally:
        for hook in hooks:
            hook.remove()
    windows = len(result.window_start_s)
    assert windows > 1 and sum(seen) == len(result.faces[0].times_s)  # every crop once, though windows share them
    assert heard == fused == [windows]


@pytest.mark.parametrize("name", SHARED)
def test_a_map_is_the_same_alone_and_beside_others(analyzer, read, name):
    alone, beside = explain(analyzer, read("talk.mp4"), name), explain_all(analyzer, read("talk.mp4"), tuple(SHARED))
    other = beside[SHARED.index(name)]
    assert (
        np.array_equal(alone.face, other.face) if alone.face is not None else alone.channels.keys() == other.channels.keys()
    )


# ---------------------------------------------------------------- layers and heads


def test_gradcam_of_a_layer_is_captums(analyzer, read):
    """captum's LayerGradCam of the face branch, on one window whose frames it reads as pictures of their own."""
    from captum.attr import LayerGradCam

    scene = scene_of(analyzer, read("talk.mp4"), ("anger",), 0)
    crops, heard = scene.given.seen(scene.given.crops)[0], scene.maps[1]

    def score(pictures):  # one window, so every frame's gradient is that of the one score
        seen = scene.model.embed_faces(pictures)[None]
        return scene.score(scene.fuse(seen, heard)).expand(len(pictures)) / len(pictures)

    for layer, module in scene.model.face_branch.map_layers().items():
        theirs = LayerGradCam(score, module).attribute(crops, relu_attributions=True)[:, 0]
        ours = gradients.gradcam(scene, layer).face[0]
        assert ours.shape == theirs.shape and torch.allclose(
            ours, theirs, rtol=1e-3, atol=1e-5 * float(theirs.detach().max())
        )


def test_an_earlier_layer_has_finer_cells_and_says_so(analyzer, read, tmp_path):
    result = read("talk.mp4")
    shapes = {}
    for layer in ("stem", "stage1", "stage2", "stage3", None):
        found = explain(analyzer, result, "layercam", "anger", layer=layer)
        assert found.settings == ({"layer": layer} if layer else {}) and len(found.voice_edges_hz) == len(found.voice) + 1
        shapes[layer] = found.face.shape[1:], len(found.voice)
        assert figure.export(result, found, "png") and (layer is None or f"layer {layer}" in figure.heading(found))
    assert shapes["stem"] == ((48, 48), 40) and shapes["stage3"] == shapes[None] == ((6, 6), 10)
    assert [shapes[f"stage{n}"] for n in (1, 2)] == [((24, 24), 20), ((12, 12), 10)]


def test_the_heads_of_cross_modal_attention_have_its_mean(analyzer, read):
    whole, *heads = (explain(analyzer, read("talk.mp4"), "cross_modal", head=head) for head in (None, 0, 1, 2, 3))
    for name, matrix in whole.attention.items():
        assert np.mean([one.attention[name] for one in heads], 0) == pytest.approx(matrix, abs=1e-5)
    assert not np.allclose(heads[0].voice, heads[1].voice) and heads[2].settings == {"head": 2}


# ---------------------------------------------------------------- hooks


def test_hooks_are_gone_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(RuntimeError, match="stop"), attention.calls_of(model, nn.Linear) as calls:
        model(torch.ones(1, 2))
        assert list(calls) == ["0"]
        raise RuntimeError("stop")
    assert not model[0]._forward_pre_hooks


def test_hooks_heed_only_their_own_thread():
    model = nn.Sequential(nn.Linear(2, 2))
    with attention.calls_of(model, nn.Linear) as calls:
        other = threading.Thread(target=model, args=(torch.ones(3, 2),))
        other.start()
        other.join()
        assert not calls
        model(torch.ones(1, 2))
    assert [len(args[0]) for args, _ in calls["0"]] == [1]


def test_a_model_without_the_layer_says_so():
    scene = planted(*patched())
    for name, said in (("spatial", "no spatial attention"), ("channel", "no channel"), ("rollout", "no stacked attention")):
        with pytest.raises(AvemoError, match=said):
            METHODS[name].maps(scene)


def test_stacked_layers_are_rolled_out():
    class Stacked(Planted):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
            self.face_time = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def fuse(self, faces, *rest, **options):
            self.face_time(faces.mean((2, 3, 4))[..., None].expand(-1, -1, 4))
            return super().fuse(faces, *rest, **options)

    scene = replace(planted(*patched()), model=Stacked().eval())
    found = METHODS["rollout"].maps(scene)
    assert found.face.shape == (2, FRAMES, 1, 1) and found.face.sum(1).flatten().tolist() == pytest.approx([1, 1])
    assert found.voice is None and found.missing == {"voice": "the model has no such layers for the voice"}


# ---------------------------------------------------------------- real readings


def test_evidence_and_bias_sum_to_the_logit_of_clip_and_window(analyzer, read):
    result = read("talk.mp4")
    whole = explain(analyzer, result, "cam", "anger")
    k = LABELS.index("anger")
    logit = result.evidence.face[k].sum() + result.evidence.voice[k].sum()
    assert whole.face.sum() + whole.voice.sum() == pytest.approx(logit, abs=1e-4)
    for w in range(len(result.window_start_s)):
        one = explain(analyzer, result, "cam", "anger", w)
        bare = scene_of(analyzer, result, ("anger",), w).output.logits[0, k] - analyzer.model.head.bias[k]
        assert one.face.sum() + one.voice.sum() == pytest.approx(float(bare), abs=1e-4)
        outside = (one.voice_times_s < one.start_s - 0.01) | (one.voice_times_s > one.end_s + 0.01)
        assert not one.voice[:, outside].any() and (one.window, one.target) == (w, ("anger",))


def test_a_contrast_is_the_difference_of_two_labels(analyzer, read):
    result = read("talk.mp4")
    both, first, second = (explain(analyzer, result, "cam", name) for name in ("anger-fear", "anger", "fear"))
    assert both.face == pytest.approx(first.face - second.face, abs=1e-6) and both.target == ("anger", "fear")
    assert explain(analyzer, result, "cam", ("anger", "fear")).voice == pytest.approx(both.voice)
    most = LABELS[int(result.both.probabilities.argmax())]
    assert explain(analyzer, result).target == (most,)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("occlusion", "integrated_gradients", "rollout")])
def test_every_method_reads_a_clip_and_is_drawn(analyzer, read, name):
    result = read("talk.mp4")
    found = explain(analyzer, result, name)
    assert found.model_id == result.model_id and np.isfinite(found.face_times_s).all()
    if name == "channel":
        assert found.face is None and "feature maps" in found.missing["face"]
        assert found.channels and all(weights.ndim == 1 and (weights > 0).all() for weights in found.channels.values())
    else:
        assert found.face.shape[0] == len(result.faces[0].times_s) and found.voice.shape[1] == result.sound.log_mel.shape[1]
        assert len(found.voice_edges_hz) == len(found.voice) + 1
        assert np.isfinite(found.face).all() and np.isfinite(found.voice).all() and not (found.missing)
    assert found.signed or found.face is None or (found.face.min() >= 0 and found.voice.min() >= 0)
    before = None if found.face is None else found.face.copy()
    assert figure.export(result, found, "svg").startswith(b"<svg") and figure.export(result, found, "png")[1:4] == b"PNG"
    assert before is None or np.array_equal(before, found.face)  # drawing leaves the raw values alone


def test_attention_between_the_streams_is_shares_on_the_clips_own_axes(analyzer, read):
    result = read("talk.mp4")
    found = explain(analyzer, result, "cross_modal")
    frames, columns = len(found.face_times_s), len(found.voice_times_s)
    asked, heard = found.attention["face_to_voice"], found.attention["voice_to_face"]
    assert asked.shape == (frames, 1 + columns) and heard.shape == (columns, 1 + frames)
    for matrix in (asked, heard):
        there = matrix.sum(1) > 0
        assert there.mean() > 0.9 and matrix.sum(1)[there] == pytest.approx(np.ones(there.sum()), abs=1e-3)


@pytest.mark.parametrize(("clip", "missing"), [("voice.wav", "face"), ("silent.mp4", "voice"), ("photo.png", "voice")])
def test_where_a_modality_is_missing_the_others_map_still_comes(analyzer, read, clip, missing):
    result = read(clip)
    for found in explain_all(analyzer, result, ("cam", "gradcam", "temporal", "cross_modal")):
        assert getattr(found, missing) is None and found.missing[missing] == getattr(result, missing).reason
        assert not found.attention and figure.export(result, found, "svg")
    assert getattr(found, "face" if missing == "voice" else "voice") is not None or found.method == "cross_modal"


def test_a_zero_map_is_drawn_as_zero(analyzer, read):
    result = read("talk.mp4")
    found = explain(analyzer, result, "cam")
    empty = replace(found, face=np.zeros_like(found.face), voice=np.zeros_like(found.voice))
    height, shapes = figure.drawn(result, empty)
    assert height > 200 and figure.scale(empty.face) == 0
    bare = figure.drawn(result, replace(empty, signed=False))[1]
    assert len(bare) == len(shapes) and figure.export(result, empty, "png")


def test_raw_maps_come_back_with_their_axes(analyzer, read, tmp_path):
    result = read("talk.mp4")
    found = explain(analyzer, result, "cross_modal", window=0)
    (tmp_path / "it.npz").write_bytes(figure.export(result, found, "npz"))
    with np.load(tmp_path / "it.npz") as stored:
        assert np.array_equal(stored["face"], found.face) and np.array_equal(stored["voice"], found.voice)
        assert str(stored["method"]) == "cross_modal" and str(stored["clip_id"]) == result.clip.clip_id
        assert stored["attention/face_to_voice"].shape == found.attention["face_to_voice"].shape
        assert stored["windows/share_of_face"].shape == stored["windows/start_s"].shape == (len(result.window_start_s),)
        assert str(stored["unit"]) == "share of attention" and float(stored["end_s"]) == found.end_s


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": "saliency"}, "Unknown method 'saliency'; choose one of cam, gradcam, "),
        ({"target": "joy"}, "'joy' is no target; give a label or two different ones joined by a dash"),
        ({"target": "anger-anger"}, "'anger-anger' is no target"),
        ({"target": "anger-fear-sadness"}, "'anger-fear-sadness' is no target"),
        ({"window": 9}, r"There is no window 9 in this clip; it has 2, numbered from 0 to 1\."),
        ({"window": -1}, "There is no window -1"),
        (
            {"name": "gradcam", "layer": "conv9"},
            "There is no layer 'conv9' in this model; choose one of stem, stage1, stage2, ",
        ),
        ({"name": "cross_modal", "head": 4}, "There is no head 4 in this attention; it has 4, numbered from 0 to 3."),
        ({"layer": "stem"}, "No method asked for has a layer to choose; give none, or one of gradcam, gradcam"),
        ({"name": "gradcam", "head": 0}, "No method asked for has a head to choose; give none, or one of cross_modal."),
    ],
)
def test_bad_input_is_one_clear_sentence(analyzer, read, asked, said):
    with pytest.raises(AvemoError, match=said):
        explain(analyzer, read("talk.mp4"), **asked)
