"""Folders of clips and of pictures: what every label of every corpus stands for, and one sentence for each bad table."""

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from avemo_core.labels import LABELS
from avemo_core.types import AvemoError
from tests.training.material import write_manifest
from training.corpora import ferplus, manifest

STANDS_FOR = {
    **{label: label for label in LABELS},
    "calm": "neutral",
    "boredom": None,
    "contempt": None,
    "unknown": None,
    "NF": None,
    "unlabelled": None,
    "": None,
}


def write_text(root: Path, text: str, files: tuple[str, ...] = ("a.wav", "b.wav"), name: str = "manifest.csv") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")
    for file in files:
        (root / file).touch()
    return root


def votes(**counts: int) -> list[int]:
    return [counts.get(name, 0) for name in ferplus.VOTES]


def picture(value: int = 90, side: int = 48) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(np.full((side, side), value, np.uint8)).save(stored, "WEBP", lossless=True)
    return stored.getvalue()


def write_faces(root: Path, rows: list[dict], name: str = "faces.parquet") -> Path:
    """Pictures as FER+ is stored; each row says how it differs from a happy face of PublicTest that is no copy."""
    usual = {
        "image": picture(),
        "usage": "PublicTest",
        "votes": votes(happiness=10),
        "pixels_also_in_training": False,
        "ferplus_majority": "not read",
    }
    root.mkdir(parents=True, exist_ok=True)
    table = [{"file": f"{name}-{n}.png"} | usual | row for n, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(table), root / name)
    return root


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(("label", "stands_for"), STANDS_FOR.items())
def test_what_a_label_stands_for(tmp_path, label, stands_for):
    root = write_text(tmp_path, f"file,label,speaker\na.wav,{label},p\nb.wav,{label.upper()},p\n")
    assert [row.label for row in manifest.read(root)] == [stands_for] * 2


@pytest.mark.real
def test_every_label_of_every_real_corpus_is_in_the_table(real_data):
    found = set()
    for path in real_data.glob("*/manifest*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            found |= {row["label"] for row in csv.DictReader(file)}
    faces = ferplus.read(real_data / "ferplus", "PublicTest")
    found |= set(faces.majority.tolist())
    assert found == set(STANDS_FOR)


# ---------------------------------------------------------------- tables


def test_a_corpus_keeps_its_own_labels_beside_the_seven(tmp_path):
    root = write_manifest(tmp_path / "acted", [("a.wav", "calm", "p1"), ("b.wav", "boredom", "p2"), ("c.wav", "fear", "p1")])
    rows = manifest.read(root)
    assert [(r.label, r.corpus_label) for r in rows] == [("neutral", "calm"), (None, "boredom"), ("fear", "fear")]
    assert rows[0].path == root / "a.wav" and rows[0].corpus == "acted" and rows[2].speaker == "p1"


def test_a_corpus_that_is_not_whole_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a table with the columns file, label, speaker"):
        manifest.read(tmp_path)
    root = write_manifest(tmp_path / "x", [("a.wav", "fear", "p1")])
    (root / "a.wav").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 1 files"):
        manifest.read(root)
    with pytest.raises(ValueError, match="lacks the column speaker; it has file, label, who"):
        manifest.read(write_manifest(tmp_path / "y", [("a.wav", "fear", "p1")], ("file", "label", "who")))


def test_byte_order_mark_extra_columns_spaces_and_missing_last_cells_do_no_harm(tmp_path):
    text = "\ufefffile,label,speaker,split,age,mood\n a.wav , fear ,p1,2, 31 ,fine\nb.wav,anger,p2\n"
    first, second = manifest.read(write_text(tmp_path / "acted", text))
    assert (first.path.name, first.label, first.speaker, first.split) == ("a.wav", "fear", "p1", "2")
    assert first.extra == {"age": "31", "mood": "fine"} and first.corpus == "acted"
    assert second.split == "" and second.extra == {"age": "", "mood": ""}


def test_a_second_manifest_is_read_only_by_name(tmp_path):
    root = write_text(tmp_path, "file,label,speaker\na.wav,fear,p\n")
    write_text(root, "file,label,speaker\nb.wav,anger,p\n", name="manifest_full.csv")
    assert [row.path.name for row in manifest.read(root)] == ["a.wav"]
    assert [row.path.name for row in manifest.read(root / "manifest_full.csv")] == ["b.wav"]


@pytest.mark.real
def test_the_two_versions_of_emodb_never_mix(real_data):
    cut, full = (manifest.read(real_data / "emodb" / name) for name in ("", "manifest_full.csv"))
    assert (len(cut), len(full)) == (535, 339)
    assert {row.path.parent.name for row in cut} == {"audio"} and {row.path.parent.name for row in full} == {"audio_full"}


BAD_TABLES = {
    "": "lacks the column file, label, speaker; it is empty",
    "file,label\na.wav,fear\n": "lacks the column speaker; it has file, label",
    "file;label;speaker\na.wav;fear;p\n": "lacks the column file, label, speaker; it has file;label;speaker",
    "file,label,speaker\n": "has columns but no row; expected one row a clip",
    "file,label,speaker\na.wav,fear,p\n,fear,p\n": "1 of 2 rows of .* name no file; the first is row 2",
    "file,label,speaker\na.wav,fear,\nb.wav,fear, \n": "2 of 2 rows of .* name no speaker; the first is row 1",
    "file,label,speaker\na.wav,fear,p,so, then\n": "Row 1 of .* more cells than columns; put text .* in quotes",
    "file,label,speaker\na.wav,fear,p\na.wav,fear,p\n": "a.wav 2 times; a clip counts once",
    "file,label,speaker\na.wav,fear,p\nc.wav,fear,p\nd.wav,fear,p\n": "2 of 3 files .* not there; the first is .*c.wav",
    "file,label,speaker\n.,fear,p\n": "1 of 1 files .* not there",
}


@pytest.mark.parametrize(("text", "sentence"), BAD_TABLES.items())
def test_a_bad_manifest_is_one_sentence(tmp_path, text, sentence):
    with pytest.raises((AvemoError, FileNotFoundError), match=sentence) as error:
        manifest.read(write_text(tmp_path, text))
    assert "\n" not in str(error.value)


def test_a_manifest_in_another_encoding_is_said(tmp_path):
    (tmp_path / "manifest.csv").write_bytes("file,label,speaker\na.wav,fear,Jörg\n".encode("utf-16"))
    with pytest.raises(AvemoError, match="not a table in UTF-8"):
        manifest.read(tmp_path)


# ---------------------------------------------------------------- pictures


def test_all_pictures_or_one_usage_from_every_file_of_the_folder(tmp_path):
    write_faces(tmp_path, [{"usage": "Training"}, {}], "one.parquet")
    write_faces(tmp_path, [{"usage": "PrivateTest", "pixels_also_in_training": True}], "two.parquet")
    assert list(ferplus.read(tmp_path).files) == ["one.parquet-0.png", "one.parquet-1.png", "two.parquet-0.png"]
    private = ferplus.read(tmp_path, "PrivateTest")
    assert private.strict.tolist() == [False] and private.pixels.shape == (1, 48, 48)
    with pytest.raises(AvemoError, match="has the usage 'Test'; there are PrivateTest, PublicTest, Training"):
        ferplus.read(tmp_path, "Test")


def test_the_majority_is_the_first_of_the_most_votes(tmp_path):
    tie = votes(happiness=4, surprise=4, contempt=2)
    faces = ferplus.read(write_faces(tmp_path, [{"votes": tie}, {"votes": votes(NF=6, fear=3)}]))
    assert faces.majority.tolist() == ["happiness", "NF"] and faces.agreed.tolist() == [4, 6]
    assert faces.votes.tolist() == [[0, 4, 0, 0, 0, 0, 4, 2], [0, 0, 0, 0, 3, 0, 0, 0]]


@pytest.mark.real
def test_the_majority_of_the_real_votes_is_that_of_the_table(real_data):
    table = pq.read_table(real_data / "ferplus" / "public_test.parquet", columns=["votes", "ferplus_majority"]).to_pylist()
    assert [ferplus.VOTES[int(np.argmax(row["votes"]))] for row in table] == [row["ferplus_majority"] for row in table]


BAD_FACES = {
    "9 votes": ([{"votes": [1] * 9}], "1 of 1 rows of .* lack their 10 votes; the first is faces.parquet-0.png"),
    "no votes": ([{}, {"votes": None}], "1 of 2 rows of .* lack their 10 votes; the first is faces.parquet-1.png"),
    "no picture": ([{"image": b"text"}], "faces.parquet-0.png in .* cannot be read"),
    "other size": ([{"image": picture(side=64)}], "is 64x64; expected 48x48"),
}


@pytest.mark.parametrize(("rows", "sentence"), BAD_FACES.values(), ids=list(BAD_FACES))
def test_bad_pictures_are_one_sentence(tmp_path, rows, sentence):
    with pytest.raises(AvemoError, match=sentence):
        ferplus.read(write_faces(tmp_path, rows))


def test_a_parquet_file_of_something_else_is_one_sentence(tmp_path):
    for column in ("usage", "votes"):
        table = pq.read_table(write_faces(tmp_path / column, [{}]) / "faces.parquet").drop_columns(column)
        pq.write_table(table, tmp_path / column / "faces.parquet")
        with pytest.raises(
            AvemoError, match=f"lacks the column {column}; expected image, usage, file, votes.* and got file"
        ):
            ferplus.read(tmp_path / column)
    (tmp_path / "broken.parquet").write_bytes(b"no table")
    with pytest.raises(AvemoError, match="not a readable parquet file"):
        ferplus.read(tmp_path)
    pq.write_table(
        pq.read_table(write_faces(tmp_path / "none", [{}]) / "faces.parquet")[:0], tmp_path / "none/faces.parquet"
    )
    with pytest.raises(AvemoError, match="there are no rows at all"):
        ferplus.read(tmp_path / "none")
