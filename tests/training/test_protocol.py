"""Who is in which part: people never cross, in any fold of any corpus."""

from pathlib import Path

import pytest

from avemo_core.labels import LABELS
from training import crossval, protocol
from training.corpora import ferplus, manifest
from training.recipe import Corpora, labelled


def test_people_in_two_parts_are_refused():
    protocol.assert_disjoint({"training": ["a", "b", "a"], "dev": ["c"]})
    with pytest.raises(ValueError, match="Speaker b is in training and in dev"):
        protocol.assert_disjoint({"training": ["a", "b"], "dev": ["b"]})


def test_dev_people_of_paired_corpora_are_the_same():
    assert protocol.DEV["java_sed"] == protocol.DEV["java_sed_voice"] and set(protocol.DEV) == set(protocol.VOICE_CORPORA)
    assert protocol.is_dev("ravdess", "ravdess_09") and not protocol.is_dev("emodb", "ravdess_09")


@pytest.mark.real
def test_real_corpora_keep_people_apart_and_hold_every_dev_person(real_data):
    for name in protocol.VOICE_CORPORA:
        rows = manifest.read(real_data / name, name)
        people = {row.speaker for row in rows}
        assert protocol.DEV[name] <= people and len(people - protocol.DEV[name]) >= 4
        assert {row.label for row in rows} <= {*LABELS, None}


# ---------------------------------------------------------------- folds


def people_of(**corpora: int) -> dict[str, set[str]]:
    """That many speakers of each corpus, as the real ones are named."""
    return {name: {f"{name}_{n:02d}" for n in range(1, count + 1)} for name, count in corpora.items()}


def test_dev_people_of_a_fold_are_the_defaults_but_few_of_its_own_corpus():
    people = people_of(ravdess=20, ased=42, emodb=20)
    dev = protocol.fold_dev(people, "ravdess", {"ravdess_01"})
    assert dev == {"ravdess_09", "ravdess_10", "ased_17", "ased_23", "ased_33", "ased_41", "emodb_16"}
    dev = protocol.fold_dev(people, "ased", {"ased_17", "ased_23"})
    assert {name for name in dev if name.startswith("ased")} == {"ased_33", "ased_41"} and "ravdess_20" in dev


def test_where_the_dev_people_are_tested_others_stand_in():
    people = people_of(ravdess=20, emodb=16)
    dev = protocol.fold_dev(people, "ravdess", protocol.DEV["ravdess"])
    assert dev == {"ravdess_01", "ravdess_02", "emodb_16"}
    everyone = protocol.fold_dev(people, "ravdess", people["ravdess"])  # the whole corpus is tested
    assert everyone == {"emodb_16"}


def test_a_speaker_in_two_splits_is_refused_and_named(tmp_path):
    rows = [manifest.Row("ravdess", Path(f"{n}"), "fear", "fear", who, split, {}) for n, (who, split) in enumerate(SPLITS)]
    corpora = Corpora(tmp_path, rows, [], [], ferplus.Faces(*[rows] * 6))
    assert crossval.folds_of(corpora, "ravdess", "speaker") == {"ann": {"ann"}, "bob": {"bob"}, "cyd": {"cyd"}}
    assert crossval.folds_of(corpora, "ravdess", "corpus") == {"all": {"ann", "bob", "cyd"}}
    with pytest.raises(ValueError, match=r"Speaker bob is in split 0 and in split 1; every person belongs to one part\."):
        crossval.folds_of(corpora, "ravdess", "split")


SPLITS = [("ann", "0"), ("bob", "0"), ("bob", "1"), ("cyd", "1")]


@pytest.mark.real
@pytest.mark.parametrize("how", ["speaker", "split", "corpus"])
@pytest.mark.parametrize("corpus", protocol.VOICE_CORPORA)
def test_every_real_fold_keeps_its_people_apart_and_can_be_trained(real_data, corpus, how):
    rows = [row for name in protocol.VOICE_CORPORA for row in labelled(manifest.read(real_data / name, name))]
    corpora = Corpora(real_data, rows, [], [], ferplus.Faces(*[rows] * 6))
    folds = crossval.folds_of(corpora, corpus, how)
    own = {row.speaker for row in rows if row.corpus == corpus}
    twins = set(protocol.family(corpus))  # the same people in both
    assert set().union(*folds.values()) == own and sum(map(len, folds.values())) == len(own)
    for test in folds.values():
        train, dev = crossval.parts_of(corpora, corpus, test, how)
        protocol.assert_disjoint({"train": train, "dev": dev, "test": test})
        kept = [row for row in rows if row.corpus not in crossval.left_out(corpus, how)]
        assert {row.speaker for row in kept} | test == train | dev | test
        assert {row.label for row in kept if row.speaker in train} == set(LABELS)
        assert {row.corpus for row in kept if row.speaker in dev} >= {row.corpus for row in kept} - twins
        if how == "corpus":
            assert not any(row.speaker in train | dev for row in rows if row.corpus == corpus)
