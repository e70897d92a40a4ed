"""Random changes that keep the label: of face crops and of log-mel spectrograms. All take a seeded generator."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from avemo_core.types import SAMPLE_RATE, SOUND_HOP_S


def faces(crops: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Crops [B,1,S,S] in 0..1 -> the same, seen by another camera: moved, lit, blurred, shrunk, partly covered.

    FER+ pictures are small web photos; the readings are of video. Blur and low resolution are the commonest differences.
    `strength` in 0..1 scales how far and how often; mirroring stays.
    """
    batch, _, size, _ = crops.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape or (batch,), generator=generator) * (high - low) + low

    def around(middle: float, reach: float) -> Tensor:
        return middle + uniform(-reach, reach) * strength

    def sometimes(share: float) -> Tensor:
        return uniform(0, 1) < share * strength

    angle = around(0, 15) * math.pi / 180
    scale = around(1, 0.18)
    stretch = around(1, 0.08)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    matrix = torch.zeros(batch, 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 0, 2] = cos * flip * stretch, -sin, around(0, 0.12)
    matrix[:, 1, 0], matrix[:, 1, 1], matrix[:, 1, 2] = sin * flip, cos / stretch, around(0, 0.12)
    grid = F.affine_grid(matrix, [batch, 1, size, size], align_corners=False)
    moved = F.grid_sample(crops, grid, padding_mode="border", align_corners=False)

    gamma = torch.exp(around(0, 0.4))[:, None, None, None]
    contrast = torch.exp(around(0, 0.4))[:, None, None, None]
    lit = (moved.clamp(1e-4, 1) ** gamma - 0.5) * contrast + 0.5 + around(0, 0.15)[:, None, None, None]

    blur = sometimes(0.25)
    if blur.any():
        lit[blur] = F.avg_pool2d(F.pad(lit[blur], (1, 1, 1, 1), mode="replicate"), 3, 1)
    small = sometimes(0.2)
    if small.any():
        side = int(uniform(16, 36, 1))
        shrunk = F.interpolate(lit[small], size=(side, side), mode="area")
        lit[small] = F.interpolate(shrunk, size=(size, size), mode="bilinear", align_corners=False)
    noisy = sometimes(0.3)[:, None, None, None]
    noise = torch.randn(lit.shape, generator=generator) * uniform(0, 0.06)[:, None, None, None]
    lit = torch.where(noisy, lit + noise, lit)

    covered = sometimes(0.4)
    width, height = uniform(4, size * 0.4), uniform(4, size * 0.4)
    left, top = uniform(0, 1) * (size - width), uniform(0, 1) * (size - height)
    xs = torch.arange(size)[None, :]
    inside_x = (xs >= left[:, None]) & (xs < (left + width)[:, None])
    inside_y = (xs >= top[:, None]) & (xs < (top + height)[:, None])
    hole = (inside_y[:, :, None] & inside_x[:, None, :] & covered[:, None, None])[:, None]
    return torch.where(hole, uniform(0, 1)[:, None, None, None], lit).clamp(0, 1)


def mixup(
    inputs: Tensor, targets: Tensor, alpha: float, generator: torch.Generator, within: int | None = None
) -> tuple[Tensor, Tensor]:
    """Convex mixtures of pairs and of their soft labels (Zhang et al. 2018); one Beta(alpha, alpha) draw a batch.

    Partners come from the same run of `within` rows (one person's) where that is given.
    """
    # Beta from two gamma draws, so that the seeded generator decides
    draws = torch._standard_gamma(torch.full((2,), alpha), generator=generator)
    share = float(draws[0] / draws.sum().clamp(min=1e-8))
    within = within or len(inputs)
    order = torch.rand(len(inputs) // within, within, generator=generator).argsort(1)
    order = (order + torch.arange(0, len(inputs), within)[:, None]).flatten()
    return share * inputs + (1 - share) * inputs[order], share * targets + (1 - share) * targets[order]


def voices(mel: Tensor, generator: torch.Generator, takes: int = 1, anybody: bool = False) -> Tensor:
    """Log-mel [B,1,M,L] -> the same voice elsewhere: other tempo, throat, room tone and microphone.

    Frequency is stretched about the lowest band, pitch and formants alike: a little, and one time in seven far up, towards
    a child's. Time is stretched by up to a fifth, then noise is added in power, a smooth equaliser laid over, and
    SpecAugment blanks bands and moments.
    With `anybody` the voice goes from a far deeper one to a child's, half of the rooms echo, and microphones differ by up to
    20 dB from the lowest band to the highest.
    Throat, room and microphone are alike in each run of `takes` windows: they are one person's.
    """
    batch, _, bands, columns = mel.shape

    def uniform(low: float, high: float, alike: int = 1) -> Tensor:
        drawn = torch.rand(batch // alike, generator=generator) * (high - low) + low
        return drawn.repeat_interleave(alike)

    quiet, peak = mel.amin((2, 3), keepdim=True), mel.amax((2, 3), keepdim=True)
    if anybody:
        throat = torch.exp(uniform(math.log(0.75), math.log(1.3), takes))
    else:
        throat = uniform(0.9, 1.12, takes)
        throat = torch.where(uniform(0, 1, takes) < 0.15, uniform(1.1, 1.3, takes), throat)
    throat = throat * uniform(0.98, 1.02)
    tempo = uniform(0.85, 1.18)
    matrix = torch.zeros(batch, 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 2] = tempo, tempo - 1  # the first column stays in place
    matrix[:, 1, 1], matrix[:, 1, 2] = 1 / throat, 1 / throat - 1 + uniform(-0.03, 0.03)
    grid = F.affine_grid(matrix, [batch, 1, bands, columns], align_corners=False)
    moved = F.grid_sample(mel - quiet, grid, padding_mode="zeros", align_corners=False) + quiet

    if anybody:
        echoes = (uniform(0, 1, takes) < 0.5)[:, None, None, None]
        moved = torch.where(echoes, echoed(moved, uniform(0.2, 0.9, takes), uniform(-2, 2, takes)), moved)

    noisy = (uniform(0, 1) < 0.3)[:, None, None, None]
    slope = torch.linspace(0, 1, bands)[None, None, :, None] * uniform(-4, 1)[:, None, None, None]
    level = peak - uniform(6, 14)[:, None, None, None] + slope
    noise = level + torch.randn(moved.shape, generator=generator) * 0.8
    moved = torch.where(noisy, torch.logaddexp(moved, noise), moved)

    moved = moved + _equaliser(torch.linspace(0, math.pi, bands), uniform, takes, anybody)[:, None, :, None]

    for axis, most, many in ((2, 10, 1), (3, 20, 2)):
        size = moved.shape[axis]
        index = torch.arange(size)[None, :]
        for _ in range(many):
            width = uniform(0, most)
            first = uniform(0, 1) * (size - width)
            blank = (index >= first[:, None]) & (index < (first + width)[:, None])
            blank = blank[:, None, :, None] if axis == 2 else blank[:, None, None, :]
            moved = torch.where(blank, quiet, moved)
    return moved


def _equaliser(place: Tensor, uniform, takes: int, anybody: bool) -> Tensor:
    """Smooth curves [B,n] over `place` [n] in 0..pi, of log-power: three waves, `anybody`'s far higher."""
    reach = (2.3, 1.0, 0.5) if anybody else (0.5, 0.5, 0.5)  # 0.5 is about 2 dB
    waves = [most * uniform(-1, 1, takes)[:, None] * torch.cos(place * (n + 1)) for n, most in enumerate(reach)]
    return torch.stack(waves).sum(0)


def echoed(mel: Tensor, seconds: Tensor, level: Tensor) -> Tensor:
    """Log-mel [B,1,M,L] in a room whose echo dies away by 60 dB within `seconds` [B].

    The echo's whole power is exp(`level`) [B] times that of the sound (its phases are random, so powers add; Polack 1988).
    """
    batch, columns = len(mel), mel.shape[3]
    steps = torch.arange(1, columns)
    echo = torch.exp(-6 * math.log(10) * SOUND_HOP_S / seconds[:, None] * steps)  # [B,L-1]
    echo = echo / echo.sum(1, keepdim=True) * level.exp()[:, None]
    response = torch.cat((torch.ones(batch, 1), echo), 1)
    peak = mel.amax((2, 3), keepdim=True)
    power = (mel - peak).exp()[:, 0]  # [B,M,L]
    whole = torch.fft.irfft(
        torch.fft.rfft(power, 2 * columns) * torch.fft.rfft(response, 2 * columns)[:, None], 2 * columns
    )[..., :columns]
    return whole.clamp(min=1e-10)[:, None].log() + peak


def samples(drawn: Tensor, generator: torch.Generator, takes: int = 1, anybody: bool = False) -> Tensor:
    """Samples [B,1,160,L] by column -> the same voice elsewhere: what `voices` is for log-mel.

    Speed moves pitch, formants and tempo together (Ko et al. 2015); a smooth equaliser, noise and blanked moments follow.
    With `anybody` speed and microphones differ further, and half of the rooms echo.
    Speed, room and microphone are alike in each run of `takes` windows: they are one person's.
    """
    batch, _, hop, columns = drawn.shape
    length = hop * columns

    def uniform(low: float, high: float, alike: int = 1) -> Tensor:
        return (torch.rand(batch // alike, generator=generator) * (high - low) + low).repeat_interleave(alike)

    wave = drawn[:, 0].transpose(1, 2).flatten(1)
    speed = (uniform(0.75, 1.3, takes) if anybody else uniform(0.9, 1.12, takes)) * uniform(0.98, 1.02)
    places = torch.arange(length) * speed[:, None]  # in the wave as it was; past its end is silence
    before = places.long()
    padded = F.pad(wave, (0, max(0, int(before.max()) + 2 - length)))
    wave = torch.lerp(padded.gather(1, before), padded.gather(1, before + 1), places - before)

    if anybody:
        seconds, level = uniform(0.2, 0.9, takes)[:, None], uniform(-2, 2, takes)[:, None]
        dying = torch.exp(-3 * math.log(10) / SAMPLE_RATE / seconds * torch.arange(1, length))
        room = torch.randn(batch // takes, length - 1, generator=generator)
        echo = dying * room.repeat_interleave(takes, dim=0)
        echo = echo / echo.norm(dim=1, keepdim=True) * torch.exp(level / 2)
        response = torch.cat((torch.ones(batch, 1), echo), 1)
        whole = torch.fft.irfft(torch.fft.rfft(wave, 2 * length) * torch.fft.rfft(response, 2 * length), 2 * length)
        wave = torch.where(uniform(0, 1, takes)[:, None] < 0.5, whole[:, :length], wave)
    waves = _equaliser(torch.linspace(0, math.pi, length // 2 + 1), uniform, takes, anybody)
    wave = torch.fft.irfft(torch.fft.rfft(wave) * torch.exp(waves / 2), length)

    noisy = (uniform(0, 1) < 0.3)[:, None]
    power = (wave**2).mean(1, keepdim=True)
    noise = torch.randn(wave.shape, generator=generator) * (power * 10 ** (-uniform(5, 25)[:, None] / 10)).sqrt()
    wave = torch.where(noisy, wave + noise, wave)

    index = torch.arange(length)
    for _ in range(2):
        width = uniform(0, 0.1) * length
        first = uniform(0, 1) * (length - width)
        wave = wave.masked_fill((index >= first[:, None]) & (index < (first + width)[:, None]), 0.0)
    # one loudness, so that a mixture of two does not go to the louder; of -100 dB and less, which is silence, none
    wave = F.layer_norm(wave, wave.shape[1:], eps=1e-10)
    return wave.unflatten(1, (columns, hop)).transpose(1, 2)[:, None]
