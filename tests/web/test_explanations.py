"""What the Inspect page asks the server: explanations, pictures, tests, sounds, files, for one visitor."""

import base64
import io
import json
import wave
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from avemo_core.explain import faithfulness
from avemo_core.explain.methods import METHODS
from avemo_core.labels import LABELS
from avemo_core.web import explained
from tests.conftest import is_one_sentence

from .conftest import Served, read, read_example, refused, tone


def test_a_visitor_finds_their_readings_the_newest_first(site: Served) -> None:
    client = site.guest()
    assert client.get("/api/results").json() == []
    first, second = read(client, name="one.wav"), read(client, name="two.wav")
    assert client.get("/api/results").json() == [{"id": second, "name": "two.wav"}, {"id": first, "name": "one.wav"}]
    assert site.guest().get("/api/results").json() == []


def test_the_material_names_every_method_window_and_frame(read_clip: tuple[httpx.Client, str]) -> None:
    client, base = read_clip
    material = client.get(base).json()
    assert [one["name"] for one in material["methods"]] == list(METHODS)
    assert len(material["times"]) == len(material["present"])
    assert sum(one["share"] for one in material["windows"]) == pytest.approx(1, abs=1e-3)
    ends = [one["to_s"] for one in material["windows"]]
    assert ends == sorted(ends)
    assert ends[-1] == pytest.approx(material["duration_s"])
    assert material["label"] in LABELS
    for one in material["readings"].values():
        assert one["reason"] is None
        assert sum(one["clip"]) == pytest.approx(1, abs=1e-3)
        assert len(one["windows"]) == len(material["windows"])
    spots = material["picture"]["spots"]
    assert [spot is not None for spot in spots] == material["present"]
    across, _, left, top = spots[20]
    assert 0.2 < across < 1  # the face fills a good part of the picture, upright and in the middle
    assert 0 < left < 0.5
    assert 0 < top < 0.5


def test_an_explanation_has_its_scales_values_and_pictures(read_clip: tuple[httpx.Client, str]) -> None:
    client, base = read_clip
    found = client.get(f"{base}/cam", params={"target": "anger-disgust", "window": 1}).json()
    assert found["heading"].endswith("what speaks for anger rather than disgust")
    assert (found["window"], found["signed"], found["unit"], found["missing"]) == (1, True, "logits", {})
    for which in ("face", "voice"):
        assert found[which]["least"] == -found[which]["most"] < 0
        assert len(set(found[which]["colours"])) > 10
    values = np.frombuffer(base64.b64decode(found["voice"]["values"]), "<f4").reshape(found["voice"]["shape"])
    assert len(found["voice"]["edges_hz"]) == len(values) + 1
    assert np.abs(values).max() == pytest.approx(found["voice"]["most"], rel=0.2)
    query = {"target": "anger-disgust", "window": 1}
    voice = Image.open(io.BytesIO(client.get(f"{base}/cam/voice.png", params=query).content))
    assert voice.size == (values.shape[1], 240)
    faces = Image.open(io.BytesIO(client.get(f"{base}/faces/0.png").content))
    maps = Image.open(io.BytesIO(client.get(f"{base}/cam/faces/0.png", params=query).content))
    assert faces.width / faces.height == maps.width / maps.height == 30
    assert maps.mode == "RGBA"
    assert client.get(f"{base}/cam/faces/99.png").status_code == 404
    masks = Image.open(io.BytesIO(client.get(f"{base}/cam/kept/0.png", params=query).content))
    assert (masks.size, masks.mode) == (maps.size, "RGBA")
    assert np.asarray(masks)[..., 3].max() == 255
    assert client.get(f"{base}/cam/kept/99.png").status_code == 404
    plain = client.get(f"{base}/cam").json()
    assert plain["window"] is None
    assert plain["voice"]["values"] != found["voice"]["values"]


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("integrated_gradients", "occlusion")])
def test_every_quick_method_answers_or_says_why_not(read_clip: tuple[httpx.Client, str], name: str) -> None:
    client, base = read_clip
    answer = client.get(f"{base}/{name}", params={"window": 0})
    if answer.status_code == 400:
        assert is_one_sentence(answer.json()["error"])
        return
    found = answer.json()
    assert found["method"] == name
    for which in ("face", "voice"):
        assert found[which] or found["missing"][which]


def test_what_is_not_there_is_said_in_one_sentence(read_clip: tuple[httpx.Client, str]) -> None:
    client, base = read_clip
    assert "gradcam" in refused(client, f"{base}/nothing")
    assert "boredom" in refused(client, f"{base}/cam?target=boredom")
    assert "anger-anger" in refused(client, f"{base}/cam?target=anger-anger")
    assert "window 99" in refused(client, f"{base}/cam?window=99")
    assert "window -1" in refused(client, f"{base}/cam?window=-1")
    assert "places" in refused(client, f"{base}/channel/test/face")
    assert "between face and voice" in refused(client, f"{base}/cam/attention")
    assert "not between them" in refused(client, f"{base}/cam/attention/cut")
    assert "stem" in refused(client, f"{base}/gradcam?layer=roof")
    assert "gradcam" in refused(client, f"{base}/cam?layer=stage1")
    assert "from 0 to 3" in refused(client, f"{base}/cross_modal/attention?head=4")
    assert "from 0 to 3" in refused(client, f"{base}/cross_modal/attention/cut?head=4")
    assert "nothing" in refused(client, f"{base.removesuffix('/explain')}/maps.zip?methods=cam,nothing")
    assert client.get(f"{base}/cam/voice.png?whole=0").status_code == 422
    assert client.get(f"{base}/cam/test/smell").status_code == 404
    assert client.get(f"{base}/cam/sound/half.wav").status_code == 404
    assert client.get(f"{base}/cam/download/exe").status_code == 404


def test_another_visitor_finds_nothing(site: Served, read_clip: tuple[httpx.Client, str]) -> None:
    _, base = read_clip
    other = site.guest()
    paths = ("", "/faces/0.png", "/cam", "/cam/voice.png", "/cam/faces/0.png", "/cam/test/face", "/cross_modal/attention")
    paths += (
        "/cam/twin",
        "/cam/twin/progress",
        "/cam/test/face/progress",
        "/cam/kept/0.png",
        "/cam/video/heat.mp4",
        "/cam/video/heat/progress",
    )
    paths += ("/cam/outlines/0.json", "/cross_modal/attention/cut")
    addresses = [base + path for path in (*paths, "/cam/sound/kept.wav", "/cam/download/npz")]
    for address in (*addresses, f"{base.removesuffix('/explain')}/maps.zip?methods=cam"):
        answer = other.get(address)
        assert answer.status_code == 404, address
        assert "never was yours" in answer.json()["error"]


def test_a_map_is_tested_on_the_window_that_is_shown(
    read_clip: tuple[httpx.Client, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, base = read_clip
    monkeypatch.setattr(faithfulness, "curves", partial(faithfulness.curves, draws=2, steps=3))
    shown = client.get(f"{base}/gradcam/test/voice", params={"window": 1}).json()
    assert (shown["window"], shown["heaviest"], shown["draws"]) == (1, False, 2)
    windows = client.get(base).json()["windows"]
    assert (shown["start_s"], shown["end_s"]) == (windows[1]["start_s"], windows[1]["end_s"])
    assert shown["better"] == (shown["area"] < shown["random_area"])
    assert shown["deletion"][0] == shown["random"][0]
    area = np.trapezoid(shown["deletion"], dx=1 / 3)
    assert shown["area"] == pytest.approx(area, abs=1e-3)
    heaviest = client.get(f"{base}/gradcam/test/voice", params={"target": "anger-fear"}).json()
    assert heaviest["heaviest"] and heaviest["contrast"]
    assert heaviest["window"] == int(np.argmax([one["share"] for one in windows]))


def test_a_map_is_compared_with_those_of_untrained_networks(read_clip: tuple[httpx.Client, str]) -> None:
    client, base = read_clip
    query = {"target": "fear", "window": 1}
    lines = [json.loads(line) for line in client.get(f"{base}/spatial/twin/progress", params=query).text.splitlines()]
    found = lines[-1]["made"]
    assert found == client.get(f"{base}/spatial/twin", params=query | {"untrained": 3}).json()
    assert found["draws"] == 5
    for which in ("face", "voice"):
        one = found[which]
        assert -1 <= one["least"] <= one["most"] <= 1
        assert 0 <= one["strength"] <= max(abs(one["least"]), abs(one["most"]))
        verdict = "alike" if one["strength"] >= 0.5 else "unlike" if one["strength"] < 0.3 else "partly alike"
        assert one["verdict"] == verdict
    own, twin = (client.get(f"{base}/cam", params=query | more).json() for more in ({}, {"untrained": 0}))
    assert twin["heading"].startswith("The model's own evidence, weights random 0")
    assert twin["face"]["shape"] == own["face"]["shape"]
    assert twin["face"]["most"] < 0.2 * own["face"]["most"]

    def alpha(**more: object) -> int:
        answer = client.get(f"{base}/cam/voice.png", params=query | {"untrained": 0} | more)
        return int(np.asarray(Image.open(io.BytesIO(answer.content)))[..., 3].max())

    assert alpha(whole=own["voice"]["most"]) < alpha()
    name = client.get(f"{base}/cam/download/npz", params=query | {"untrained": 0}).headers["content-disposition"]
    assert "both_agree-cam-fear-window1-random0.npz" in name


def test_what_cannot_be_compared_says_why(read_clip: tuple[httpx.Client, str]) -> None:
    client, base = read_clip
    assert "places" in refused(client, f"{base}/channel/twin")
    last = json.loads(client.get(f"{base}/channel/twin/progress").text.splitlines()[-1])
    assert "places" in last["error"]
    assert "from 0 to 4" in refused(client, f"{base}/cam?untrained=5")
    assert "from 0 to 0" in refused(client, f"{base}/occlusion?untrained=1&window=0")


@pytest.mark.parametrize(
    ("found", "verdict", "meaning"),
    [
        ([0.9, -0.7], "alike", "the clip more than"),
        ([0.4, -0.3], "partly alike", "some of this map"),
        ([0.1, -0.2], "unlike", "rests on what was learned"),
    ],
)
def test_the_sign_of_a_correlation_does_not_count(found: list[float], verdict: str, meaning: str) -> None:
    said = explained._alike(np.arange(3.0), found)
    assert said["verdict"] == verdict
    assert meaning in said["meaning"]
    assert (said["least"], said["most"]) == (min(found), max(found))
    assert explained._alike(np.zeros(3), [0.0])["verdict"] == "nothing to compare"


def test_methods_share_one_pass_of_the_branches(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client = site.guest()
    base = f"/api/results/{read_example(client, 'both_agree')}/explain"
    model, read = site.services.analyzer.model, []
    hook = model.face_branch.register_forward_pre_hook(lambda _, given: read.append(len(given[0])))
    try:
        for query in ("cam", "gradcam", "spatial", "cam?target=anger", "gradcam?target=anger-fear", "cross_modal"):
            assert client.get(f"{base}/{query}").status_code == 200
    finally:
        hook.remove()
    assert sum(read) <= len(client.get(base).json()["times"])  # each frame once


def test_attention_between_face_and_voice_is_spelled_out(read_clip: tuple[httpx.Client, str]) -> None:
    client, base = read_clip
    found = client.get(f"{base}/cross_modal/attention").json()
    matrix = np.frombuffer(base64.b64decode(found["matrix"]), "<f4").reshape(found["shape"])
    assert len(found["rows"]) == len(matrix) == len(client.get(base).json()["times"])
    n = 20
    row, values = found["rows"][n], matrix[n]
    said = f"The frame at {found['times'][n]:.2f} s attends most to the sound from {row['start_s']:.2f} to "
    assert row["sentence"].startswith(said[:-9])
    assert row["none"] + values.sum() == pytest.approx(1, abs=1e-3)
    peak = found["starts_s"][int(values.argmax())]
    assert row["start_s"] <= max(0, peak) < row["end_s"]
    assert 0 < row["even"] <= 1
    assert 0 < found["near"]["face_to_voice"] < 1


def test_what_a_map_keeps_and_the_rest_are_the_clip_again(read_clip: tuple[httpx.Client, str]) -> None:
    client, base = read_clip

    def samples(part: str) -> np.ndarray:
        answer = client.get(f"{base}/cam/sound/{part}.wav")
        assert answer.headers["content-type"] == "audio/wav"
        with wave.open(io.BytesIO(answer.content)) as file:
            assert file.getframerate() == 16_000
            return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(int)

    whole, kept, rest = (samples(part) for part in ("whole", "kept", "rest"))
    assert np.abs(whole - kept - rest).max() <= 2
    assert 0 < np.abs(kept).sum() < np.abs(whole).sum()


def test_each_map_can_be_taken_away(read_clip: tuple[httpx.Client, str]) -> None:
    client, base = read_clip
    query = {"target": "fear", "window": 2}
    raw = client.get(f"{base}/layercam/download/npz", params=query)
    arrays = np.load(io.BytesIO(raw.content))
    assert (str(arrays["method"]), int(arrays["window"])) == ("layercam", 2)
    assert 'filename="both_agree-layercam-fear-window2.npz"' in raw.headers["content-disposition"]
    assert "<svg" in client.get(f"{base}/layercam/download/svg", params=query).text[:500]
    assert client.get(f"{base}/layercam/download/png", params=query).content.startswith(b"\x89PNG")


def test_all_maps_are_taken_away_in_one_file(read_clip: tuple[httpx.Client, str]) -> None:
    client, base = read_clip
    query = {"target": "fear", "window": 2, "layer": "stage3", "methods": "cam,layercam"}
    answer = client.get(f"{base.removesuffix('/explain')}/maps.zip", params=query)
    assert answer.headers["content-type"] == "application/zip"
    assert 'filename="both_agree-maps-fear-window2.zip"' in answer.headers["content-disposition"]
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    stems = ("both_agree-cam-fear-window2", "both_agree-layercam-fear-window2-stage3")
    assert archive.namelist() == [f"{stem}.{kind}" for stem in stems for kind in ("npz", "svg", "png")]
    alone = client.get(f"{base}/cam/download/npz", params={"target": "fear", "window": 2}).content
    ours, single = np.load(archive.open(archive.namelist()[0])), np.load(io.BytesIO(alone))
    assert set(ours) == set(single)
    assert np.array_equal(ours["voice"], single["voice"])


def test_a_layer_and_a_head_have_maps_and_names_of_their_own(read_clip: tuple[httpx.Client, str]) -> None:
    client, base = read_clip
    material = client.get(base).json()
    assert material["layers"] == ["stem", "stage1", "stage2", "stage3"]
    assert material["heads"] == 4
    assert {one["name"] for one in material["methods"] if one["layered"]} == {"gradcam", "gradcam++", "layercam"}
    query = {"window": 1, "target": "fear"}
    last, early = (client.get(f"{base}/gradcam", params=query | more).json() for more in ({}, {"layer": "stage1"}))
    assert early["heading"].startswith("Grad-CAM, layer stage1")
    assert early["face"]["shape"] > last["face"]["shape"]
    name = client.get(f"{base}/gradcam/download/npz", params=query | {"layer": "stage1"}).headers["content-disposition"]
    assert "both_agree-gradcam-fear-window1-stage1.npz" in name
    address, asks = f"{base}/cross_modal/attention", ({"window": 1}, {"window": 1, "head": 0})
    mean, one = (client.get(address, params=one).json() for one in asks)
    assert mean["shape"] == one["shape"]
    assert mean["matrix"] != one["matrix"]


def test_the_effect_of_cutting_attention_is_of_the_target_and_the_head(read_clip: tuple[httpx.Client, str]) -> None:
    client, base = read_clip
    asks = ({}, {"target": "fear"}, {"head": 2})
    found = [client.get(f"{base}/cross_modal/attention/cut", params={"window": 1} | more).json() for more in asks]
    for one in found:
        assert 0 <= one["before"] <= 1
        assert all(-one["before"] <= change <= 1 - one["before"] for change in one["change"].values())
    assert found[0]["before"] == pytest.approx(found[2]["before"])
    assert len({one["change"]["voice_to_face"] for one in found}) == 3


def test_the_strongest_fifth_is_outlined_inside_the_window(read_clip: tuple[httpx.Client, str]) -> None:
    client, base = read_clip
    material = client.get(base).json()
    query = {"target": "fear", "window": 1}
    found = client.get(f"{base}/gradcam", params=query).json()
    assert found["face"]["outlined"]
    points = [point.split() for line in found["voice"]["outline"].split("M")[1:] for point in line.split("L")]
    across = [int(x) / 1000 * material["duration_s"] for x, _ in points]
    assert found["start_s"] - 0.02 <= min(across) <= max(across) <= found["end_s"] + 0.02
    lines = client.get(f"{base}/gradcam/outlines/0.json", params=query).json()
    assert len(lines) == 30
    inside = [found["start_s"] <= t <= found["end_s"] for t in material["times"][:30]]
    assert not any(line for line, there in zip(lines, inside, strict=True) if not there)
    assert any(lines)
    even = client.get(f"{base}/temporal", params=query).json()
    assert not even["face"]["outlined"]
    assert not any(client.get(f"{base}/temporal/outlines/0.json", params=query).json())
    assert client.get(f"{base}/gradcam/outlines/99.json", params=query).json() == []


def test_a_clip_without_a_face_says_so(site: Served) -> None:
    client = site.guest()
    base = f"/api/results/{read_example(client, 'voice_only')}/explain"
    material = client.get(base).json()
    assert material["present"] is None
    assert material["missing"]["face"]
    found = client.get(f"{base}/cam").json()
    assert found["face"] is None
    assert found["missing"]["face"] == "no picture in this clip"
    assert found["voice"]
    assert client.get(f"{base}/faces/0.png").status_code == 404
    assert client.get(f"{base}/cam/faces/0.png").status_code == 404
    assert client.get(f"{base}/cam/kept/0.png").status_code == 404
    assert material["picture"] is None
    assert material["readings"]["face"]["reason"] == "no picture in this clip"
    assert "no picture in this clip" in refused(client, f"{base}/cam/video/heat.mp4")
    assert "no picture in this clip" in refused(client, f"{base}/cam/video/heat/progress")
    refused(client, f"{base}/cam/test/face")
    refused(client, f"{base}/cross_modal/attention")
    assert client.get(f"{base}/cam/download/svg").status_code == 200


def test_what_was_computed_is_kept_with_the_reading_and_goes_with_it(site: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client = site.guest()
    result = read(client, tone(2.0))
    base = f"/api/results/{result}/explain"
    made: list[str] = []
    whole = METHODS["gradcam"].maps

    def counted(scene):
        made.append("gradcam")
        return whole(scene)

    monkeypatch.setitem(METHODS, "gradcam", type(METHODS["gradcam"])("Grad-CAM", "", counted))
    for path in ("", "/voice.png", "/download/npz", ""):
        client.get(f"{base}/gradcam{path}")
    assert made == ["gradcam"]
    client.get(f"{base}/gradcam?target=anger")
    assert len(made) == 2
    (held,) = site.services.visitors.find(client.cookies["avemo_visitor"]).results.values()  # type: ignore[union-attr]
    assert [key[0] for key in held.explained].count("explanation") == 2
    assert len(held.explained) == 3  # and the tensors of the windows, which both share
    monkeypatch.setattr("avemo_core.web.explainer.CACHE_BYTES", 1)
    client.get(f"{base}/gradcam?target=fear")
    assert len(held.explained) == 1
    assert client.delete(f"/api/results/{result}").status_code == 204
    assert client.get(f"{base}/gradcam").status_code == 404


def test_a_window_without_a_face_has_no_reading_of_one(site: Served, clip_of: Callable[[str], Path]) -> None:
    client = site.guest()
    result = read(client, clip_of("leaves.mp4").read_bytes(), "leaves.mp4")
    readings = client.get(f"/api/results/{result}/explain").json()["readings"]
    assert readings["face"]["reason"] is None
    assert readings["face"]["windows"][0] is not None
    assert readings["face"]["windows"][-1] is None
    assert readings["voice"]["windows"][-1] == pytest.approx(readings["both"]["windows"][-1], abs=1e-3)
