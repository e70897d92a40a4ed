"""The processes that decode: limits, ends and faults of theirs, many callers at once, and memory that stays flat."""

import itertools
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from avemo_core import media
from avemo_core.types import MediaError

from . import media_files as make
from .media_files import all_frames, all_sound


def worker_of(call) -> psutil.Process:
    """The worker process that serves this call."""
    before = {p.pid for p in psutil.Process().children()}
    media.warm()
    call()
    workers = [p for p in psutil.Process().children() if "decoding.worker" in " ".join(p.cmdline())]
    assert workers, before
    return workers[0]


def test_worker_is_reused_and_starts_again_after_it_was_killed(tmp_path):
    path = make.write_clip(tmp_path / "clip.mp4", 1.0)
    media._close_all()
    first = worker_of(lambda: media.decode(path))
    assert worker_of(lambda: list(media.frames(media.decode(path)))).pid == first.pid
    assert not [m.path for m in first.memory_maps() if "torch" in m.path]  # it starts light, whatever this program holds
    first.kill()
    first.wait(5)
    assert worker_of(lambda: media.decode(path)).pid != first.pid


def test_worker_killed_while_it_works_is_one_sentence(tmp_path):
    clip = media.decode(make.write_clip(tmp_path / "clip.mp4", 4.0, size=(640, 480)))
    generator = media.frames(clip, every_s=0.02)
    next(generator)
    for worker in psutil.Process().children():
        if "decoding.worker" in " ".join(worker.cmdline()):
            worker.kill()
    with pytest.raises(MediaError, match="SIGKILL"):
        list(generator)
    assert len(all_frames(clip)[0]) == 40


def test_worker_that_hangs_is_given_up(tmp_path):
    clip = media.decode(make.write_clip(tmp_path / "clip.mp4", 4.0, size=(640, 480)))
    limits = media.Limits(silence_s=2.0, seconds=1e6)  # only the silence can end it
    generator = media.frames(clip, every_s=0.02, limits=limits)
    next(generator)
    for worker in psutil.Process().children():
        if "decoding.worker" in " ".join(worker.cmdline()):
            worker.send_signal(signal.SIGSTOP)
    with pytest.raises(MediaError, match="in time"):
        list(generator)
    assert media.decode(clip.path) == clip


def test_time_limit_holds_although_there_is_progress(tmp_path, monkeypatch):
    clip = media.decode(make.write_clip(tmp_path / "clip.mp4", 4.0, size=(640, 480)))
    seen = []
    with monkeypatch.context() as patched:  # ten seconds go by whenever the clock is read
        patched.setattr(media, "time", SimpleNamespace(monotonic=itertools.count(0, 10).__next__))
        with pytest.raises(MediaError, match="in time"):
            for _ in media.frames(clip, every_s=0.02, progress=lambda d, t: seen.append(d)):
                pass
    assert seen and media.decode(clip.path) == clip


def test_the_callers_own_time_is_not_counted(tmp_path, monkeypatch):
    clip = media.decode(make.write_clip(tmp_path / "clip.mp4", 3.0, size=(640, 480)))
    passed = [0.0]
    monkeypatch.setattr(media, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0]))
    read = 0
    for chunk, _ in media.frames(clip, every_s=0.05):
        passed[0] += 2 * media.Limits().seconds
        read += len(chunk)
    assert read == 60


def test_memory_limit_is_one_sentence(tmp_path):
    path = make.write_clip(tmp_path / "large.mp4", 0.4, size=(3840, 2160), audio=False)
    for megabytes in (100, 300):  # less than Python and the decoder themselves need, and a little more
        with pytest.raises(MediaError, match="of memory to decode"):
            all_frames(media.decode(path), limits=media.Limits(memory_bytes=megabytes * 2**20))
    assert len(all_frames(media.decode(path))[0]) == 4


def test_generator_closed_early_leaves_the_worker_usable(tmp_path):
    clip = media.decode(make.write_clip(tmp_path / "clip.mp4", 6.0, size=(640, 480)))
    first = worker_of(lambda: None).pid
    for _ in range(30):  # a decoder that is freed in the middle must never wait for itself
        generator = media.frames(clip, every_s=0.02)
        next(generator)
        generator.close()
        media.warm()
    assert worker_of(lambda: media.decode(clip.path)).pid == first
    assert len(all_sound(clip)) == 96_000


def test_progress_may_stop_the_reading(tmp_path):
    clip = media.decode(make.write_clip(tmp_path / "clip.mp4", 6.0, size=(640, 480)))

    def stop(done_s: float, total_s: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(media.frames(clip, progress=stop))
    assert media.decode(clip.path) == clip


def test_progress_ends_at_the_whole(tmp_path):
    clip = media.decode(make.write_clip(tmp_path / "clip.mp4", 6.0))
    for stage in (media.frames, media.sound):
        seen = []
        list(stage(clip, progress=lambda done, total, seen=seen: seen.append((done, total))))
        assert seen == sorted(seen) and seen[-1] == (clip.duration_s, clip.duration_s)


def test_many_threads_read_at_once(tmp_path):
    paths = [make.write_clip(tmp_path / f"{i}{s}", 1.0 + i / 10) for i, s in enumerate(make.CODECS)]

    def read(path: Path) -> tuple:
        clip = media.decode(path)
        pictures = sum(len(c) for c, _ in media.frames(clip))
        return path.name, pictures, sum(len(w) for w, _ in media.sound(clip))

    alone = [read(path) for path in paths]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(read, paths * 2)) == alone * 2
    assert len([p for p in psutil.Process().children() if "decoding.worker" in " ".join(p.cmdline())]) <= media.IDLE_WORKERS


def test_frames_and_sound_may_interleave(tmp_path):
    clip = media.decode(make.write_clip(tmp_path / "clip.mp4", 3.0))
    pairs = list(zip(media.frames(clip, every_s=0.01), media.sound(clip), strict=False))
    assert pairs


def child(code: str) -> subprocess.Popen:
    root = str(Path(__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n" + code], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("how", ["returns", "is killed"])
def test_workers_end_with_their_parent(tmp_path, how):
    path = make.write_clip(tmp_path / "clip.mp4", 6.0, size=(640, 480))
    process = child(
        f"""
from avemo_core import media
import psutil, time
clip = media.decode({str(path)!r})
busy = media.frames(clip, every_s=0.01)
next(busy)  # one worker is in the middle of its work, one is idle
media.warm()
print(*[p.pid for p in psutil.Process().children()], flush=True)
{"time.sleep(60)" if how == "is killed" else ""}
"""
    )
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    if how == "is killed":
        process.kill()
    process.wait(60)
    deadline = time.monotonic() + 60
    while any(running(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.05)


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_reading_needs_no_torch_and_does_not_run_main_again(tmp_path):
    path = make.write_clip(tmp_path / "clip.mp4", 1.0)
    script = tmp_path / "main.py"
    root = str(Path(__file__).parents[1])
    script.write_text(
        f"""
import sys
sys.path.insert(0, {root!r})
print("main runs")
from avemo_core import media
clip = media.decode({str(path)!r})
print(sum(len(f) for f, _ in media.frames(clip)), sorted({{"torch", "gradio", "av"}} & set(sys.modules)))
"""
    )
    out = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert out.stdout == "main runs\n10 []\n", out.stdout + out.stderr  # no `if __name__ == "__main__"`, and no torch


def test_forked_child_has_workers_of_its_own(tmp_path):
    path = make.write_clip(tmp_path / "clip.mp4", 1.0)
    process = child(
        f"""
from avemo_core import media
import os
media.decode({str(path)!r})
if os.fork() == 0:
    print("child", media.decode({str(path)!r}).duration_s, flush=True)
    os._exit(0)
os.wait()
print("parent", media.decode({str(path)!r}).duration_s, flush=True)
"""
    )
    assert process.communicate(timeout=60)[0] == "child 1.0\nparent 1.0\n"


# ---------------------------------------------------------------- memory


def resident(processes) -> int:
    return sum(p.memory_info().rss for p in processes if p.is_running())


def test_half_hour_clip_is_read_in_constant_memory(tmp_path):
    """1800 s at one frame a second and 8 kHz sound; what parent and worker hold must not grow with the length."""
    path = make.write_clip(
        tmp_path / "half_hour.mkv",
        1800.0,
        fps=1,
        size=(320, 240),
        codecs=("libx264", "pcm_s16le"),
        rate=8000,
        frames=[make.numbered_frame(n % 1024, (320, 240)) for n in range(60)] * 30,
    )
    limits, seen, peak = media.Limits(), [], 0
    clip = media.decode(path, limits)
    assert clip.duration_s == pytest.approx(1800, abs=1)
    me = psutil.Process()
    family = [me, *[p for p in me.children() if "decoding.worker" in " ".join(p.cmdline())]]
    base, samples, pictures = resident(family), 0, 0
    for chunk, _ in media.frames(clip, every_s=0.5, progress=lambda d, t: seen.append(d)):
        pictures += len(chunk)
        peak = max(peak, resident(family))
    for wave, _ in media.sound(clip):
        samples += len(wave)
        peak = max(peak, resident(family))
    assert pictures == 3600 and samples == 1800 * 16_000
    assert seen == sorted(seen) and len(seen) > 20
    # Held whole, the frames would take 830 MB and the sound 115 MB.
    assert peak - base < 60e6, f"{(peak - base) / 1e6:.0f} MB"


def test_memory_is_flat_over_many_clips(tmp_path):
    path = make.write_clip(tmp_path / "clip.mp4", 1.0)
    me = psutil.Process()

    def read(times: int) -> int:
        for _ in range(times):
            clip = media.decode(path)
            all_frames(clip)
            all_sound(clip)
        return resident([me, *[p for p in me.children() if "decoding.worker" in " ".join(p.cmdline())]])

    media._close_all()
    first = read(20)
    assert read(80) - first < 15e6
