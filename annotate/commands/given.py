"""What a command was given, looked up: the store of a home, a study by name or number, a scheme, a JSON file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from ..schema import Study
from ..scheme import SCHEMES, Scheme
from ..store import Home, Store, StudyError


@contextmanager
def opened(home: Home) -> Iterator[Store]:
    store = Store.open(home)
    try:
        yield store
    finally:
        store.close()


def study_of(store: Store, given: str) -> int:
    """The id of the study of that name, or of that number."""
    with store.read() as session:
        names = {name: number for number, name in session.execute(select(Study.id, Study.name).order_by(Study.id))}
    if given in names:
        return names[given]
    if given.isdecimal() and int(given) in names.values():
        return int(given)
    known = ", ".join(f"{number} {name!r}" for name, number in names.items()) or "none"
    raise StudyError(f"There is no study {given!r}; there are: {known}.")


def scheme_of(given: str) -> Scheme:
    """A scheme by its name, or from a JSON file."""
    if given in SCHEMES:
        return SCHEMES[given]
    if not given.endswith(".json"):
        known = ", ".join(map(repr, SCHEMES))
        raise StudyError(f"There is no label scheme {given!r}; give one of {known}, or a .json file.")
    return Scheme.from_json(read_json(Path(given)))


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{path} is not JSON ({error}).") from error
