"""Faithfulness on the planted model, whose true map is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from avemo_core.explain import faithfulness
from avemo_core.explain.methods import METHODS
from tests.explain.test_methods import patched, planted


def test_the_area_under_a_curve():
    assert faithfulness.area(np.array([1.0, 0.5, 0.0])) == pytest.approx(0.5)
    assert faithfulness.area(np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])) == pytest.approx([0.25, 1.0])


def test_random_maps_are_as_smooth_as_the_map():
    generator = np.random.default_rng(0)
    smooth = np.cumsum(generator.normal(size=(2, 40, 50)), axis=2)
    drawn = faithfulness.alike(smooth, 30)
    assert drawn.shape == (2, 30, 40, 50)
    centred = smooth - smooth.mean((1, 2), keepdims=True)
    rivals = drawn - drawn.mean((2, 3), keepdims=True)

    def neighbours(maps: np.ndarray) -> np.ndarray:  # the autocorrelation at one step, the maps being periodic
        return (maps * np.roll(maps, 1, -1)).sum((-2, -1)) / (maps**2).sum((-2, -1))

    assert neighbours(rivals) == pytest.approx(np.repeat(neighbours(centred)[:, None], 30, 1), abs=1e-3)
    assert np.abs([np.corrcoef(centred[0].ravel(), one.ravel())[0, 1] for one in rivals[0]]).mean() < 0.5
    assert np.array_equal(drawn, faithfulness.alike(smooth, 30))


@pytest.mark.parametrize("modality", ["face", "voice"])
def test_the_true_map_beats_random_and_its_opposite_loses(modality):
    scene = planted(*patched())
    true = getattr(METHODS["occlusion"].maps(scene), modality)
    found = faithfulness.curves(scene, true, modality, draws=8)
    assert found.deletion.shape == (2, 11) and found.random_insertion.shape == (2, 8, 11)
    for curve in (found.deletion, found.insertion):  # both end where the other began
        assert np.isfinite(curve).all()
    assert found.deletion[:, 0] == pytest.approx(found.insertion[:, -1])
    assert found.deletion[:, -1] == pytest.approx(found.insertion[:, 0])
    assert (found.deletion_gain > 0.02).all() and (found.insertion_gain > 0.02).all()
    alone = faithfulness.curves(scene, true, modality, draws=8, insertion=False)
    assert np.array_equal(alone.random_deletion, found.random_deletion) and np.isnan(alone.insertion).all()
    opposite = faithfulness.curves(scene, -true, modality, draws=8)
    assert (opposite.deletion_gain < 0).all() and (opposite.insertion_gain < 0).all()


def test_a_frame_that_is_whole_or_wholly_replaced_is_read_once(monkeypatch):
    scene, read = planted(*patched()), []
    frames = scene.given.place.shape[1]
    moments = torch.rand(2, frames, 1, 1)  # the same at every place of a frame
    apart = moments + torch.rand(2, frames, 6, 6) * 1e-6
    plain = faithfulness.curves(scene, apart, "face", draws=1, steps=2 * frames)
    embed = scene.model.embed_faces
    monkeypatch.setattr(scene.model, "embed_faces", lambda crops: read.append(len(crops)) or embed(crops))
    found = faithfulness.curves(scene, moments, "face", draws=3, steps=frames)
    assert sum(read) == 2 * frames  # of both windows, wholly replaced
    assert found.deletion == pytest.approx(plain.deletion[:, ::2], abs=1e-5)


def test_random_maps_are_drawn_until_the_verdict_is_sure():
    scene, told = planted(*patched()), []
    true = METHODS["occlusion"].maps(scene).voice
    found = faithfulness.curves(scene, true, "voice", until_sure=True, progress=lambda *so: told.append(so))
    drawn = found.random_deletion.shape[1]
    assert drawn in (5, 10, 15)
    assert told == [(n, 21) for n in range(1, drawn + 2)]
    whole = faithfulness.curves(scene, true, "voice")
    assert np.array_equal(found.random_deletion, whole.random_deletion[:, :drawn])
    areas = faithfulness.area(whole.random_deletion)
    assert faithfulness.sure(faithfulness.area(whole.deletion), *areas.T)
    assert not faithfulness.sure(areas.mean(1), *areas.T)
    assert not faithfulness.sure(np.zeros(2), *np.zeros((5, 2)))  # nothing changes: who could say


def test_what_is_not_there_is_never_replaced():
    values, valid = torch.tensor([[[5.0, 1.0, 9.0, 3.0]]]), torch.tensor([[[1.0, 1.0, 0.0, 1.0]]])
    assert faithfulness._ranks(values, valid).flatten().tolist() == pytest.approx([0, 2 / 3, 1, 1 / 3])


def test_the_map_falls_apart_with_the_weights_and_stands_a_little_noise(analyzer, clip_of):
    from avemo_core.explain.scene import scene_of

    result = analyzer.analyze(clip_of("talk.mp4"))
    scene = scene_of(analyzer, result, ("happiness",), 0)
    before = {name: value.clone() for name, value in scene.model.state_dict().items()}
    found = list(faithfulness.cascade(scene, "gradcam", "face", every=12))
    assert found[0][0] != found[-1][0] and abs(found[-1][1]).max() < 0.9  # nothing of the model is left
    assert all(torch.equal(value, before[name]) for name, value in scene.model.state_dict().items())
    twin = METHODS["gradcam"].maps(replace(scene, model=faithfulness.randomised(scene.model)))
    assert faithfulness.correlation(METHODS["gradcam"].maps(scene).face, twin.face) == pytest.approx(found[-1][1])
    assert faithfulness.stability(scene, "gradcam", "face", draws=2).min() > 0.5
    same = torch.rand(2, 3, 4)
    assert faithfulness.correlation(same, same) == pytest.approx([1, 1])
    assert faithfulness.correlation(same, torch.ones(2, 3, 4)).tolist() == [0, 0]
