"""A reading as rows of a table: what the command line writes and the page offers as CSV."""

from .labels import LABELS
from .types import ClipResult

CONDITIONS = ("both", "face", "voice")
HEADER = ["file", "start", "end", *(f"{condition}_{label}" for condition in CONDITIONS for label in LABELS)]


def rows(result: ClipResult, file: str) -> list[list[str]]:
    """One row a window: file, start and end in seconds, seven probabilities of both, the face and the voice.

    Cells of a modality that was not read are empty.
    """
    table = []
    for w, (start, end) in enumerate(zip(result.window_start_s, result.window_end_s, strict=True)):
        row = [file, f"{start:.3f}", f"{end:.3f}"]
        for reading in (result.both, result.face, result.voice):
            row += [f"{p:.4f}" for p in reading.windows[w]] if reading.available else [""] * len(LABELS)
        table.append(row)
    return table
