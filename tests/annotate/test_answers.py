"""An answer as a browser sends it: read, checked against what the study asks, every fault one sentence."""

import json
from datetime import UTC, datetime

import pytest

from annotate.answers import Answer, checked
from annotate.design import Design
from annotate.scheme import SCHEMES
from annotate.store import StudyError
from tests.conftest import is_one_sentence

SEVEN = SCHEMES["basic seven"]
FULL = {
    "label": "anger",
    "soft": None,
    "intensity": 75,
    "valence": 2,
    "arousal": 8,
    "confidence": 50,
    "cannot_tell": False,
    "flag": "noise",
    "comment": "  кричит, «нет»; <b>&\n",
    "replays": 2,
    "first_play_ended_at": "2026-03-01T12:00:00.250Z",
    "reaction_ms": 834,
}


def test_a_full_answer_is_read_field_by_field():
    answer = checked(Answer.from_json(json.loads(json.dumps(FULL))), SEVEN, Design())
    assert (answer.label, answer.intensity, answer.valence, answer.arousal, answer.confidence) == ("anger", 75, 2, 8, 50)
    assert answer.comment == "кричит, «нет»; <b>&"
    assert answer.first_play_ended_at == datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)
    assert Answer.from_json(answer.to_json()) == answer


@pytest.mark.parametrize("value", [{"label": "anger"}, {"cannot_tell": True}, {"flag": "technical fault"}])
def test_a_label_or_cannot_tell_or_a_flag_is_enough(value):
    answer = Answer.from_json(value)
    assert checked(answer, SEVEN, Design()) == answer


@pytest.mark.parametrize(
    ("soft", "label"), [({"anger": 0.6, "fear": 0.4}, "anger"), ({"anger": 0.5, "fear": 0.5}, None), ({"fear": 1}, "fear")]
)
def test_the_label_of_a_soft_answer_is_its_largest_share_where_one_is(soft, label):
    answer = checked(Answer.from_json({"soft": soft}), SEVEN, Design(soft_labels=True))
    assert answer.label == label
    assert answer.soft == soft


FAULTS = {
    "another label": ({"label": "joy"}, "'joy' is not a label of this study"),
    "no label": ({}, "Choose a label"),
    "both": ({"label": "anger", "cannot_tell": True}, "not both"),
    "flag": ({"flag": "boring"}, "'boring' is not a reason to flag"),
    "intensity": ({"label": "anger", "intensity": 101}, "intensity lies between 0 and 100, not at 101"),
    "valence": ({"label": "anger", "valence": 0}, "valence lies between 1 and 9, not at 0"),
    "arousal": ({"label": "anger", "arousal": 10}, "arousal lies between 1 and 9, not at 10"),
    "confidence": ({"label": "anger", "confidence": -1}, "confidence lies between 0 and 100, not at -1"),
    "half": ({"label": "anger", "valence": 2.5}, "valence is a whole number, not '2.5'"),
    "truth": ({"label": "anger", "valence": True}, "valence is a whole number, not 'True'"),
    "not a number": ({"label": "anger", "reaction_ms": float("nan")}, "reaction in ms is a whole number"),
    "word": ({"label": 3}, "label is a text, not '3'"),
    "long comment": ({"label": "anger", "comment": "a" * 2001}, "comment has 2001 characters"),
    "no text": ({"label": "anger", "comment": "a\0b"}, "character in it that no text has"),
    "half a character": ({"label": "anger", "comment": "\ud83d"}, "character in it that no text has"),
    "replays": ({"label": "anger", "replays": 4}, "may be replayed 3 times here, not 4 times"),
    "negative replays": ({"label": "anger", "replays": -1}, "replays cannot be negative"),
    "time": ({"label": "anger", "first_play_ended_at": "yesterday"}, "is a time such as"),
    "reaction": ({"label": "anger", "reaction_ms": -1}, "reaction time cannot be negative"),
    "sum": ({"soft": {"anger": 0.5, "fear": 0.4}}, "add up to 1; these add up to 0.9"),
    "share": ({"soft": {"anger": 1.5, "fear": -0.5}}, "between 0 and 1"),
    "no number": ({"soft": {"anger": "much"}}, "are numbers between 0 and 1"),
    "a share too large to count": ({"soft": {"anger": 10**400}}, "are numbers between 0 and 1"),
    "soft label": ({"soft": {"joy": 1}}, "'joy' is not a label"),
    "empty soft": ({"soft": {}}, "shares of 1 to 9 labels"),
    "soft with another label": ({"soft": {"anger": 0.6, "fear": 0.4}, "label": "fear"}, "has not the largest share"),
    "unknown field": ({"label": "anger", "mood": 3}, "no field 'mood'"),
    "truth of cannot tell": ({"cannot_tell": "yes"}, "true or false"),
    "list": (["anger"], "An answer is an object"),
}


@pytest.mark.parametrize(("value", "says"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_one_sentence(value, says):
    with pytest.raises(StudyError) as found:
        checked(Answer.from_json(value), SEVEN, Design(soft_labels=True, most_replays=3))
    assert says in str(found.value)
    assert is_one_sentence(str(found.value))


@pytest.mark.parametrize(
    ("field", "value", "design"),
    [
        ("intensity", 50, Design(ask_intensity=False)),
        ("confidence", 50, Design(ask_confidence=False)),
        ("valence", 5, Design(ask_valence_arousal=False)),
        ("comment", "loud", Design(ask_comment=False)),
        ("soft", {"anger": 1.0}, Design()),
    ],
)
def test_what_is_not_asked_is_not_taken(field, value, design):
    with pytest.raises(StudyError, match=r"not ask(ed)? for"):
        checked(Answer.from_json({"label": "anger", field: value}), SEVEN, design)
