"""app.py as a user and a Space start it: its settings, its sentences when it cannot start, and how it stops."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import app

ROOT = Path(__file__).parents[2]
START_S = 240  # torch, gradio and the checkpoint on a busy machine


def test_a_local_demo_listens_to_this_computer_only() -> None:
    args = app.arguments([], {})
    assert (args.host, args.port, args.space) == ("127.0.0.1", 7860, False)


def test_gradios_variables_are_respected() -> None:
    args = app.arguments([], {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": "9000"})
    assert (args.host, args.port) == ("0.0.0.0", 9000)
    assert app.arguments(["--port", "9001"], {"GRADIO_SERVER_PORT": "9000"}).port == 9001


def test_a_space_listens_to_everyone_on_the_port_that_is_looked_at() -> None:
    args = app.arguments([], {"SPACE_ID": "someone/avemo"})
    assert (args.host, args.port, args.space) == ("0.0.0.0", 7860, True)


def test_a_missing_checkpoint_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--port", "0", "--checkpoint", "nowhere.safetensors"], {}) == 1
    assert re.fullmatch(r"No checkpoint at nowhere\.safetensors; [^\n]+\.\n", capsys.readouterr().err)


def test_an_unreadable_checkpoint_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"this is no checkpoint")
    assert app.main(["--port", "0", "--checkpoint", str(broken)], {}) == 1
    assert re.fullmatch(r"broken\.safetensors is not a readable [^\n]+\.\n", capsys.readouterr().err)


def test_a_port_in_use_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert app.main(["--port", str(port)], {}) == 1
    assert re.fullmatch(rf"Port {port} of 127\.0\.0\.1 cannot be used \([^\n]+\); [^\n]+\.\n", capsys.readouterr().err)


def test_it_starts_says_where_it_is_and_stops_with_a_page_open(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "2", "AVEMO_STUDY": str(tmp_path / "study")}
    command = [sys.executable, "app.py", "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout
        address = next(m[1] for line in process.stdout if (m := re.match(r"AVEMO is at (http://127\.0\.0\.1:\d+) ", line)))
        client = httpx.Client(base_url=address, timeout=START_S)
        assert '<a href="/study/">Rate</a>' in client.get("/").text
        assert "Practice" in client.get("/study/", headers={"accept": "text/html"}).text
        assert next(line for line in process.stdout if "ready: the model" in line)
        job = client.post("/api/clips", json={"example": "both_agree"}).json()["job"]
        assert list(tmp_path.glob("avemo-visitors-*/*/*"))
        with client.stream("GET", f"/api/jobs/{job}/events") as stream:
            assert next(stream.iter_lines()).startswith("data:")
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=60)[0]
        assert process.returncode == 0, rest
        assert "Traceback" not in rest, rest
        assert not list(tmp_path.glob("avemo-visitors-*")), "clips were left behind"
    finally:
        process.kill()
        process.wait(10)


def test_the_rating_study_lives_where_flags_and_variables_say() -> None:
    assert app.arguments([], {}).study == Path("avemo-study")
    assert app.arguments([], {"AVEMO_STUDY": "elsewhere"}).study == Path("elsewhere")
    args = app.arguments(["--study", "here", "--study-db", "postgresql:///study"], {"AVEMO_STUDY": "elsewhere"})
    assert (args.study, args.study_db) == (Path("here"), "postgresql:///study")
