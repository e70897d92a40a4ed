"""A study's agreement from its database: the numbers of the libraries, and a sentence where there is no number."""

import io
from datetime import UTC, datetime

import krippendorff
import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import cohen_kappa_score
from sqlalchemy import insert, select, update
from statsmodels.stats.inter_rater import fleiss_kappa

from annotate.agreement import hardest, report, show
from annotate.overview import look
from annotate.schema import Clip, Item, ModelReading, Rating
from annotate.scheme import SCHEMES
from annotate.store import Store, StudyError
from annotate.votes import read_votes
from tests.annotate.voted import HOSTILE, make_voted

LABELS = SCHEMES["basic seven"].names


def found(store: Store, study_id: int) -> dict[tuple[str, str, str, str], dict]:
    return {(m["name"], m["of"], m["modality"], m["who"]): m for m in report(store, study_id)["measures"]}


def answers(store: Store, study_id: int, column: str = "label") -> np.ndarray:
    """[raters, clips] of first answers to main clips, straight from the table."""
    with store.read() as session:
        query = (
            select(Rating.enrolment_id, Rating.item_id, getattr(Rating, column))
            .join(Item, Rating.item_id == Item.id)
            .join(Clip, Item.clip_id == Clip.id)
            .where(Item.study_id == study_id, Clip.kind == "main", ~Rating.is_repeat)
        )
        rows = session.execute(query).all()
    raters, items = sorted({r[0] for r in rows}), sorted({r[1] for r in rows})
    table = np.full((len(raters), len(items)), np.nan, object)
    for rater, item, value in rows:
        table[raters.index(rater), items.index(item)] = LABELS.index(value) if column == "label" else value
    return table.astype(float)


def test_every_number_is_the_libraries_own(store: Store):
    study_id = make_voted(store, 60, gold=6, repeats=5)
    measures = found(store, study_id)
    labels, valence = answers(store, study_id), answers(store, study_id, "valence")
    assert labels.shape == (3, 54)
    alpha = measures["alpha nominal", "label", "voice", "everyone"]
    assert alpha["value"] == pytest.approx(krippendorff.alpha(labels, level_of_measurement="nominal"), abs=1e-9)
    assert alpha["n"] == 54
    assert alpha["low"] < alpha["value"] < alpha["high"]
    for scale in ("ordinal", "interval"):
        expected = krippendorff.alpha(valence, level_of_measurement=scale)
        assert measures[f"alpha {scale}", "valence", "voice", "everyone"]["value"] == pytest.approx(expected, abs=1e-9)
    counts = np.stack([(labels == i).sum(0) for i in range(7)], 1)
    kappa = measures["Fleiss' kappa", "label", "voice", "clips with 3 answers"]
    assert kappa["value"] == pytest.approx(fleiss_kappa(counts, method="fleiss"), abs=1e-9)
    cohen = measures["Cohen's kappa", "label", "voice", "R01 and R02"]
    assert cohen["value"] == pytest.approx(cohen_kappa_score(labels[0], labels[1]), abs=1e-9)
    anger = measures["alpha nominal", "anger", "voice", "everyone"]
    merged = (labels == LABELS.index("anger")).astype(float)
    assert anger["value"] == pytest.approx(krippendorff.alpha(merged, level_of_measurement="nominal"), abs=1e-9)


def test_the_same_votes_give_the_same_intervals(store: Store):
    study_id = make_voted(store)
    assert report(store, study_id) == report(store, study_id)


def test_ages_and_sexes_have_an_alpha_of_their_own_and_what_does_not_differ_has_none(store: Store):
    measures = found(store, make_voted(store, 100))
    groups = {who for name, of, _, who in measures if name == "alpha nominal" and of == "label"}
    assert {"3 to 6 years", "7 to 11 years", "sex male", "sex female"} <= groups
    assert not any(group.startswith(("language", "group")) for group in groups)
    assert measures["alpha nominal", "label", "voice", "sex male"]["n"] == 50


def test_a_corrected_answer_counts_as_corrected_and_repeats_and_gold_do_not_count(store: Store):
    study_id = make_voted(store, 40, raters=("R01", "R02"), agreement=1.0, gold=5, repeats=4)
    assert found(store, study_id)["alpha nominal", "label", "voice", "everyone"]["value"] == pytest.approx(1)
    with store.write() as session:
        old = session.scalars(select(Rating).where(~Rating.is_repeat).order_by(Rating.id.desc())).first()
        assert old is not None
        wrong = next(label for label in LABELS if label != old.label)
        columns = {"item_id": old.item_id, "enrolment_id": old.enrolment_id, "label": wrong, "supersedes": old.id}
        session.add(Rating(**columns, idempotency_key="corrected", submitted_at=datetime.now(UTC)))
    measures = found(store, study_id)
    alpha = measures["alpha nominal", "label", "voice", "everyone"]
    assert alpha["value"] < 1
    assert alpha["n"] == 35
    repeats = measures["same answer on repeats", "label", "voice", "everyone"]
    assert (repeats["hits"], repeats["n"]) in ((7, 8), (8, 8))


@pytest.mark.parametrize(
    ("clips", "raters", "sentence"),
    [
        (12, ("R01", "R02"), "too few to say (n = 12)"),
        (30, ("R01",), "only one rater has answered, and agreement needs two"),
        (30, (), "nobody has answered yet"),
    ],
)
def test_a_value_that_cannot_be_given_says_why(store: Store, clips: int, raters: tuple[str, ...], sentence: str):
    if raters:
        study_id = make_voted(store, clips, raters=raters)
    else:
        study_id = make_voted(store, clips, raters=("R01",))
        with store.write() as session:
            session.execute(Rating.__table__.delete())
    votes = found(store, study_id)
    if not raters:
        assert votes == {}
        return
    alpha = votes["alpha nominal", "label", "voice", "everyone"]
    assert (alpha["value"], alpha["low"], alpha["high"], alpha["why"]) == (None, None, None, sentence)


def test_one_label_only_has_no_alpha_and_says_so(store: Store):
    study_id = make_voted(store, 30)
    with store.write() as session:
        session.execute(update(Rating).values(label="sadness"))
    measures = found(store, study_id)
    for name, who in (
        ("alpha nominal", "everyone"),
        ("Fleiss' kappa", "clips with 3 answers"),
        ("Cohen's kappa", "R01 and R02"),
    ):
        measure = measures[name, "label", "voice", who]
        assert measure["value"] is None
        assert measure["why"] == "every answer is sadness, so that agreement by chance cannot be estimated"
    assert measures["alpha nominal", "fear", "voice", "everyone"]["why"].startswith("nobody answered fear")


def test_no_value_is_nan_and_a_value_is_missing_exactly_where_there_is_a_reason(store: Store):
    for study_id in (
        make_voted(store, 25, gold=3, repeats=2),
        make_voted(store, 5, name="few"),
        make_voted(store, 30, name="pair", raters=("A", "B")),
    ):
        for measure in report(store, study_id)["measures"]:
            assert (measure["value"] is None) == (measure["why"] is not None)
            assert all(v is None or np.isfinite(v) for v in (measure["value"], measure["low"], measure["high"]))


def test_unknown_raters_are_said_to_be_unknown_and_their_clips_agree_all_the_same(store: Store):
    study_id = make_voted(store, 30)
    before = found(store, study_id)["alpha nominal", "label", "voice", "everyone"]
    with store.write() as session:
        session.execute(update(Rating).values(enrolment_id=None))
    measures = found(store, study_id)
    assert measures["alpha nominal", "label", "voice", "everyone"] == before
    for name, who in (("Cohen's kappa", "two raters"), ("same answer on repeats", "each rater")):
        assert measures[name, "label", "voice", who]["why"].startswith("the raters are unknown")


def test_gold_accuracy_and_its_thirds_are_counted_by_hand(store: Store):
    study_id = make_voted(store, 60, raters=("R01", "R02"), agreement=1.0, gold=30)
    with store.write() as session:
        first = session.scalars(select(Rating.enrolment_id).order_by(Rating.id)).first()
        late = session.scalars(
            select(Rating.id).where(Rating.enrolment_id == first).order_by(Rating.order_index).offset(20)
        ).all()
        wrong = session.scalars(
            select(Rating.id).join(Item).join(Clip).where(Clip.kind == "gold", Rating.id.in_(late))
        ).all()
        session.execute(update(Rating).where(Rating.id.in_(wrong)).values(label="no such label"))
    measures = found(store, study_id)
    accuracy = measures["gold accuracy", "label", "voice", "R01"]
    assert (accuracy["hits"], accuracy["n"], accuracy["value"]) == (20, 30, pytest.approx(2 / 3))
    thirds = [measures[f"gold accuracy, {third} third", "label", "voice", "R01"] for third in ("first", "middle", "last")]
    assert [(t["hits"], t["n"]) for t in thirds] == [(20, 20), (0, 10), (0, 0)]
    assert thirds[0]["value"] == 1
    assert thirds[1]["why"] == "too few to say (n = 10)"
    with store.write() as session:
        session.execute(update(Rating).where(Rating.id.in_(wrong[:4])).values(label=None, cannot_tell=True))
        session.execute(update(Rating).where(Rating.id.in_(wrong[4:6])).values(label=None, flag="technical fault"))
    measures = found(store, study_id)
    accuracy = measures["gold accuracy", "label", "voice", "R01"]
    assert (accuracy["hits"], accuracy["n"], accuracy["left_out"]) == (20, 24, 6)
    middle = measures["gold accuracy, middle third", "label", "voice", "R01"]
    assert (middle["hits"], middle["n"], middle["left_out"]) == (0, 4, 6)
    row = next(row for row in look(store, study_id)["raters"] if row["rater"] == "R01")
    assert (row["gold"]["hits"], row["gold"]["n"], row["gold"]["left_out"]) == (20, 24, 6)


def test_the_hardest_clips_come_first_and_each_pair_counts(store: Store):
    study_id = make_voted(store, 20, raters=("A", "B", "C", "D"), agreement=1.0)
    with store.read() as session:
        votes = read_votes(session, study_id)
    item = votes["item_id"].iloc[7]
    given = {"A": "fear", "B": "fear", "C": "anger", "D": "anger"}
    votes.loc[votes["item_id"] == item, "label"] = [given[r] for r in votes[votes["item_id"] == item]["rater"]]
    worst = hardest(votes, LABELS)
    assert len(worst) == 5
    assert worst[0]["item_id"] == item
    assert worst[0]["agreeing"] == pytest.approx(2 / 6)
    assert {k: n for k, n in worst[0]["counts"].items() if n} == {"anger": 2, "fear": 2}
    assert worst[1]["agreeing"] == 1


def test_the_printed_report_shows_hostile_names_as_they_are(store: Store):
    study_id = make_voted(store, 25, raters=("[red]R01[/red]", HOSTILE))
    text = io.StringIO()
    show(report(store, study_id), Console(file=text, width=200))
    assert "[red]R01[/red]" in text.getvalue()
    assert "alpha nominal" in text.getvalue()
    assert "too few" in text.getvalue() or "25" in text.getvalue()


def test_a_study_that_is_not_there_is_one_sentence(store: Store):
    with pytest.raises(StudyError, match="There is no study 99; see the list of studies"):
        report(store, 99)


def test_a_model_beside_the_majority_leaves_ties_out(store: Store):
    study_id = make_voted(store, 25, agreement=1.0)
    assert look(store, study_id)["model"] == {"voice": None}
    with store.write() as session:
        clips = session.scalars(select(Clip.id).order_by(Clip.id)).all()
        reading = {
            "modality": "voice",
            "model_id": "m1",
            "probabilities": {"anger": 0.9, "fear": 0.1},
            "written_at": datetime.now(UTC),
        }
        session.execute(insert(ModelReading), [reading | {"clip_id": clip} for clip in clips])
    beside = look(store, study_id)["model"]["voice"]
    assert beside["name"] == "m1"
    anger = LABELS.index("anger")
    assert sum(row[anger] for row in beside["rows"]) == 25 == sum(map(sum, beside["rows"]))
