"""The seven emotions as everything shows them, and what other label sets call them."""

from xml.etree import ElementTree

import numpy as np
import pytest

from avemo_core import labels


def luminance(colour: str) -> float:
    """WCAG 2 relative luminance of #RRGGBB."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_order_is_fixed():
    assert labels.LABELS == ("neutral", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
    assert labels.K == 7 and [labels.index(name) for name in labels.LABELS] == list(range(7))


@pytest.mark.parametrize("mark", ["russian", "letter", "key", "symbol", "icon"])
def test_no_two_emotions_share_a_mark(mark):
    assert len({getattr(e, mark) for e in labels.EMOTIONS.values()}) == labels.K


def test_keys_are_the_digits_in_order():
    assert [e.key for e in labels.EMOTIONS.values()] == list("1234567")


@pytest.mark.parametrize("emotion", labels.EMOTIONS.values(), ids=labels.LABELS)
def test_text_can_be_read_on_its_own_tint_and_lines_on_the_page(emotion):
    for colours, page in ((emotion.light, "#FFFFFF"), (emotion.dark, "#171B22")):
        assert contrast(colours.ink, colours.tint) >= 4.5
        assert contrast(colours.ink, page) >= 4.5
        assert contrast(colours.line, page) >= 3


@pytest.mark.parametrize("emotion", labels.EMOTIONS.values(), ids=labels.LABELS)
def test_icon_is_a_piece_of_svg(emotion):
    assert len(ElementTree.fromstring(f"<svg>{emotion.icon}</svg>"))


@pytest.mark.parametrize(
    ("corpus", "ours"), [("anger", "anger"), ("calm", "neutral"), ("contempt", None), ("boredom", None), ("", None)]
)
def test_corpus_labels_are_mapped_or_left_out_never_guessed(corpus, ours):
    assert labels.from_corpus(corpus) == ours


def test_every_alias_leads_to_one_of_the_seven():
    assert {target for table in labels.ALIASES.values() for target in table.values()} <= set(labels.LABELS)


def test_unknown_label_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"'joy'.*neutral, happiness, sadness"):
        labels.index("joy")


def test_named_keeps_the_order_and_wants_all_seven():
    assert list(labels.named(np.arange(7.0)).items()) == list(zip(labels.LABELS, range(7), strict=True))
    with pytest.raises(ValueError):
        labels.named(np.ones(6))
