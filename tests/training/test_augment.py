"""Random changes: their shapes and ranges, their seeds, and mixtures that stay among what may be mixed."""

import math

import pytest
import torch

from training import augment


def test_face_augmentation_keeps_shape_and_range_and_follows_its_seed():
    crops = torch.rand(6, 1, 48, 48)
    one, again, other = (augment.faces(crops, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert one.shape == crops.shape and one.min() >= 0 and one.max() <= 1
    assert torch.equal(one, again) and not torch.equal(one, other) and not torch.equal(one, crops)


def test_voice_augmentation_keeps_shape_and_follows_its_seed():
    mel = torch.randn(8, 1, 80, 200) * 2 - 8
    one, again, other = (augment.voices(mel, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert one.shape == mel.shape and torch.isfinite(one).all()
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert (one.mean() - mel.mean()).abs() < 3 and all((one[k] - mel[k]).abs().max() > 1 for k in range(8))


def test_sample_augmentation_keeps_shape_and_loudness_and_follows_its_seed():
    drawn = torch.randn(8, 1, 160, 200) * torch.logspace(-3, 0, 8)[:, None, None, None]
    one, again, other = (augment.samples(drawn, torch.Generator().manual_seed(s), 4) for s in (1, 1, 2))
    assert one.shape == drawn.shape and torch.equal(one, again) and not torch.equal(one, other)
    assert one.square().mean((1, 2, 3)).tolist() == pytest.approx([1] * 8, rel=0.05)
    assert torch.isfinite(augment.samples(torch.zeros(2, 1, 160, 200), torch.Generator())).all()


def test_sample_augmentation_moves_pitch_alike_for_one_person():
    tone = torch.sin(torch.arange(32_000) * (2 * torch.pi * 1000 / 16_000)).unflatten(0, (200, 160)).T
    heard = augment.samples(tone.expand(8, 1, 160, 200), torch.Generator().manual_seed(3), 4)
    peaks = torch.fft.rfft(heard[:, 0].transpose(1, 2).flatten(1)).abs().argmax(1) / 2  # hertz
    assert all(860 < float(peak) < 1160 for peak in peaks)
    first, second = peaks[:4], peaks[4:]
    assert (first.max() / first.min() < 1.05) and (second.max() / second.min() < 1.05) and first.mean() != second.mean()


def test_mixup_mixes_inputs_and_targets_by_one_share():
    inputs, targets = torch.eye(5), torch.eye(5)
    mixed, wanted = augment.mixup(inputs, targets, 0.4, torch.Generator().manual_seed(1))
    assert torch.equal(mixed, wanted) and wanted.sum(1).tolist() == pytest.approx([1] * 5)
    assert not torch.equal(mixed, inputs)


def test_mixtures_within_a_person_never_cross_people():
    owner = torch.arange(6).repeat_interleave(4)  # six people, four takes of each
    takes = torch.eye(24)
    for seed in range(20):
        mixed, wanted = augment.mixup(takes, torch.eye(6)[owner], 0.4, torch.Generator().manual_seed(seed), within=4)
        of_others = mixed.masked_fill(owner[:, None] == owner[None], 0)
        assert not of_others.any() and torch.allclose(wanted, torch.eye(6)[owner])
        partners = (mixed > 0).sum(1)
        assert mixed.sum(1).tolist() == pytest.approx([1] * 24) and partners.max() <= 2
    assert any((augment.mixup(takes, takes, 0.4, torch.Generator().manual_seed(s))[0][:4, 4:] > 0).any() for s in range(20))


def test_microphone_is_alike_in_the_takes_of_a_person():
    """Of a flat spectrum only the microphone's curve remains, at the bands and moments that were not blanked."""
    flat = torch.zeros(12, 1, 80, 200)

    def curves(takes: int) -> torch.Tensor:
        return augment.voices(flat, torch.Generator().manual_seed(3), takes)[:, 0].median(2).values

    quiet = [n for n in range(12) if augment.voices(flat, torch.Generator().manual_seed(3), 4)[n].std(2).median() < 0.1]
    assert len(quiet) >= 6  # the others got noise
    found = curves(4)
    for n in quiet:
        for m in quiet:
            apart = (found[n] - found[m]).abs().median()
            assert apart < 1e-4 if n // 4 == m // 4 else apart > 1e-3


def test_anybody_may_be_far_deeper_or_a_child():
    line = torch.full((64, 1, 80, 200), -15.0)
    line[:, :, 38:42] = 0.0

    def middles(anybody: bool) -> torch.Tensor:
        heard = augment.voices(line, torch.Generator().manual_seed(3), anybody=anybody)[:, 0].median(2).values
        return heard.argmax(1) / 40

    some, all_sorts = middles(False), middles(True)
    assert all_sorts.min() < 0.82 and all_sorts.max() > 1.2
    assert some.median() == pytest.approx(1.0, abs=0.1) and (some < 0.85).float().mean() < 0.1


def test_an_echo_adds_its_power_and_dies_away():
    mel = torch.full((1, 1, 3, 150), -18.0)
    mel[:, :, :, 10] = 0.0  # one sound
    heard = augment.echoed(mel, torch.tensor([0.5]), torch.tensor([0.0]))[0, 0, 1]
    assert heard[:10].max() < -17 and float(heard[10]) == pytest.approx(0, abs=1e-3)
    assert float(heard[11] - heard[36]) == pytest.approx(
        25 * 0.01 / 0.5 * 6 * math.log(10), rel=0.01
    )  # 60 dB in half a second
    assert float(heard[11:].exp().sum()) == pytest.approx(1, rel=0.01)  # as much power as the sound itself


@pytest.mark.parametrize("change", (augment.voices, augment.samples))
def test_microphones_differ_more_for_anybody(change):
    noise = torch.randn(
        16, 1, *((80, 200) if change is augment.voices else (160, 200)), generator=torch.Generator().manual_seed(0)
    )

    def tilt(anybody: bool) -> float:
        heard = change(noise, torch.Generator().manual_seed(4), 1, anybody)
        if change is augment.samples:
            power = torch.fft.rfft(heard[:, 0].transpose(1, 2).flatten(1)).abs().square()
            low, high = power[:, :4000].mean(1).log(), power[:, -4000:].mean(1).log()
        else:
            low, high = heard[:, 0, :20].median(2).values.mean(1), heard[:, 0, -20:].median(2).values.mean(1)
        return float((low - high).std())

    assert tilt(True) > 1.5 * tilt(False)
