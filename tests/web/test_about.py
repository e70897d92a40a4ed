"""The About page says what the settings and the checkpoint's card say, and nothing else."""

import re
from copy import copy
from html import unescape

import pytest

from avemo_core.analyzer import Analyzer
from avemo_core.calibration import CONDITIONS
from avemo_core.labels import LABELS
from avemo_core.web.about import about_html, minutes
from avemo_core.web.services import MB, Settings

CARD = {
    "data": {"ravdess": 1234, "an_unknown_corpus": 77},
    "dev": {
        "none": {
            "voice": {"ravdess": {"n": 240, "accuracy": 0.4321, "uar": 0.4567}},
            "both": {"java_sed": {"n": 48, "accuracy": 0.6111, "uar": 0.5999}},
        },
        "unlabelled": {"both": {"java_sed": {"n": 48, "accuracy": 0.7111, "uar": 0.6999}}},
    },
}


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def with_card(analyzer: Analyzer, card: dict) -> Analyzer:
    other = copy(analyzer)
    other.card = card
    return other


def test_measured_numbers_stand_beside_their_n(analyzer: Analyzer) -> None:
    text = text_of(about_html(with_card(analyzer, CARD), Settings()))
    assert "Voice alone RAVDESS 240 0.43 0.46" in text
    assert "Both together Java-SED 48 0.61 0.60" in text
    assert "each read against a baseline of all of their clips" in text
    assert "Both together Java-SED 48 0.71 0.70" in text
    assert "acted speech, English, adults 1,234 CC BY-NC-SA 4.0" in text


def test_what_was_not_measured_is_not_there(analyzer: Analyzer) -> None:
    text = text_of(about_html(with_card(analyzer, {}), Settings()))
    assert "Nothing was measured for this checkpoint" in text
    assert "does not say what it was trained on" in text
    assert "Accuracy" not in text


def test_the_shipped_checkpoints_own_numbers_are_shown(analyzer: Analyzer) -> None:
    text = text_of(about_html(analyzer, Settings()))
    assert analyzer.model_id in text
    for condition in CONDITIONS:
        assert f"{analyzer.calibration.of(condition).threshold:.2f}" in text
    for kind in ("none", "unlabelled"):
        for numbers in (n for corpora in analyzer.card["dev"][kind].values() for n in corpora.values()):
            assert f"{numbers['n']:,} {numbers['accuracy']:.2f} {numbers['uar']:.2f}" in text


def test_times_and_limits_are_the_servers_own(analyzer: Analyzer) -> None:
    settings = Settings(keep_s=600, max_bytes=7 * MB, max_duration_s=90, results_per_visitor=3)
    text = text_of(about_html(analyzer, settings))
    assert "deleted 10 minutes after you last used them" in text
    assert "A clip may have 7 MB and 90 s. 3 readings" in text


def test_all_emotions_are_named_in_their_order(analyzer: Analyzer) -> None:
    html = about_html(analyzer, Settings())
    assert tuple(re.findall(r'class="chip em-(\w+)"', html)) == LABELS


@pytest.mark.parametrize(("seconds", "words"), [(1800, "30 minutes"), (60, "1 minute"), (90, "90 s"), (150, "2.5 minutes")])
def test_times_are_said_in_words(seconds: float, words: str) -> None:
    assert minutes(seconds) == words
