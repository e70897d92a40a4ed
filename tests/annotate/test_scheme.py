"""Label schemes: what a study lead may make up, and in which sentence the rest is refused."""

import pytest

from annotate.scheme import SCHEMES, Scheme
from annotate.store import StudyError

from ..conftest import is_one_sentence


def own(*labels: dict[str, object]) -> dict[str, object]:
    return {"name": "own", "labels": list(labels)}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.name)
def test_a_scheme_comes_back_from_json(scheme: Scheme):
    assert Scheme.from_json(scheme.to_json()) == scheme


def test_a_label_needs_no_more_than_a_name():
    (label,) = Scheme.from_json(own({"name": "спокойствие", "colour": ""})).labels
    assert (label.english, label.russian, label.colour) == ("спокойствие", "спокойствие", None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "A label scheme is"),
        ({"name": "own"}, "'labels' is missing"),
        (own(), "1 to 9 labels"),
        (own(*({"name": str(k)} for k in range(10))), "this one has 10"),
        (own({"name": "a"}, {"name": "a"}), "different names"),
        (own({"name": " "}), "1 to 40 letters"),
        (own({"name": "x" * 41}), "1 to 40 letters"),
        (own({"name": "a\ud800"}), "1 to 40 letters"),
        (own({"name": "a\0"}), "1 to 40 letters"),
        (own({"name": 7}), "has another form"),
        (own({"name": "a", "colour": "red"}), "#RRGGBB"),
        (own({"name": "a", "colour": "#12345;background:url(//elsewhere/x)"}), "#RRGGBB"),
        (own({"name": "a", "colour": {"x": 1}}), "has another form"),
    ],
)
def test_what_is_no_scheme_is_refused_in_one_sentence(given: object, says: str):
    with pytest.raises(StudyError) as refused:
        Scheme.from_json(given)
    assert says in str(refused.value)
    assert is_one_sentence(str(refused.value))
