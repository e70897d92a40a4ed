"""The joint stage: pairs of a face and a voice, what they teach of people, and stops at any moment."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from avemo_core.labels import LABELS
from avemo_core.model.heads.cam import CamHead
from tests.training.material import SILENT, Stopped, acted, after, row, tiny
from training import joint, progress

WIDTH = 256  # of the face branch
SETTINGS = joint.Settings(steps=3, people=2, takes=4, saved_every=2)


def voices(seen: int = 4) -> joint.Voices:
    """28 takes of two people, of whom p0 is seen in the first ones; the face in take n holds the number n."""
    rows, sounds, labels = acted(28)
    tracks: list = [None] * 28
    for n in range(0, 2 * seen, 2):
        steps = 25 if n % 4 == 0 else 8
        tracks[n] = (torch.full((steps, WIDTH), float(n)), np.ones(steps, bool))
    return joint.Voices(rows, sounds, labels, tracks)


def pictures(value: float = 0.0) -> joint.Pictures:
    """Fourteen pictures in two views; each holds its label over ten, and `value`."""
    labels = np.arange(14) % 7
    tokens = (torch.from_numpy(labels).float() / 10 + value)[:, None, None].expand(14, 2, WIDTH)
    return joint.Pictures(tokens, labels, torch.randn(6, WIDTH), torch.full((6, 7), 1 / 7))


# ---------------------------------------------------------------- people


def drawn(rows, labels, takes: int, times: int) -> list[list[int]]:
    episodes = joint.Episodes(rows, np.array(labels), takes, torch.Generator().manual_seed(1))
    return [episodes.person() for _ in range(times)]


def test_an_episode_is_of_one_person():
    rows = [row("fear", who, corpus) for corpus, who in [("a", "ann"), ("a", "bob"), ("b", "ann")] * 5]
    seen = Counter()
    for picked in drawn(rows, [n % 4 for n in range(15)], 6, 300):
        (person,) = {(rows[n].corpus, rows[n].speaker) for n in picked}  # ann of corpus b is somebody else
        assert len(picked) == 6
        seen[person] += 1
    assert len(seen) == 3 and min(seen.values()) > 50


def test_corpora_are_drawn_by_the_root_of_their_size_and_people_and_moods_alike():
    rows = [row("fear", "one", "a")] * 1 + [row("fear", "many", "a")] * 15 + [row("fear", "few", "b")] * 4
    labels = [0] + [0] * 14 + [1] + [0, 1, 2, 3]
    picked = drawn(rows, labels, 4, 3000)
    who = Counter(rows[p[0]].speaker for p in picked)
    assert who["few"] / 3000 == pytest.approx(2 / (4 + 2), abs=0.03)  # roots of 4 and 16 clips
    assert who["one"] / 3000 == pytest.approx(1 / 3, abs=0.03) and who["many"] / 3000 == pytest.approx(1 / 3, abs=0.03)
    rare = [n == 15 for p in picked for n in p if rows[n].speaker == "many"]
    assert np.mean(rare) == pytest.approx(0.5, abs=0.03)  # one take of fifteen, but one mood of two


# ---------------------------------------------------------------- pairs


def test_half_of_a_batch_is_seen_and_heard_and_half_is_heard_beside_pictures():
    given = voices()
    pairs = joint.Pairs(pictures(), given, replace(SETTINGS, smoothing=0.0))
    tokens, present, mel, wanted, one_person = pairs.next(7)
    assert tokens.shape == (8, joint.FRAMES, WIDTH) and present.shape == (8, joint.FRAMES) and mel.shape == (8, 1, 80, 200)
    assert one_person.tolist() == [1] * 4 + [0] * 4 and wanted.sum(1).tolist() == pytest.approx([1] * 8)
    for n in range(4):  # the face is that of a take, the voice has the same label
        take = int(tokens[n].max())
        assert given.tracks[take] is not None and wanted[n].argmax() == given.labels[take]
        steps = min(joint.FRAMES, len(given.tracks[take][0]))
        assert tokens[n, :steps].unique().tolist() == [take] and not tokens[n, steps:].any() and not present[n, steps:].any()
    for n in range(4, 8):  # the pictures have the label of the voice
        assert tokens[n].unique().tolist() == pytest.approx([float(wanted[n].argmax()) / 10])


def test_where_nobody_is_seen_every_pair_is_a_collage():
    _, _, _, _, one_person = joint.Pairs(pictures(), voices(seen=0), SETTINGS).next(7)
    assert not one_person.any()


def test_calm_has_no_pictures_so_neutral_ones_stand_in():
    given = voices()
    calm = replace(given, labels=np.full(28, len(LABELS)))
    tokens, present, _ = joint.Pairs(pictures(), calm, SETTINGS).collage(5)
    assert not tokens.any() and present.all()  # neutral pictures hold 0


def test_a_collage_teaches_nothing_of_how_faces_usually_are():
    """Where people are both seen and heard, only these teach the face; where none is, the pictures do."""
    for given, face in ((voices(), "people"), (voices(seen=0), "pictures")):
        torch.manual_seed(0)
        model = tiny().eval()
        settings = replace(SETTINGS, drop=0.0)
        pairs = joint.Pairs(pictures(value=-1e3), given, settings)
        loss = joint.loss_of(model, pairs.next(7), settings, pairs.generator)
        assert torch.isfinite(loss) and loss > 0
        mean = model.head.face_mean.mean().item()
        assert mean < -10 if face == "pictures" else mean > -1
        assert model.head.voice_mean.any()


def test_dropping_a_modality_or_seeing_nobody_is_a_finite_loss():
    model = tiny().eval()
    for drop in (0.0, 0.5):
        settings = replace(SETTINGS, drop=drop)
        pairs = joint.Pairs(pictures(), voices(), settings)
        batch = pairs.next(7)
        for present in (batch[1], torch.zeros_like(batch[1])):
            loss = joint.loss_of(model, (batch[0], present, *batch[2:]), settings, torch.Generator().manual_seed(1))
            loss.backward()
            assert torch.isfinite(loss) and loss > 0
    gradient = model.head.voice_personal.grad
    assert torch.isfinite(gradient).all() and gradient.any()  # the reading of known people is learned too


# ---------------------------------------------------------------- a person who is known


def test_a_take_is_compared_with_other_takes_never_with_itself():
    weights = joint.others(200, 6, torch.Generator().manual_seed(2))
    assert not weights.diagonal(dim1=1, dim2=2).any()
    assert torch.allclose(weights.sum(2), torch.ones(200, 6))
    many = (weights > 0).sum(2)
    assert Counter(many.flatten().tolist()).keys() == {3, 4, 5}
    assert torch.allclose(weights, (weights > 0) / many[..., None])


def test_the_person_of_a_take_by_hand():
    head = CamHead(2, 1, 1)
    with torch.no_grad():
        head.voice_mean.fill_(1.0)
        head.voice_spread.fill_(2.0)
    tokens = torch.tensor([[5.0], [7.0], [9.0], [0.0], [0.0], [3.0]])
    weights = torch.tensor([[[0, 1, 0], [0.5, 0, 0.5], [0.5, 0.5, 0]], [[0, 0, 1], [0, 0, 0], [0.5, 0.5, 0]]])
    person = joint.personal_of(head, "voice", tokens, weights)
    assert (person.trust[:, 1, None] * person.shift["voice"]).flatten().tolist() == pytest.approx([6, 6, 5, 2, 0, -1])
    assert person.trust[:, 1].tolist() == [1, 1, 1, 1, 0, 1]  # nothing is known of who has no other take
    # one take tells nothing of a spread; of two, 5 and 9 vary by 8, 5 and 7 by 2: (v + 8 * 4) / 9 against 4
    lively = [1, (4 * 9 / 40) ** 0.5, (4 * 9 / 34) ** 0.5, 1, 1, (4 * 9 / 32) ** 0.5]
    assert person.scale["voice"].flatten().tolist() == pytest.approx(lively)


# ---------------------------------------------------------------- training


def test_joint_training_goes_on_after_a_stop_and_leaves_the_face_branch_alone(tmp_path):
    given = voices(), pictures()

    def run(folder: str, say=SILENT) -> dict[str, torch.Tensor]:
        return joint.train(tiny(), given[1], given[0], tmp_path / folder, SETTINGS, say).state_dict()

    straight = run("straight")
    with pytest.raises(Stopped):
        run("stopped", after(2))
    assert progress.load(tmp_path / "stopped" / "joint.pt")["step"] == 2
    resumed = run("stopped")
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert progress.load(tmp_path / "straight" / "joint.pt")["step"] == 3
    start = tiny().state_dict()
    assert all(torch.equal(straight[name], value) for name, value in start.items() if name.startswith("face_branch"))
    for name in ("head.face", "voice_branch.stem.0.weight", "face_asks.query.weight", "head.face_personal"):
        assert not torch.equal(straight[name], start[name]), name


def test_the_voice_keeps_a_share_of_how_it_came(tmp_path):
    name, start = "voice_branch.stem.0.weight", tiny().state_dict()
    moved = {}
    for share in (0.0, 0.3, 1.0):
        settings = replace(SETTINGS, kept=share)
        state = joint.train(tiny(), pictures(), voices(), tmp_path / str(share), settings, SILENT).state_dict()
        moved[share] = state[name] - start[name]
        assert not torch.equal(state["face_asks.query.weight"], start["face_asks.query.weight"])
    assert moved[0.0].abs().max() > 0 and not moved[1.0].any()
    assert torch.allclose(moved[0.3], 0.7 * moved[0.0], atol=1e-7)


def test_pictures_become_tokens_of_the_face_branch():
    model = tiny().eval()
    greys = np.random.default_rng(0).integers(0, 255, (130, 48, 48), dtype=np.uint8)  # more than are read at once
    tokens = joint.face_tokens(model, greys)
    assert tokens.shape == (130, WIDTH) and joint.face_tokens(model, greys[:0]).shape == (0, WIDTH)
    crops = torch.from_numpy(greys[-3:])[:, None, None].float() / 255
    zero, one = torch.zeros(3, 1), torch.ones(3, 1)
    with torch.inference_mode():
        whole = model(crops, zero, one, torch.zeros(3, 1, 80, 8), torch.zeros(3, 8), torch.zeros(3, 8))
        assert torch.allclose(joint.still_logits(model, tokens[-3:]), whole.logits, atol=1e-4)
