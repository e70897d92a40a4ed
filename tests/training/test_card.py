"""The card: its numbers are those of the results, and a part that has no place is not lost in silence."""

import json

import pytest

from training import card


def test_the_card_says_what_the_results_say():
    text = card.CARD.read_text(encoding="utf-8")
    assert card.filled(text, card.parts()) == text, "run python -m training.card"


def test_parts_go_to_their_places_and_nothing_else_moves():
    text = "a\n<!-- one -->\nold | \\1\nlines\n<!-- /one -->\nb\n<!-- two -->\n<!-- /two -->\n"
    once = card.filled(text, {"one": "new \\g<0>", "two": "x"})
    assert once == "a\n<!-- one -->\nnew \\g<0>\n<!-- /one -->\nb\n<!-- two -->\nx\n<!-- /two -->\n"
    assert card.filled(once, {"one": "new \\g<0>", "two": "x"}) == once
    with pytest.raises(ValueError, match="The card has no place for three; write <!-- three --> and <!-- /three -->"):
        card.filled(text, {"three": "x"})


@pytest.mark.parametrize(
    ("value", "aim", "floor", "said"),
    [(0.62, 0.75, 0.62, "floor met"), (0.75, 0.75, 0.62, "aim met"), (0.61, 0.75, 0.62, "**falls short**")],
)
def test_what_a_score_came_to(value, aim, floor, said):
    assert card.against(value, aim, floor) == said
    assert card.against(-0.05, -0.03, -0.05) == "floor met"  # less is better: both with a minus


def test_confusions_are_shares_of_their_class():
    counts = [[8, 2, 0], [0, 1, 1], [30, 0, 70]]
    said = card.confusions("here", {"confusion": {"labels": ["a", "b", "c"], "rows_truth": counts}})
    assert said == "- Worst confusions, here: b read as c (1 of 2); c read as a (30 of 100); a read as b (2 of 10)."


def test_missing_results_are_named_in_one_sentence(tmp_path, capsys):
    assert card.main(["--results", str(tmp_path)]) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith("ferplus.json is not there; python -m training.evaluate --json prints it.")
    with pytest.raises(FileNotFoundError, match=r"ravdess-split-8 holds no fold; run python -m training\.crossval first\."):
        card.read_folds(tmp_path / "ravdess-split-8")


def test_reports_of_another_checkpoint_are_refused(tmp_path):
    for name in ("ferplus", *(f"grid-{modality}" for modality in ("face", "voice", "both"))):
        (tmp_path / f"{name}.json").write_text(json.dumps({"checkpoint": "attention_cam-00000000"}))
    with pytest.raises(ValueError, match="Some reports are of attention_cam-00000000, the checkpoint is attention_cam-"):
        card.parts(tmp_path)
