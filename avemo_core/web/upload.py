"""Clips from a browser to files of ours: streamed to disk, and stopped the moment they are over the limit."""

from collections.abc import AsyncIterator, Callable
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


class _FileParts:
    """Receives what the multipart parser finds and writes each part named `file` to a place of its own."""

    def __init__(self, place: Callable[[], Path], max_bytes: int, most: int) -> None:
        self.place = place
        self.max_bytes = max_bytes
        self.most = most
        self.files: list[tuple[str, Path]] = []  # cleaned name, and where it was written
        self.written = 0  # bytes of all of them
        self._out: BinaryIO | None = None  # the file that is being written
        self._field = b""
        self._value = b""
        self._disposition = b""

    @property
    def complete(self) -> bool:
        return self._out is None

    def close(self) -> None:
        if self._out is not None:
            self._out.close()

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
        if options.get(b"name") != b"file" or b"filename" not in options:
            return
        if len(self.files) == self.most:
            raise NotAForm(f"More than {self.most} clip{'s' * (self.most > 1)} came at once; choose at most {self.most}.")
        path = self.place()
        self._out = path.open("xb")
        self.files.append((clean_name(options[b"filename"].decode("utf-8", "replace")), path))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._out is None:
            return
        self.written += end - start
        if self.written > self.max_bytes:
            raise TooLarge(too_large(self.max_bytes, self.most))
        self._out.write(data[start:end])

    def on_part_end(self) -> None:
        self.close()
        self._out = None


CALLBACKS = (
    "on_part_begin",
    "on_header_field",
    "on_header_value",
    "on_header_end",
    "on_headers_finished",
    "on_part_data",
    "on_part_end",
)


def too_large(max_bytes: int, most: int = 1, found: int | None = None) -> str:
    size = f" of {size_in_words(found)}" if found else ""
    if most > 1:
        allowed = f"the {size_in_words(max_bytes)} they may have together"
        return f"An upload{size} is larger than {allowed}; send fewer, shorter or smaller clips."
    return f"This file{size} is larger than the {size_in_words(max_bytes)} a clip may have; send a shorter or smaller one."


async def receive(
    stream: AsyncIterator[bytes],
    content_type: str,
    length: int | None,
    place: Callable[[], Path],
    max_bytes: int,
    most: int = 1,
) -> list[tuple[str, Path]]:
    """Write the files of a multipart body, `most` of them, each to where `place` says; (cleaned name, path) of each.

    They may have `max_bytes` together. On any error nothing stays on disk.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise NotAForm("This is not an upload; send the clip as a form with one file field named file.")
    parts = _FileParts(place, max_bytes, most)
    try:
        if length is not None and length > max_bytes + FORM_BYTES:
            raise TooLarge(too_large(max_bytes, most, length))
        parser = MultipartParser(
            options[b"boundary"],
            {name: getattr(parts, name) for name in CALLBACKS},  # type: ignore[arg-type]
            max_size=max_bytes + FORM_BYTES,
        )
        async for chunk in stream:
            parser.write(chunk)
        if not parts.complete:
            raise NotAForm("The upload ended early; send the clip again.")
        if not parts.files:
            raise NotAForm("No file came with the upload; choose a clip first.")
    except BaseException as error:
        parts.close()
        for _, path in parts.files:
            path.unlink(missing_ok=True)
        if isinstance(error, AvemoError):
            await _drain(stream)
        if isinstance(error, FormParserError):
            raise NotAForm("The upload arrived damaged; send the clip again.") from error
        raise
    return parts.files


async def _drain(stream: AsyncIterator[bytes]) -> None:
    left = DRAIN_BYTES
    async for chunk in stream:
        left -= len(chunk)
        if left < 0:
            return
