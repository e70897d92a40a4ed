"""Personal baselines: by hand on a head of two classes, and in a world where everyone's shift is known."""

import math

import numpy as np
import pytest
import torch

from avemo_core import baseline
from avemo_core.baseline import ALIKE, STEADY
from avemo_core.model.heads.cam import CamHead, Personal
from avemo_core.types import Trace

KAPPA = 2.0  # of a new head


def small_head() -> CamHead:
    """Two classes, voted for by the second number of a face: logits 0 and that number."""
    head = CamHead(2, 2, 1)
    with torch.no_grad():
        head.face.copy_(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
        head.face_mean.copy_(torch.tensor([1.0, 0.0]))
        head.face_offsets.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
        head.face_spread.copy_(torch.tensor([2.0, 0.0]))
        head.spreads.copy_(torch.tensor([[1.0, 5.0], [0.0, 1.0]]))
    return head


def trace(*token: float, seconds: float = 2.0) -> Trace:
    return Trace(np.array(token, np.float32), seconds)


def test_neutral_clips_by_hand():
    known = baseline.estimate(small_head(), "face", [trace(3, 2, seconds=4)], neutral=True)
    assert known.shift.tolist() == pytest.approx([3 - 1 + 1, 2])  # less people at large, less what neutral adds
    assert known.trust == pytest.approx(2 / (2 + KAPPA)) and known.scale.tolist() == [1, 1]


def test_unlabelled_clips_by_hand():
    known = baseline.estimate(small_head(), "face", [trace(3, 0), trace(7, 8)])
    assert known.shift.tolist() == pytest.approx([5 - 1, 4])
    # logits 0 0 and 0 8, less each one's mean: 0 0 and -4 4; variances 8 and 8 between two clips
    found = (1 * 16 + ALIKE * 1) / (1 + ALIKE)
    assert known.trust == pytest.approx(2 / (2 + KAPPA) * (found - 1) / (5 - 1))
    # variance 8 where 4 is usual; where no spread is usual, nothing is said of it
    assert known.scale.tolist() == pytest.approx([math.sqrt(4 / ((8 + STEADY * 4) / (1 + STEADY))), 1])


@pytest.mark.parametrize(
    ("second", "share"), [((2, 2, 2, 2), 0.0), ((2,), 0.0), ((0, 1, 0, 1), 0.0), ((0, 40, 0, 40), 1.0), ((-3, 3) * 20, 0.9)]
)
def test_clips_count_by_how_much_their_readings_differ(second, share):
    head = small_head()
    tokens = torch.tensor([[float(n), float(x)] for n, x in enumerate(second)])
    assert baseline.diversity(head, "face", tokens) == pytest.approx(share, abs=0.11)
    assert baseline.diversity(head, "face", tokens + 100.0) == baseline.diversity(head, "face", tokens)  # whatever they are


def test_no_evidence_is_no_trust():
    head = small_head()
    for traces in ([], [trace(3, 2, seconds=0)], [trace(3, 2)]):  # one unlabelled clip: its emotion or its person?
        known = baseline.estimate(head, "face", traces)
        assert known.trust == 0
    assert baseline.estimate(head, "face", []).shift.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("seconds", "draws"), [((1,), 0.5), ((2,), 1), ((2, 2), 2), ((8,), 4), ((800,), 4), ((800, 9, 2), 9), ((0, 2), 1)]
)
def test_trust_grows_with_seconds_and_a_long_clip_counts_as_four_draws(seconds, draws):
    assert baseline.MOST_OF_A_CLIP == 4
    known = baseline.estimate(small_head(), "face", [trace(0, 0, seconds=s) for s in seconds], neutral=True)
    assert known.trust == pytest.approx(draws / (draws + KAPPA))


def test_clips_weigh_by_their_draws():
    two = [trace(3, 10, seconds=80), trace(3, 0, seconds=2)]
    for neutral in (True, False):
        known = baseline.estimate(small_head(), "face", two, neutral)
        assert known.shift[1].item() == pytest.approx((4 * 10 + 1 * 0) / 5)


def test_a_person_may_be_seen_in_some_clips_and_heard_in_others():
    clips = [{"face": trace(3, 2, seconds=4)}, {"voice": trace(5, seconds=1)}, {"face": trace(3, 2, seconds=2)}, {}]
    found = baseline.learn(small_head(), clips, neutral=True)
    assert found.of["face"].shift.tolist() == pytest.approx([3, 2]) and found.of["voice"].shift.tolist() == [5]
    trust = [3 / (3 + KAPPA), 0.5 / (0.5 + KAPPA)]
    told = {"clips": 4, "neutral": True, "face_s": 6, "voice_s": 1, "face_trust": 0.6, "voice_trust": 0.2}
    assert found.summary() == told
    person = found.personal(3, torch.device("cpu"))
    assert person.trust.shape == (3, 2) and person.trust[2].tolist() == pytest.approx(trust)
    assert person.shift["face"].shape == (3, 2) and person.scale["voice"].shape == (3, 1)
    deaf = baseline.learn(small_head(), clips[:1], neutral=True)
    assert deaf.known() == ["face"] and deaf.of["voice"].seconds == 0


# ---------------------------------------------------------------- a planted world

PEOPLE, LABELS, WIDTH, PERSON, NOISE, EACH = 60, 7, 16, 1.3, 0.5, 4


@pytest.fixture(scope="module")
def world():
    """A head that knows the world: token = mean + the person's shift + the emotion's offset + noise, all Gaussian."""
    generator = torch.Generator().manual_seed(4)
    offsets = torch.linalg.qr(torch.randn(WIDTH, LABELS, generator=generator))[0].T * 4
    offsets = offsets - offsets.mean(0)
    head = CamHead(LABELS, WIDTH, 1)
    mean = torch.randn(WIDTH, generator=generator)
    spread = PERSON**2 + NOISE**2
    with torch.no_grad():
        head.face_mean.copy_(mean)
        head.face_offsets.copy_(offsets)
        head.face_spread.copy_((offsets.var(0) + NOISE**2).sqrt())
        head.face.copy_(offsets / spread)  # linear discriminant of a stranger
        head.bias.copy_(-(offsets @ mean) / spread - offsets.square().sum(1) / (2 * spread))
        votes = head.face - head.face.mean(0)
        alike = float(NOISE**2 * votes.square().sum())
        head.spreads[0] = torch.tensor([alike, alike + float((offsets @ votes.T).var(0).sum())])
    return head


def people(head: CamHead, moods: int):
    """Shifts [P,D], emotions [P,n] and tokens [P,n,D] of people who show so many of the emotions, each as often."""
    generator = torch.Generator().manual_seed(9)
    shifts = torch.randn(PEOPLE, WIDTH, generator=generator) * PERSON
    shown = (torch.arange(PEOPLE)[:, None] + torch.arange(EACH * LABELS) % moods) % LABELS
    noise = torch.randn(PEOPLE, EACH * LABELS, WIDTH, generator=generator) * NOISE
    return shifts, shown, head.face_mean + shifts[:, None] + head.face_offsets[shown] + noise


def right(head: CamHead, tokens: torch.Tensor, shown: torch.Tensor, trust: float | None = None) -> float:
    """Share of clips read right, each person known from all of their clips; by a `trust` of one's own where given."""
    good = []
    for own, moods in zip(tokens, shown, strict=True):
        found = baseline.learn(head, [{"face": Trace(one.numpy(), 4.0)} for one in own]).personal(len(own), tokens.device)
        sure = found.trust if trust is None else torch.full_like(found.trust, trust)
        person = Personal(found.shift, found.scale, sure)
        good.append((head.bias + head.sums("face", own, person)).argmax(1) == moods)
    return float(torch.cat(good).float().mean())


def test_who_expresses_one_emotion_only_keeps_it_and_who_expresses_many_is_read_better(world):
    for moods in (1, LABELS):
        _, shown, tokens = people(world, moods)
        stranger, known, plain = (right(world, tokens, shown, trust) for trust in (0.0, None, 1.0))
        assert 0.85 < stranger < 0.97
        if moods == 1:
            assert known > stranger - 0.02 and plain < 0.3  # where all is anger, anger would be taken off
        else:
            assert known > 0.985 and plain > 0.985
