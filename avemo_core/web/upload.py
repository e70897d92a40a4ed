"""A clip from a browser to a file of ours: streamed to disk, and stopped the moment it is over the limit."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ..types import AvemoError
from .visitors import clean_name, size_in_words

FORM_BYTES = 16 * 1024  # boundaries, headers and small fields that come on top of the file
DRAIN_BYTES = 64 * 1024 * 1024  # read on past a refusal, or the browser reports a lost connection instead


class TooLarge(AvemoError):  # noqa: N818 - a refusal, said in one sentence
    """More bytes than a clip may have."""


class NotAForm(AvemoError):  # noqa: N818
    """The body is not an upload as browsers send it."""


class _FilePart:
    """Receives what the multipart parser finds and writes the part named `file` to `out`."""

    def __init__(self, out: BinaryIO, max_bytes: int) -> None:
        self.out = out
        self.max_bytes = max_bytes
        self.name: str | None = None  # file name, once the part was seen
        self.written = 0
        self.complete = False
        self._field = b""
        self._value = b""
        self._disposition = b""
        self._writing = False

    def on_part_begin(self) -> None:
        self._disposition = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._writing = options.get(b"name") == b"file" and b"filename" in options and self.name is None
        if self._writing:
            self.name = clean_name(options[b"filename"].decode("utf-8", "replace"))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._writing:
            return
        self.written += end - start
        if self.written > self.max_bytes:
            raise TooLarge(too_large(self.max_bytes))
        self.out.write(data[start:end])

    def on_part_end(self) -> None:
        self.complete = self.complete or self._writing
        self._writing = False


CALLBACKS = (
    "on_part_begin",
    "on_header_field",
    "on_header_value",
    "on_header_end",
    "on_headers_finished",
    "on_part_data",
    "on_part_end",
)


def too_large(max_bytes: int, found: int | None = None) -> str:
    size = f" of {size_in_words(found)}" if found else ""
    return f"This file{size} is larger than the {size_in_words(max_bytes)} a clip may have; send a shorter or smaller one."


async def receive(stream: AsyncIterator[bytes], content_type: str, length: int | None, path: Path, max_bytes: int) -> str:
    """Write the file of a multipart body to `path` and return its cleaned name. On any error nothing stays on disk."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise NotAForm("This is not an upload; send the clip as a form with one file field named file.")
    try:
        if length is not None and length > max_bytes + FORM_BYTES:
            raise TooLarge(too_large(max_bytes, length))
        with path.open("xb") as out:
            part = _FilePart(out, max_bytes)
            parser = MultipartParser(
                options[b"boundary"],
                {name: getattr(part, name) for name in CALLBACKS},  # type: ignore[arg-type]
                max_size=max_bytes + FORM_BYTES,
            )
            async for chunk in stream:
                parser.write(chunk)
    except TooLarge:
        path.unlink(missing_ok=True)
        await _drain(stream)
        raise
    except FormParserError as error:
        path.unlink(missing_ok=True)
        raise NotAForm("The upload arrived damaged; send the clip again.") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    if part.name is None or not part.complete:
        path.unlink(missing_ok=True)
        missing = "No file came with the upload; choose a clip first."
        raise NotAForm(missing if part.name is None else "The upload ended early; send the clip again.")
    return part.name


async def _drain(stream: AsyncIterator[bytes]) -> None:
    left = DRAIN_BYTES
    async for chunk in stream:
        left -= len(chunk)
        if left < 0:
            return
