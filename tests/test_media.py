"""Files in, clips out: every container, every defect that a person's file has."""

import io
import os
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from avemo_core import media
from avemo_core.types import MediaError

from . import media_files as make
from .media_files import all_frames, all_sound

VIDEO = [".mp4", ".mov", ".webm", ".mkv", ".avi"]
SOUND = [".wav", ".mp3", ".flac", ".ogg", ".m4a"]


def finished(generator) -> tuple:
    """What a generator returns, its chunks thrown away."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


# ---------------------------------------------------------------- containers


@pytest.mark.parametrize("suffix", VIDEO)
def test_video_of_each_container_is_read(tmp_path, suffix):
    clip = media.decode(make.write_clip(tmp_path / f"clip{suffix}", 2.0))
    assert clip.duration_s == pytest.approx(2.0, abs=0.01)
    assert clip.container == suffix[1:]
    assert (clip.video.width, clip.video.height) == (160, 120)
    assert clip.video.frame_rate == pytest.approx(25, abs=0.2)
    assert len(clip.audio) == 1 and not clip.warnings and not clip.is_image
    pictures, times = all_frames(clip)
    assert pictures.shape == (20, 120, 160, 3) and pictures.dtype == np.uint8
    assert times == pytest.approx(np.arange(20) / 10)
    # At 25 frames a second the newest frame at or before 0.1 s k is number floor(2.5 k).
    assert [make.number_of(p) for p in pictures] == [int(2.5 * k) for k in range(20)]


@pytest.mark.parametrize("suffix", VIDEO + SOUND)
def test_sound_of_each_container_is_16_khz_and_in_place(tmp_path, suffix):
    wave = np.zeros((2, 96_000), np.float32)
    wave[:, 24_000:28_800] = make.tone(0.1, 48_000)  # a beep from 0.5 to 0.6 s
    clip = media.decode(make.write_clip(tmp_path / f"clip{suffix}", 2.0, wave=wave, rate=48_000))
    assert clip.audio[0].sample_rate == 48_000 and clip.audio[0].channels == 2
    heard = all_sound(clip)
    assert heard.dtype == np.float32 and len(heard) == pytest.approx(32_000, abs=400)
    loud = np.flatnonzero(np.abs(heard) > 0.2) / 16_000
    assert loud[0] == pytest.approx(0.5, abs=0.003) and loud[-1] == pytest.approx(0.6, abs=0.003)
    assert np.abs(heard).max() == pytest.approx(0.5, abs=0.05)  # stereo is averaged, not added


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 96_000])
def test_every_sample_rate_keeps_the_pitch(tmp_path, rate):
    clip = media.decode(make.write_clip(tmp_path / "tone.wav", 1.0, rate=rate))
    heard = all_sound(clip)
    spectrum = np.abs(np.fft.rfft(heard[:16_000] * np.hanning(16_000)))
    assert len(heard) == 16_000 and spectrum.argmax() == pytest.approx(440, abs=1)


def test_six_channels_become_one(tmp_path):
    clip = media.decode(make.write_clip(tmp_path / "six.wav", 1.0, channels=6))
    assert clip.audio[0].channels == 6 and len(all_sound(clip)) == 16_000


def test_browser_recording_without_duration(tmp_path):
    path = make.write_recording(tmp_path / "recorded.webm", 2.0)
    with av.open(str(path)) as container:
        assert container.duration is None  # the premise
    clip = media.decode(path)
    assert clip.duration_s == pytest.approx(2.0, abs=0.02) and not clip.warnings
    assert len(all_frames(clip)[0]) == 20


def test_fragmented_mp4_of_a_browser(tmp_path):
    path = make.write_recording(tmp_path / "recorded.mp4", 2.0)
    content = path.read_bytes()
    assert content.count(b"moof") > 2  # the premise
    clip = media.decode(path)
    assert clip.duration_s == pytest.approx(2.0, abs=0.1) and not clip.warnings
    assert len(all_frames(clip)[0]) == 20
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) * 6 // 10])
    cut = media.decode(tmp_path / "cut.mp4")
    assert 0.8 < cut.duration_s < 1.7 and len(all_frames(cut)[0]) >= 8


def test_clip_id_is_of_the_bytes(tmp_path):
    import hashlib

    path = make.write_clip(tmp_path / "a.wav", 0.5)
    assert media.decode(path).clip_id == hashlib.sha256(path.read_bytes()).hexdigest()[:16]


# ---------------------------------------------------------------- times and turns


def test_variable_frame_rate_goes_by_timestamps(tmp_path):
    times = [0.0, 0.04, 0.35, 0.36, 0.9, 1.55]
    clip = media.decode(make.write_clip(tmp_path / "vfr.mp4", frame_times=times, audio=False))
    pictures, grid = all_frames(clip, every_s=0.1)
    expected = [max(i for i, t in enumerate(times) if t <= at + 1e-3) for at in grid]
    assert [make.number_of(p) for p in pictures] == expected
    assert grid[-1] >= 1.5 and np.allclose(np.diff(grid), 0.1)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_turned_recordings_come_upright(tmp_path, rotation, suffix):
    path = make.write_clip(tmp_path / f"turned{suffix}", 0.6, size=(200, 120), rotation=rotation)
    with av.open(str(path)) as container:  # the file is stored turned, and says so in FFmpeg's own words
        frame = next(container.decode(video=0))
        assert (frame.width < frame.height) == (rotation in (90, 270)) and frame.rotation % 360 == -rotation % 360
    clip = media.decode(path)
    assert (clip.video.width, clip.video.height, clip.rotation) == (200, 120, rotation)
    pictures, _ = all_frames(clip)
    assert pictures.shape[1:] == (120, 200, 3)
    assert [make.number_of(p) for p in pictures] == [0, 2, 5, 7, 10, 12]
    assert pictures[0][20, 30, 0] > 150 > pictures[0][20, 170, 0]  # red is on the left


def test_mirrored_recording_comes_upright(tmp_path):
    frames = [make.numbered_frame(n)[:, ::-1] for n in range(15)]
    path = tmp_path / "mirror.mp4"
    with av.open(str(path), "w") as out:
        stream = make.add_picture(out, "libx264", 25, (160, 120), 0)
        stream.set_display_rotation(0, hflip=True)
        for packet in make.encoded_frames(stream, [n / 25 for n in range(15)], 0.0, (160, 120), frames, 0):
            out.mux(packet)
    pictures, _ = all_frames(media.decode(path))
    assert [make.number_of(p) for p in pictures] == [0, 2, 5, 7, 10, 12]


def test_frames_are_shrunk_to_the_longer_side(tmp_path):
    clip = media.decode(make.write_clip(tmp_path / "wide.mp4", 0.4, size=(640, 320), audio=False))
    pictures, _ = all_frames(clip, max_side=160)
    assert pictures.shape[1:] == (80, 160, 3) and (clip.video.width, clip.video.height) == (640, 320)
    assert [make.number_of(p) for p in pictures] == [0, 2, 5, 7]


def test_sound_comes_at_the_rate_that_is_asked_for(tmp_path):
    clip = media.decode(make.write_clip(tmp_path / "tone.mp4", 1.0, 10))
    wave = all_sound(clip, rate=48_000)
    assert len(wave) / 48_000 == pytest.approx(1.0, abs=0.05)
    turns = np.flatnonzero(np.diff(np.sign(wave[4800:-4800])) > 0)  # of a tone of 440 Hz
    assert 48_000 / np.diff(turns).mean() == pytest.approx(440, rel=0.01)


def test_sound_that_starts_late_is_told_and_placed(tmp_path):
    clip = media.decode(make.write_clip(tmp_path / "late.mkv", 2.0, audio_start_s=0.7))
    assert clip.audio[0].start_s == pytest.approx(0.7, abs=0.01) and clip.video.start_s == 0
    assert any("sound starts 0.70 s into" in w for w in clip.warnings)
    wave, start_s = next(media.sound(clip))
    assert start_s == pytest.approx(0.7, abs=0.01) and np.abs(wave[:800]).max() > 0.2


def test_picture_that_starts_late_gives_no_frames_before_it(tmp_path):
    clip = media.decode(make.write_clip(tmp_path / "late.mkv", 2.0, video_start_s=0.75))
    assert clip.video.start_s == pytest.approx(0.75, abs=0.01) and any("picture starts" in w for w in clip.warnings)
    pictures, times = all_frames(clip)
    assert times[0] == pytest.approx(0.8) and make.number_of(pictures[0]) == 1


def test_hole_in_the_sound_is_silence(tmp_path):
    path = tmp_path / "hole.mkv"
    with av.open(str(path), "w", format="matroska") as out:
        stream = make.add_sound(out, "pcm_s16le", 16_000, 1)
        for start_s in (0.0, 2.0):
            for packet in make.encoded_sound(stream, make.tone(1.0, 16_000), 16_000, start_s, flush=start_s > 0):
                out.mux(packet)
    clip = media.decode(path)
    heard = all_sound(clip)
    assert len(heard) == pytest.approx(48_000, abs=100)
    assert np.abs(heard[:15_900]).max() > 0.4 and np.abs(heard[16_400:31_900]).max() < 0.01 < np.abs(heard[32_500:]).max()
    assert "holes" in finished(media.sound(clip))[0]


# ---------------------------------------------------------------- tracks


def test_several_sound_tracks_are_told_and_numbered(tmp_path):
    clip = media.decode(make.write_clip(tmp_path / "two.mkv", 1.0, tracks=2))
    assert len(clip.audio) == 2 and any("2 sound tracks" in w and "first" in w for w in clip.warnings)
    assert len(all_sound(clip, track=0)) == len(all_sound(clip, track=1))
    with pytest.raises(MediaError, match="no number 2"):
        list(media.sound(clip, track=2))


def test_no_sound_and_no_picture(tmp_path):
    silent = media.decode(make.write_clip(tmp_path / "silent.mp4", 1.0, audio=False))
    assert silent.audio == () and list(media.sound(silent)) == [] and not silent.warnings
    voice = media.decode(make.write_clip(tmp_path / "voice.webm", 1.0, video=False))
    assert voice.video is None and list(media.frames(voice)) == [] and len(all_sound(voice)) == 16_000


def test_cover_art_is_no_video(tmp_path):
    cover = io.BytesIO()
    Image.fromarray(make.numbered_frame(1)).save(cover, "JPEG")
    path = tmp_path / "song.mp3"
    bare = make.write_clip(tmp_path / "bare.mp3", 1.0).read_bytes()
    picture = b"\0image/jpeg\0\x03\0" + cover.getvalue()
    size = len(picture)
    frame = b"APIC" + size.to_bytes(4, "big") + b"\0\0" + picture
    total = len(frame)
    synchsafe = bytes((total >> shift) & 127 for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + synchsafe + frame + bare[bare.index(b"\xff\xfb") :])
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1  # the premise: FFmpeg shows the cover as a picture track
    clip = media.decode(path)
    assert clip.video is None and len(clip.audio) == 1


# ---------------------------------------------------------------- pictures


def test_picture_is_one_frame_at_zero(tmp_path):
    Image.fromarray(make.numbered_frame(5, (1200, 600))).save(tmp_path / "photo.png")
    clip = media.decode(tmp_path / "photo.png")
    assert clip.is_image and clip.duration_s == 0 and clip.audio == ()
    pictures, times = all_frames(clip)
    assert pictures.shape == (1, 480, 960, 3) and times == [0.0] and make.number_of(pictures[0]) == 5


@pytest.mark.parametrize("tag", range(1, 9))
def test_exif_orientation_comes_upright(tmp_path, tag):
    stored = Image.fromarray(make.numbered_frame(6, (200, 120)))
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],  # tag 6: turn clockwise to see it; so it is stored counterclockwise
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    for step in undo.get(tag, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = tag
    stored.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    clip = media.decode(tmp_path / "photo.jpg")
    assert (clip.video.width, clip.video.height) == (200, 120)
    picture = all_frames(clip)[0][0]
    assert picture.shape == (120, 200, 3) and make.number_of(picture) == 6
    assert picture[20, 30, 0] > 150 > picture[20, 170, 0]
    assert all_frames(clip, max_side=100)[0].shape == (1, 60, 100, 3)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "I;16", "1", "CMYK"])
def test_every_kind_of_pixel_becomes_rgb(tmp_path, mode):
    grey = Image.new("L", (40, 30), 128)
    image = Image.fromarray(np.full((30, 40), 128 * 257, np.uint16)) if mode == "I;16" else grey.convert(mode)
    image.save(tmp_path / ("p.tif" if mode == "CMYK" else "p.png"))
    clip = media.decode(next(tmp_path.iterdir()))
    assert all_frames(clip)[0].mean() == pytest.approx(128, abs=8)


def test_decompression_bomb_is_refused_from_its_header(tmp_path):
    path = make.huge_png(tmp_path / "bomb.png")
    assert path.stat().st_size < 25_000
    whole = path.read_bytes()
    for content in (whole, whole[: whole.index(b"IDAT") + 4]):  # as surely without a single pixel of it
        path.write_bytes(content)
        with pytest.raises(MediaError, match="169 megapixels"):
            media.decode(path)


def test_moving_picture_says_that_one_frame_is_read(tmp_path):
    pages = [Image.fromarray(make.numbered_frame(n)) for n in range(3)]
    pages[0].save(tmp_path / "moving.gif", save_all=True, append_images=pages[1:])
    clip = media.decode(tmp_path / "moving.gif")
    assert clip.is_image and any("first frame" in w for w in clip.warnings)


# ---------------------------------------------------------------- bad input


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """name -> (path, what its sentence must say)."""
    clip = make.write_clip(folder / "good.mp4", 1.0)
    names = {
        "empty": (b"", "empty"),
        "text.mp4": (b"Dear committee,\nthis is not a film.\n" * 40, "plain text"),
        "page.webm": (b"<!doctype html><html>404</html>" * 20, "web page"),
        "report.mov": (b"%PDF-1.7 " + bytes(range(256)) * 20, "PDF"),
        "zip.wav": (b"PK\x03\x04" + bytes(2000), "zip"),
        "noise.mkv": (np.random.default_rng(3).bytes(20_000), "not a media file"),
        "zeros.avi": (bytes(5000), "zero bytes"),
        "one_byte.mp3": (b"\xff", "not a media file"),
        "list.m3u8": (b"#EXTM3U\n#EXTINF:2,\nfile:///etc/passwd\n", "playlist"),
        "headless.mp4": (clip.read_bytes()[: clip.stat().st_size // 2], "moov"),
        "half.webm": (b"\x1aE\xdf\xa3" + bytes(40), "webm or mkv"),
        "half.png": (b"\x89PNG\r\n\x1a\n" + bytes(40), "picture is broken"),
        "photo.heic": (b"\0\0\0\x18ftypheic" + bytes(400), "HEIC"),
    }
    out = {}
    for name, (content, words) in names.items():
        (folder / name).write_bytes(content)
        out[name] = (folder / name, words)
    out["missing"] = (folder / "missing.mp4", "no file 'missing.mp4'")
    out["folder"] = (folder, "is a folder")
    out["zero_sound"] = (make.write_wav(folder / "zero.wav", np.zeros(0, np.float32)), "0 s long")
    out["short_sound"] = (make.write_wav(folder / "short.wav", np.zeros(1600, np.float32)), "0.10 s long")
    out["short_clip"] = (make.write_clip(folder / "short.mp4", 0.12, audio=False), "0.12 s long")
    photo = folder / "whole.jpg"
    Image.fromarray(make.numbered_frame(3)).save(photo)
    (folder / "cut.jpg").write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    out["cut_photo"] = (folder / "cut.jpg", "cut off")
    os.mkfifo(folder / "pipe.mp4")
    out["pipe"] = (folder / "pipe.mp4", "not an ordinary file")
    return out


def test_each_bad_file_gets_one_clear_sentence(tmp_path):
    for name, (path, words) in bad_files(tmp_path).items():
        with pytest.raises(MediaError) as caught:
            print(name, media.decode(path))  # pytest shows it when nothing is raised
        text = str(caught.value)
        assert words in text, (name, text)
        assert text.endswith(".") and "\n" not in text and "Traceback" not in text and str(tmp_path) not in text, (
            name,
            text,
        )
        assert len(text) < 250, name


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv", ".wav", ".flac", ".avi"])
def test_file_cut_in_the_middle_is_read_as_far_as_it_goes(tmp_path, suffix):
    options = {"movflags": "faststart"} if suffix == ".mp4" else None
    path = make.write_clip(tmp_path / f"whole{suffix}", 4.0, options=options)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    clip = media.decode(cut)
    assert 0.5 < clip.duration_s < 3.6
    assert any("cut off" in w and "of 4.0 s" in w and f"{clip.duration_s:.1f} s" in w for w in clip.warnings), clip.warnings
    assert len(all_sound(clip)) / 16_000 == pytest.approx(clip.duration_s, abs=0.7)
    if clip.video:
        assert all_frames(clip)[1][-1] > 0.5


def test_wrong_suffix_is_told_and_the_content_decides(tmp_path):
    path = make.write_clip(tmp_path / "clip.webm", 1.0).rename(tmp_path / "clip.mp4")
    clip = media.decode(path)
    assert clip.container == "webm" and any(".mp4 but holds webm" in w for w in clip.warnings)
    Image.fromarray(make.numbered_frame(1)).save(tmp_path / "photo.png")
    photo = media.decode((tmp_path / "photo.png").rename(tmp_path / "photo.jpg"))
    assert photo.is_image and any("holds png" in w for w in photo.warnings)


def test_samples_that_are_no_numbers_become_zero(tmp_path):
    wave = make.tone(1.0, 16_000)[0]
    wave[4000:4100], wave[8000], wave[9000] = np.nan, np.inf, -np.inf
    clip = media.decode(make.write_wav(tmp_path / "nan.wav", wave))
    assert any("102 sound samples are not numbers" in w for w in clip.warnings)
    heard = all_sound(clip)
    assert np.isfinite(heard).all() and not heard[4000:4100].any() and np.abs(heard).max() <= 1
    np.testing.assert_allclose(heard[5000:8000], wave[5000:8000], atol=1e-4)  # the rest is untouched


def test_samples_over_full_scale_are_cut_and_told(tmp_path):
    clip = media.decode(make.write_wav(tmp_path / "loud.wav", make.tone(1.0, 16_000)[0] * 20_000))
    assert any("over full scale" in w for w in clip.warnings) and np.abs(all_sound(clip)).max() == 1


def test_limits_refuse_before_decoding(tmp_path):
    path = make.write_clip(tmp_path / "clip.mp4", 2.0)
    with pytest.raises(MediaError, match="at most 1 s are read"):
        media.decode(path, media.Limits(max_duration_s=1.0))
    with pytest.raises(MediaError, match="at most 0 MB"):
        media.decode(path, media.Limits(max_bytes=1000))
    with pytest.raises(MediaError, match="megapixels"):
        media.decode(path, media.Limits(max_pixels=10_000))


def test_ten_hours_are_refused_from_the_header(tmp_path):
    path = make.write_clip(tmp_path / "long.mkv", frame_times=[0, 12_000, 24_000, 36_000], audio=False)
    whole = path.read_bytes()
    second = whole.index(b"\x1f\x43\xb6\x75", whole.index(b"\x1f\x43\xb6\x75") + 4)  # where a second Cluster begins
    for content in (whole, whole[:second]):  # as surely without anything that lies hours away
        path.write_bytes(content)
        with pytest.raises(MediaError, match="10 hours long, and at most 60 minutes"):
            media.decode(path)


def test_ten_hours_behind_a_lying_header_are_refused(tmp_path):
    whole = make.write_clip(tmp_path / "long.mkv", frame_times=[0, 1, 12_000, 24_000, 36_000], audio=False).read_bytes()
    at = whole.index(b"\x44\x89\x88") + 3  # the element "Duration": a double, in milliseconds
    lie = np.array(1000.0, ">f8").tobytes()
    (tmp_path / "lie.mkv").write_bytes(whole[:at] + lie + whole[at + 8 :])
    with av.open(str(tmp_path / "lie.mkv")) as container:
        assert container.duration == 1_000_000  # the premise
    with pytest.raises(MediaError, match="hours long, and at most 60 minutes"):
        media.decode(tmp_path / "lie.mkv")


def test_a_playlist_inside_opens_no_other_file(tmp_path):
    """A container that points elsewhere must not make the worker read it."""
    make.write_clip(tmp_path / "secret.mp4", 1.0)
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    (tmp_path / "b.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n")
    for name in ("a.mp4", "b.m3u8"):
        with pytest.raises(MediaError, match="not a media file"):
            media.decode(tmp_path / name)


# ---------------------------------------------------------------- the real corpora


@pytest.mark.real
def test_real_clips_are_read(real_data):
    clips = (
        sorted((real_data / "java_sed" / "clips").glob("*.mp4"))[::14]
        + sorted((real_data / "grid" / "clips").glob("*.mp4"))[::3]
    )
    assert clips
    for path in clips:
        clip = media.decode(path)
        pictures, times = all_frames(clip)
        heard = all_sound(clip)
        assert not clip.warnings, (path.name, clip.warnings)
        assert len(times) == pytest.approx(clip.duration_s * 10, abs=1.01) and pictures.std() > 5
        assert len(heard) / 16_000 == pytest.approx(clip.duration_s, abs=0.1) and np.abs(heard).max() > 0.01


@pytest.mark.real
@pytest.mark.parametrize("corpus", ["emodb", "ravdess", "nemo", "ased", "children", "java_sed_voice"])
def test_real_voices_are_read(real_data, corpus):
    sounds = [
        p
        for p in sorted((real_data / corpus / "audio").rglob("*"))
        if p.suffix in (".ogg", ".opus", ".wav", ".flac", ".mp3")
    ][:12]
    assert sounds
    for path in sounds:
        clip = media.decode(path)
        assert clip.video is None and not clip.warnings, (path.name, clip.warnings)
        assert len(all_sound(clip)) / 16_000 == pytest.approx(clip.duration_s, abs=0.05)


@pytest.mark.real
def test_real_photos_are_read_and_the_false_one_refused(real_data):
    photos = [p for p in sorted((real_data / "photos").iterdir()) if p.suffix in (".jpg", ".png")]
    assert len(photos) == 16
    for path in photos:
        if path.name == "not_an_image.jpg":
            with pytest.raises(MediaError, match="plain text"):
                media.decode(path)
            continue
        clip = media.decode(path)
        pictures, _ = all_frames(clip)
        assert clip.is_image and not clip.warnings and pictures.shape[0] == 1
    straight = all_frames(media.decode(real_data / "photos" / "astronaut.jpg"))[0].astype(float)
    turned = all_frames(media.decode(real_data / "photos" / "astronaut_exif6.jpg"))[0].astype(float)
    assert np.abs(straight - turned).mean() < 8
