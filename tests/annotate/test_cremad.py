"""CREMA-D's 212,000 published votes as a study, on both databases: agreement and accuracy as published."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from annotate.__main__ import main
from annotate.aggregate import aggregate
from annotate.agreement import report
from annotate.exchange.cremad import import_votes
from annotate.schema import Audit, Clip, Item, Rating, Study
from annotate.store import Store, StudyError
from annotate.verify import verify
from annotate.web.access import Settings
from annotate.web.site import build_study

ALPHA = {"voice": 0.281, "face": 0.458, "both": 0.497}
ACTED = {"voice": 0.446, "face": 0.685, "both": 0.744}


def part(real: Path, folder: Path, clips: int = 60) -> Path:
    """The first clips of the corpus only."""
    votes, manifest = pd.read_parquet(real / "votes.parquet"), pd.read_csv(real / "manifest.csv")
    folder.mkdir()
    names = manifest["clip"][:clips]
    votes[votes["clip"].isin(names)].to_parquet(folder / "votes.parquet")
    manifest[:clips].to_csv(folder / "manifest.csv", index=False)
    return folder


@pytest.mark.real
def test_alpha_and_plurality_accuracy_come_back_as_published(
    store: Store, real_data: Path, capsys: pytest.CaptureFixture[str]
):
    study_id = import_votes(store, None, real_data / "cremad")
    found = report(store, study_id)
    assert (found["ratings"], found["clips"], found["raters"], found["anonymous"]) == (212_000, 7_442, 0, 212_000)
    measures = {(m["name"], m["of"], m["modality"], m["who"]): m for m in found["measures"]}
    for modality in ALPHA:
        alpha = measures["alpha nominal", "label", modality, "everyone"]
        acted = measures["plurality is the acted emotion", "label", modality, "everyone"]
        assert alpha["value"] == pytest.approx(ALPHA[modality], abs=0.002)
        assert acted["value"] == pytest.approx(ACTED[modality], abs=0.002)
        assert alpha["n"] == acted["n"] == 7_442
        assert alpha["low"] < alpha["value"] < alpha["high"] < alpha["low"] + 0.03
        assert measures["Cohen's kappa", "label", modality, "two raters"]["why"].startswith("the raters are unknown")
    assert main(["agreement", "CREMA-D", "--json", "--home", str(store.home.folder), "--db", store.home.database_url]) == 0
    assert json.loads(capsys.readouterr().out)["measures"] == found["measures"]
    with TestClient(build_study(store, Settings(local=True))) as browser:
        for modality in ALPHA:
            page = browser.get(f"/study/lead/{study_id}?modality={modality}").text
            shown = re.findall(r"alpha (0\.\d{3}), plurality is the acted emotion in (\d\d\.\d) %", page)
            expected = [(ALPHA[m], 100 * ACTED[m]) for m in ALPHA]
            assert [(float(alpha), float(acted)) for alpha, acted in shown] == [
                pytest.approx(pair, abs=0.002) for pair in expected
            ]
            assert "Nothing is said of single raters: the raters are unknown" in page


@pytest.mark.real
def test_the_import_is_one_row_of_the_log_and_a_changed_vote_shows(store: Store, real_data: Path, tmp_path: Path):
    study_id = import_votes(store, None, part(real_data / "cremad", tmp_path / "part"))
    with store.read() as session:
        (row,) = session.scalars(select(Audit).where(Audit.action == "votes imported")).all()
        assert row.detail["ratings"][1] - row.detail["ratings"][0] + 1 == session.scalar(
            select(func.count()).select_from(Rating)
        )
        study = session.get_one(Study, study_id)
        assert study.state == "closed"
        clip = session.scalars(select(Clip).order_by(Clip.id)).first()
        assert clip is not None
        assert (clip.name, clip.gold_label, clip.details["acted"]) == ("1001_IEO_NEU_XX", None, "neutral")
        assert session.scalar(select(func.count()).select_from(Item)) == 180
    assert verify(store).problems == []
    with store.write() as session:
        session.execute(update(Rating).where(Rating.id == row.detail["ratings"][0]).values(label="fear"))
    assert verify(store).problems


@pytest.mark.real
def test_aggregation_keeps_ties_and_says_that_raters_are_unknown(store: Store, real_data: Path, tmp_path: Path):
    found = aggregate(store, import_votes(store, None, part(real_data / "cremad", tmp_path / "part")))
    assert set(found.why) == {"voice", "face", "both"}
    assert any(len(row["majority"]) > 1 for row in found.rows)


@pytest.mark.real
def test_a_second_import_under_the_same_name_is_refused_and_leaves_nothing(store: Store, real_data: Path, tmp_path: Path):
    folder = part(real_data / "cremad", tmp_path / "part")
    import_votes(store, None, folder)
    with pytest.raises(StudyError, match="There is a study named 'CREMA-D' already"):
        import_votes(store, None, folder)
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Clip)) == 60


@pytest.mark.real
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: (f / "votes.parquet").unlink(), "votes.parquet is missing"),
        (lambda f: (f / "votes.parquet").write_bytes(b"no table"), "cannot be read as a table"),
        (lambda f: (f / "manifest.csv").write_text("clip,label\n"), "has no column 'speaker'"),
    ],
)
def test_other_files_are_refused_in_a_sentence(store: Store, real_data: Path, tmp_path: Path, spoil, sentence: str):
    folder = part(real_data / "cremad", tmp_path / "part")
    spoil(folder)
    with pytest.raises(StudyError, match=sentence):
        import_votes(store, None, folder)
    shutil.rmtree(folder)
