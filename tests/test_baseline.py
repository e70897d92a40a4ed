"""Personal baselines: by hand on a head of two classes, and in a world where everyone's shift is known."""

import math

import numpy as np
import pytest
import torch

from avemo_core import baseline
from avemo_core.model.heads.cam import CamHead, Personal
from avemo_core.types import Trace

KAPPA = 4.0  # of a new head


def small_head() -> CamHead:
    """Two classes: the second adds 2 to the first number of a face, and is voted for by the second number."""
    head = CamHead(2, 2, 1)
    with torch.no_grad():
        head.face.copy_(torch.tensor([[0.0, 0.0], [0.0, math.log(3) / 2]]))
        head.face_mean.copy_(torch.tensor([1.0, 0.0]))
        head.face_offsets.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    return head


def trace(*token: float, seconds: float = 2.0) -> Trace:
    return Trace(np.array(token, np.float32), seconds)


def test_neutral_clips_by_hand():
    shift, sure = baseline.estimate(small_head(), "face", [trace(3, 2, seconds=4)], neutral=True)
    assert shift.tolist() == pytest.approx([3 - 1 + 1, 2])  # less people at large, less what neutral adds
    assert sure == pytest.approx(2 / (2 + KAPPA))


def test_an_unlabelled_clip_by_hand():
    shift, sure = baseline.estimate(small_head(), "face", [trace(3, 2, seconds=4)])
    # logits 0 and log 3, twice as sharp: the second class with 9/10
    assert shift.tolist() == pytest.approx([3 - 1 - (9 / 10 - 1 / 10), 2]) and sure == pytest.approx(1 / 3)


def test_no_evidence_is_no_trust():
    head = small_head()
    for traces in ([], [trace(3, 2, seconds=0)]):
        shift, sure = baseline.estimate(head, "face", traces)
        assert sure == 0 and shift.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("seconds", "draws"), [((1,), 0.5), ((2,), 1), ((2, 2), 2), ((8,), 4), ((800,), 4), ((800, 9, 2), 9), ((0, 2), 1)]
)
def test_trust_grows_with_seconds_and_a_long_clip_counts_as_four_draws(seconds, draws):
    assert baseline.MOST_OF_A_CLIP == 4
    _, sure = baseline.estimate(small_head(), "face", [trace(0, 0, seconds=s) for s in seconds])
    assert sure == pytest.approx(draws / (draws + KAPPA))


def test_clips_weigh_by_their_draws():
    two = [trace(3, 10, seconds=80), trace(3, 0, seconds=2)]
    shift, _ = baseline.estimate(small_head(), "face", two, neutral=True)
    assert shift[1].item() == pytest.approx((4 * 10 + 1 * 0) / 5)


def test_a_person_may_be_seen_in_some_clips_and_heard_in_others():
    clips = [{"face": trace(3, 2, seconds=4)}, {"voice": trace(5, seconds=1)}, {"face": trace(3, 2, seconds=2)}, {}]
    found = baseline.learn(small_head(), clips, neutral=True)
    assert found.shift["face"].tolist() == pytest.approx([3, 2]) and found.shift["voice"].tolist() == pytest.approx([5])
    assert found.trust == pytest.approx({"face": 3 / 7, "voice": 0.5 / 4.5})
    assert found.summary() == {"clips": 4, "face_s": 6, "voice_s": 1}
    person = found.personal(3, torch.device("cpu"))
    assert person.trust.shape == (3, 2) and person.trust[2].tolist() == pytest.approx([3 / 7, 0.5 / 4.5])
    assert person.shift["face"].shape == (3, 2) and person.shift["voice"].shape == (3, 1)
    deaf = baseline.learn(small_head(), clips[:1], neutral=True)
    assert deaf.trust["voice"] == 0 and deaf.seconds["voice"] == 0 and not deaf.shift["voice"].any()


# ---------------------------------------------------------------- a planted world

PEOPLE, LABELS, WIDTH, PERSON, NOISE = 60, 7, 16, 1.3, 0.5


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
        head.face.copy_(offsets / spread)  # linear discriminant of a stranger
        head.bias.copy_(-(offsets @ mean) / spread - offsets.square().sum(1) / (2 * spread))
    return head


def people(head: CamHead, mixed: bool):
    """Shifts [P,D], emotions [P,n] and tokens [P,n,D] of people who show every emotion twice, or always the same one."""
    generator = torch.Generator().manual_seed(9)
    shifts = torch.randn(PEOPLE, WIDTH, generator=generator) * PERSON
    shown = torch.arange(2 * LABELS) % LABELS
    shown = shown.expand(PEOPLE, -1) if mixed else (torch.arange(PEOPLE) % LABELS)[:, None].expand(-1, 2 * LABELS)
    noise = torch.randn(PEOPLE, 2 * LABELS, WIDTH, generator=generator) * NOISE
    return shifts, shown, head.face_mean + shifts[:, None] + head.face_offsets[shown] + noise


def learned(head: CamHead, tokens: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Shifts [P,D] estimated from clips of 4 s, and the trust in them."""
    found = [baseline.estimate(head, "face", [Trace(t.numpy(), 4.0) for t in own]) for own in tokens]
    return torch.stack([shift for shift, _ in found]), found[0][1]


def right(head: CamHead, tokens: torch.Tensor, shown: torch.Tensor, shifts: torch.Tensor, trust: float) -> float:
    """Share of clips read right against each person's shift."""
    flat = tokens.flatten(0, 1)
    person = Personal({"face": shifts.repeat_interleave(tokens.shape[1], 0)}, torch.full((len(flat), 2), trust))
    return float(((head.bias + head.sums("face", flat, person)).argmax(1) == shown.flatten()).float().mean())


def off(found: torch.Tensor, shifts: torch.Tensor) -> float:
    """Median error of a person's shift, as a share of how far people usually are from the mean."""
    return float((found - shifts).norm(dim=1).median() / (PERSON * WIDTH**0.5))


@pytest.mark.parametrize("mixed", [True, False])
def test_a_persons_shift_is_found_whatever_they_express(world, mixed):
    shifts, _, tokens = people(world, mixed)
    found, sure = learned(world, tokens)
    assert sure == pytest.approx(28 / 32)
    plain = tokens.mean(1) - world.face_mean
    assert off(found, shifts) < 0.2
    assert off(plain, shifts) < 0.2 if mixed else off(plain, shifts) > 0.6  # it takes the emotion for the person


def test_who_expresses_one_emotion_only_keeps_it_and_who_expresses_many_is_read_better(world):
    for mixed in (True, False):
        shifts, shown, tokens = people(world, mixed)
        found, sure = learned(world, tokens)
        stranger = right(world, tokens, shown, torch.zeros_like(shifts), 0.0)
        known = right(world, tokens, shown, found, sure)
        plain = right(world, tokens, shown, tokens.mean(1) - world.face_mean, sure)
        assert 0.85 < stranger < 0.97 and known > (0.99 if mixed else stranger)
        assert plain > 0.99 if mixed else plain < 0.6  # where all is anger, anger is taken off
