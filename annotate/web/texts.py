"""What pages say, in every language there is: texts/en.json, texts/ru.json; a language more is a file more."""

import functools
import json
from pathlib import Path
from typing import Any

from fastapi import Request

from ..accounts import Caller

FOLDER = Path(__file__).parent / "texts"


@functools.cache
def texts(language: str) -> dict[str, str]:
    return json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))


@functools.cache
def languages() -> dict[str, str]:
    """Every language there is, with its own name: {"en": "English", "ru": "Русский"}."""
    return {path.stem: texts(path.stem)["language"] for path in sorted(FOLDER.glob("*.json"))}


def language_of(request: Request, caller: Caller | None) -> str:
    """The caller's, else what the address or the browser asks for, else English."""
    if caller is not None and caller.language in languages():
        return caller.language
    accepted = request.headers.get("accept-language", "").split(",")
    wanted = [request.query_params.get("language", ""), *(part.split(";")[0].strip()[:2].lower() for part in accepted)]
    return next((language for language in wanted if language in languages()), "en")


def said(language: str, reason: str | None, otherwise: str, **values: Any) -> str:
    """A refusal's sentence in this language, or as it came where there is none."""
    found = texts(language).get(f"denied_{(reason or '').replace(' ', '_')}")
    return found.format(**values) if found else otherwise
