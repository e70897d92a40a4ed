"""What raters are played: each pass without what it must not have, playable in a browser, without a name or a tag."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from annotate import renditions
from avemo_core import media
from tests import media_files

# file, how it is written, whether voice, face and both have to be encoded anew
CLIPS = {
    "a.wav": ({}, {"voice": False}),
    "a.mp3": ({}, {"voice": False}),
    "a.flac": ({}, {"voice": False}),
    "a.ogg": ({}, {"voice": False}),
    "a.m4a": ({}, {"voice": False}),
    "a.mp4": ({}, {"voice": False, "face": False, "both": False}),
    "a.mov": ({}, {"voice": False, "face": False, "both": False}),
    "a.webm": ({}, {"voice": False, "face": False, "both": False}),
    "a.mkv": ({}, {"voice": False, "face": False, "both": True}),  # H.264 beside Opus: no container of both plays everywhere
    "a.avi": ({}, {"voice": True, "face": True, "both": True}),
    "turned.mp4": ({"rotation": 90}, {"voice": False, "face": False, "both": False}),
    "late.mp4": ({"audio_start_s": 0.7, "seconds": 2.0}, {"voice": False, "face": False, "both": False}),
    "odd.mkv": ({"codecs": ("ffv1", "pcm_f32le"), "size": (161, 121)}, {"voice": True, "face": True, "both": True}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[media.Clip, dict[str, tuple[Path, bool]]]]:
    root = tmp_path_factory.mktemp("renditions")
    found = {}
    for name, (how, anew) in CLIPS.items():
        path = root / name
        media_files.write_clip(path, **({"seconds": 1.2, "fps": 10} | how))
        clip = media.decode(path)
        folder = root / f"{name}.made"
        folder.mkdir()
        found[name] = (clip, {modality: renditions.make(clip, modality, folder) for modality in anew})
    return found


@pytest.mark.parametrize("name", CLIPS)
def test_a_pass_holds_what_it_shows_and_nothing_else(made, name: str):
    clip, passes = made[name]
    assert {modality: anew for modality, (_, anew) in passes.items()} == CLIPS[name][1]
    for modality, (path, _) in passes.items():
        with av.open(str(path)) as file:
            kinds = sorted(stream.type for stream in file.streams)
        assert kinds == {"voice": ["audio"], "face": ["video"], "both": ["audio", "video"]}[modality]
        found = media.decode(path)
        if modality != "voice":
            frames, _ = media_files.all_frames(found)
            original, _ = media_files.all_frames(clip)
            assert (
                frames.shape[1:3] == tuple(side - side % 2 for side in original.shape[1:3]) or not CLIPS[name][1][modality]
            )
            middle = len(original) // 2
            assert media_files.number_of(frames[middle]) == media_files.number_of(original[middle])
            red = frames[0][: frames.shape[1] // 2, : frames.shape[2] // 2].mean((0, 1))
            assert red[0] > red[2] + 80  # the right way up
        if modality == "both":
            assert found.duration_s == pytest.approx(clip.duration_s, abs=0.15)
            assert found.audio[0].start_s == pytest.approx(clip.audio[0].start_s, abs=0.05)
        if modality != "face":
            assert np.abs(media_files.all_sound(found)).max() > 0.3


def test_no_title_and_no_name_travels_along(tmp_path: Path):
    path = tmp_path / "secret-anger.mp4"
    media_files.write_clip(tmp_path / "plain.mp4", 1.0, 10)
    with av.open(str(tmp_path / "plain.mp4")) as source, av.open(str(path), "w") as out:
        out.metadata.update({"title": "secret-anger", "comment": "secret-anger"})
        streams = {s.index: out.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    assert b"secret-anger" in path.read_bytes()
    clip = media.decode(path)
    for modality in ("voice", "face", "both"):
        made, anew = renditions.make(clip, modality, tmp_path)
        assert not anew and b"secret" not in made.read_bytes()


def test_cover_art_is_no_picture_and_is_not_sent(tmp_path: Path):
    path = tmp_path / "song.mp3"
    media_files.write_clip(tmp_path / "plain.mp3", 1.0)
    with av.open(str(tmp_path / "plain.mp3")) as source, av.open(str(path), "w") as out:
        sound = out.add_stream_from_template(source.streams.audio[0])
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in cover.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), "rgb24")):
            out.mux(packet)
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = sound
                out.mux(packet)
    clip = media.decode(path)
    made, anew = renditions.make(clip, "voice", tmp_path)
    with av.open(str(made)) as file:
        assert [stream.type for stream in file.streams] == ["audio"] and not anew


def test_peaks_follow_the_loudness(tmp_path: Path):
    wave = media_files.tone(2.0, 16_000)[0]
    wave[:16_000] *= 0.25
    found = renditions.peaks(media.decode(media_files.write_wav(tmp_path / "a.wav", wave)))
    assert len(found) == 150
    assert np.mean(found[:74]) == pytest.approx(0.25, abs=0.02) and np.mean(found[76:]) == pytest.approx(1, abs=0.02)
    silent = media_files.write_wav(tmp_path / "b.wav", np.zeros(16_000, np.float32))
    assert set(renditions.peaks(media.decode(silent))) == {0.0}


@pytest.fixture(scope="module")
def served(made) -> Iterator[str]:
    root = next(iter(made.values()))[0].path.parent
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


PLAY = """async ([url, kind]) => {
    const player = document.createElement(kind);
    player.src = url; player.muted = true;
    await new Promise((done, failed) => {
        player.oncanplaythrough = done;
        player.onerror = () => failed(player.error.message);
    });
    await player.play();
    await new Promise(done => { player.onended = done; });
    return [player.duration, player.videoWidth || 0, player.videoHeight || 0];
}"""


def test_a_browser_plays_every_rendition_to_its_end(made, served: str):
    with sync_playwright() as playwright:
        flags = ["--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page()
        page.goto(f"{served}/a.wav.made/")
        for name, (clip, passes) in made.items():
            for modality, (path, _) in passes.items():
                kind = "audio" if modality == "voice" else "video"
                seconds, width, height = page.evaluate(PLAY, [f"{served}/{name}.made/{path.name}", kind])
                assert seconds == pytest.approx(clip.duration_s, abs=0.8 if name == "late.mp4" else 0.2), (name, modality)
                if modality != "voice":
                    assert (width, height) == tuple(side - side % 2 for side in (clip.video.width, clip.video.height))
        browser.close()
