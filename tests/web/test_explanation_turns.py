"""Long work of the Inspect page: videos and tests of maps that are waited for, given up, or stand back for others."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest

from avemo_core import media
from avemo_core.explain import overlay
from avemo_core.explain.scene import Scene, scene_of
from avemo_core.types import AvemoError
from avemo_core.web.turns import Rank, Turns

from .conftest import EXAMPLES, Served, read_example, refused, stored


def test_a_video_is_made_while_the_page_watches_and_lies_there_once(site: Served, tmp_path: Path) -> None:
    client = site.guest()
    result = read_example(client, "both_agree")
    base, before = f"/api/results/{result}/explain/cam/video", len(stored(site))
    lines = [json.loads(line) for line in client.get(f"{base}/heat/progress?target=anger").text.splitlines()]
    assert lines[-1]["made"]
    duration_s = media.decode(EXAMPLES / "both_agree.mp4").duration_s
    assert lines[-1]["done"] == lines[-1]["total"] == pytest.approx(duration_s, abs=0.05)
    answer = client.get(f"{base}/heat.mp4?target=anger")
    assert answer.headers["content-type"] == "video/mp4"
    assert 'filename="both_agree-cam-anger.heat.mp4"' in answer.headers["content-disposition"]
    (tmp_path / "heat.mp4").write_bytes(answer.content)
    made = media.decode(tmp_path / "heat.mp4")
    assert made.duration_s == pytest.approx(duration_s, abs=0.05)
    assert len(made.audio) == 1
    assert len(stored(site)) == before + 1
    assert client.get(f"{base}/kept.mp4").content != answer.content
    assert len(stored(site)) == before + 1  # the one made before has gone
    assert "cold" in refused(client, f"{base}/cold.mp4")
    assert "from 0" in refused(client, f"{base}/heat/progress?opacity=2")
    assert client.delete(f"/api/results/{result}").status_code == 204
    assert len(stored(site)) == before - 1


def test_a_video_that_nobody_waits_for_is_given_up(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client = site.guest()
    result = read_example(client, "both_agree")
    before, gone = stored(site), threading.Event()

    def endless(*given: Any) -> None:
        try:
            while True:
                given[-1](1.0, 4.0)
                time.sleep(0.02)
        finally:
            gone.set()

    monkeypatch.setattr(overlay, "write", endless)
    with client.stream("GET", f"/api/results/{result}/explain/cam/video/heat/progress") as answer:
        for line in answer.iter_lines():
            if json.loads(line)["done"] == 1.0:
                break
    assert gone.wait(20)
    assert stored(site) == before
    assert client.get(f"/api/results/{result}/explain/cam").status_code == 200  # others go on


@pytest.mark.parametrize(
    ("raised", "said"), [(AvemoError("The clip is gone; send it again."), "The clip is gone"), (OSError("/a"), "of ours")]
)
def test_a_video_that_fails_says_so_in_its_last_line(
    site: Served, read_clip: tuple[httpx.Client, str], monkeypatch: pytest.MonkeyPatch, raised: Exception, said: str
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(overlay, "write", fail)
    client, base = read_clip
    last = json.loads(client.get(f"{base}/cam/video/rest/progress").text.splitlines()[-1])
    assert said in last["error"]
    assert "made" not in last
    assert "/a" not in last["error"]


def test_a_slow_test_lets_quick_maps_pass_and_ends_with_its_page(read_clip: tuple[httpx.Client, str], site: Served) -> None:
    client, base = read_clip
    with pytest.raises(httpx.ReadTimeout):
        client.get(f"{base}/layercam/test/face", timeout=1.0)  # the page turned to something else
    held = site.services.visitors.held(client.cookies["avemo_visitor"], base.split("/")[3])
    answer = client.get(f"{base}/spatial", params={"target": "sadness"}, timeout=20)
    assert answer.status_code == 200
    assert not any(key[0] == "test" and key[2].method == "layercam" for key in held.explained)  # type: ignore[union-attr]


def test_a_slow_test_stands_back_while_a_clip_is_read() -> None:
    read, passes = threading.Event(), []
    turns = Turns(busy=lambda: not read.is_set())

    def work(pause: Callable[[], None]) -> None:
        for _ in range(3):
            pause()
            passes.append(time.monotonic())

    thread = threading.Thread(target=turns._turn, args=(work, threading.Event(), Rank.SLOW))
    thread.start()
    time.sleep(0.3)
    assert not passes
    read.set()
    thread.join(5)
    assert len(passes) == 3
    turns.close()


def test_a_pass_that_stands_back_keeps_no_other_scene_waiting(analyzer) -> None:
    """One thread is inside one scene's pass; another scene of another thread is read meanwhile."""
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Scene):
        def fuse(self, *given: Any, **how: Any) -> Any:
            inside.set()
            assert go_on.wait(20)
            return super().fuse(*given, **how)

    result = analyzer.analyze(EXAMPLES / "both_agree.mp4")
    whole = scene_of(analyzer, result, ("anger",), 0)
    slow = Slow(**{one.name: getattr(whole, one.name) for one in fields(Scene)})
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: slow.output)
        assert inside.wait(20)
        second = pool.submit(lambda: whole.output)
        try:
            assert second.result(10).logits.shape == (1, 7)
        finally:
            go_on.set()
        assert first.result(20).logits.shape == (1, 7)
