"""Starts the demo, with the rating study beside it: python app.py [--port 7860] [--open]. Also what a Gradio Space runs."""

import argparse
import contextlib
import gc
import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported: it reports from the import on

from avemo_core.types import AvemoError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def arguments(argv: list[str], environment: dict[str, str]) -> argparse.Namespace:
    """Flags, with what Gradio's own variables say as defaults; a Space listens to everyone on port 7860."""
    space = bool(environment.get("SPACE_ID"))
    parser = argparse.ArgumentParser(description="AVEMO's demo: which emotion do a face and a voice express in a clip?")
    parser.add_argument("--host", default=environment.get("GRADIO_SERVER_NAME", "0.0.0.0" if space else "127.0.0.1"))
    parser.add_argument("--port", type=int, default=environment.get("GRADIO_SERVER_PORT", "7860"))
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--checkpoint", default="default", help="the model to read with: a name or a file")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default: auto)")
    parser.add_argument("--keep-minutes", type=float, default=30, help="clips go this long after the last use (default: 30)")
    folder = environment.get("AVEMO_STUDY", "avemo-study")
    parser.add_argument("--study", type=Path, default=folder, metavar="FOLDER", help="where the rating study lives")
    url = environment.get("AVEMO_STUDY_DB")
    parser.add_argument("--study-db", default=url, metavar="URL", help="its PostgreSQL database (default: a file in FOLDER)")
    args = parser.parse_args(argv)
    args.space = space
    return args


def listen(host: str, port: int) -> socket.socket:
    """The port, held before the model is loaded; AvemoError when it is in use or not ours to take."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AvemoError(f"Port {port} of {host} cannot be used ({reason}); choose another one with --port.") from error


def side_by_side(demo: "FastAPI", study: "FastAPI") -> "ASGIApp":
    """One application: /study is the study's, everything else the demo's; both start and stop with it."""
    from starlette.applications import Starlette

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with demo.router.lifespan_context(demo), study.router.lifespan_context(study):
            yield

    both = Starlette(lifespan=lifespan)

    async def site(scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "lifespan":
            await both(scope, receive, send)
        elif scope["path"] == "/study" or scope["path"].startswith("/study/"):
            await study(scope, receive, send)
        else:
            await demo(scope, receive, send)

    return site


def main(argv: list[str], environment: dict[str, str]) -> int:
    args = arguments(argv, environment)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every step, also where there is nothing to do
    try:
        listener = listen(args.host, args.port)
        print("AVEMO loads its model, which takes some seconds.", flush=True)
        # Imported here, because torch and gradio take most of that time: --help and a port in use are said at once.
        import uvicorn

        from annotate.store import Home
        from annotate.web.access import Settings as StudySettings
        from annotate.web.door import open_study
        from avemo_core.analyzer import Analyzer
        from avemo_core.web.services import Settings
        from avemo_core.web.site import build_site

        analyzer = Analyzer(args.checkpoint, device=args.device)
    except AvemoError as error:
        print(error, file=sys.stderr)
        return 1
    hosts = LOOPBACK if args.host in LOOPBACK else ()
    more = (("Rate", "/study/"),)
    settings = Settings(hosts=hosts, space=args.space, keep_s=args.keep_minutes * 60, warm_up=True, more_pages=more)
    study = open_study(Home(args.study, args.study_db), StudySettings(local=bool(hosts), hosts=hosts, space=args.space))
    site = side_by_side(build_site(analyzer, settings), study)
    name = "127.0.0.1" if args.host == "0.0.0.0" else args.host
    gc.freeze()  # a million objects that stay to the end: collections, the one at exit too, need not look at them again
    address = f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}"
    print(f"AVEMO is at {address} (Ctrl+C stops it)", flush=True)
    if args.open:
        threading.Timer(1.0, webbrowser.open, (address,)).start()
    # Pages keep connections open for progress; a stop does not wait for them.
    config = uvicorn.Config(site, log_level="warning", timeout_graceful_shutdown=2, server_header=False)
    with contextlib.suppress(KeyboardInterrupt):  # the server has stopped in good order by then
        uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], dict(os.environ)))
    except KeyboardInterrupt:  # while the model was being loaded
        sys.exit(130)
