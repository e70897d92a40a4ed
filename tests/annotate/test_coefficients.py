"""Alpha and kappa against other libraries, the literature's worked examples, and tables in which they are not defined."""

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from annotate import coefficients
from annotate.coefficients import alpha, cohen_kappa, coincidences, fleiss_kappa, fleiss_sums, interval, resampled

# Krippendorff 2011, part C: four observers, twelve units, five values, some missing.
WORKED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
)
# Fleiss 1971, table 1 as it is usually printed: ten subjects, fourteen raters, five categories.
FLEISS = np.array(
    [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ],
    float,
)  # fmt: skip


def counts_of(table: np.ndarray, values: range) -> np.ndarray:
    """Answers [raters, units], 0 missing, as counts [units, values]."""
    return np.stack([(table == value).sum(0) for value in values], 1).astype(float)


def test_krippendorffs_worked_example_comes_out_as_printed():
    counts = counts_of(WORKED, range(1, 6))
    assert round(alpha(counts, "nominal"), 3) == 0.743
    assert round(alpha(counts, "ordinal"), 3) == 0.815
    assert round(alpha(counts, "interval", range(1, 6)), 3) == 0.849


def test_krippendorffs_example_of_two_observers_and_binary_data():
    """Part A: ten articles, two observers."""
    table = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]) + 1
    assert round(alpha(counts_of(table, range(1, 3))), 3) == 0.095


def test_krippendorffs_example_of_two_observers_and_nominal_data():
    """Part B: twelve articles, two observers, values a to e."""
    table = np.array([list("aabbdcccedda"), list("babbbccceddd")])
    counts = np.stack([(table == value).sum(0) for value in "abcde"], 1).astype(float)
    assert round(alpha(counts), 3) == 0.692


def test_fleiss_worked_example_comes_out_as_printed():
    assert round(float(fleiss_kappa(fleiss_sums(FLEISS).sum(0))), 3) == 0.210


def test_cohens_kappa_of_a_table_by_hand():
    """20 + 15 of 50 the same: observed 0.7, by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa 0.4."""
    assert float(cohen_kappa(np.array([[20.0, 5.0], [10.0, 15.0]]))) == pytest.approx(0.4)


def random_tables(n: int) -> list[np.ndarray]:
    """Answers [raters, units] with 0 for missing: few and many raters, units and values, rare and common agreement."""
    random = np.random.default_rng(20260301)
    tables = []
    for _ in range(n):
        raters, units, values = random.integers(2, 9), random.integers(2, 60), random.integers(2, 10)
        truth = random.integers(1, values + 1, units)
        guesses = random.integers(1, values + 1, (raters, units))
        table = np.where(random.random((raters, units)) < random.random(), truth, guesses)
        table[random.random((raters, units)) < random.choice([0.0, 0.2, 0.6])] = 0
        tables.append(table)
    return tables


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
def test_alpha_is_that_of_krippendorffs_library_on_1000_random_tables(scale):
    compared = 0
    for table in random_tables(1000):
        counts = counts_of(table, range(1, 10))
        ours = alpha(counts, scale, range(1, 10))
        paired = counts[counts.sum(1) >= 2]
        if len(paired) == 0 or (paired.sum(0) > 0).sum() < 2:
            assert np.isnan(ours)
            continue
        theirs = krippendorff.alpha(
            value_counts=counts.astype(int), value_domain=np.arange(1, 10), level_of_measurement=scale
        )
        assert ours == pytest.approx(theirs, abs=1e-9)
        compared += 1
    assert compared > 950


def test_fleiss_kappa_is_that_of_statsmodels_on_1000_random_tables():
    random, compared = np.random.default_rng(1), 0
    for _ in range(1000):
        raters, units, values = random.integers(2, 15), random.integers(1, 60), random.integers(2, 9)
        counts = random.multinomial(raters, random.dirichlet(np.ones(values)), units).astype(float)
        ours = float(fleiss_kappa(fleiss_sums(counts).sum(0)))
        if (counts.sum(0) > 0).sum() < 2:
            assert np.isnan(ours)
            continue
        assert ours == pytest.approx(statsmodels_fleiss(counts, method="fleiss"), abs=1e-9)
        compared += 1
    assert compared > 950


def test_cohens_kappa_is_that_of_scikit_learn_on_1000_random_tables():
    random, compared = np.random.default_rng(2), 0
    for _ in range(1000):
        n, values = random.integers(1, 80), random.integers(2, 9)
        first = random.integers(0, values, n)
        second = np.where(random.random(n) < random.random(), first, random.integers(0, values, n))
        table = np.zeros((values, values))
        np.add.at(table, (first, second), 1)
        ours = float(cohen_kappa(table))
        if len({*first, *second}) < 2:
            assert np.isnan(ours)
            continue
        assert ours == pytest.approx(cohen_kappa_score(first, second, labels=range(values)), abs=1e-9)
        compared += 1
    assert compared > 950


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize(
    "counts", [np.zeros((0, 3)), np.zeros((4, 3)), np.eye(3), [[2, 0, 0], [3, 0, 0]], [[2, 0, 0], [0, 1, 0], [0, 0, 0]]]
)
def test_alpha_is_not_defined_without_pairs_or_with_one_value_only(counts, scale):
    assert np.isnan(alpha(counts, scale))


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
def test_full_agreement_is_one_and_an_answer_without_a_pair_changes_nothing(scale):
    counts = np.array([[3, 0, 0], [0, 2, 0], [0, 0, 4]], float)
    assert alpha(counts, scale) == pytest.approx(1)
    assert alpha(np.vstack([counts, [1, 0, 0]]), scale) == pytest.approx(1)


def test_large_interval_values_keep_their_digits():
    counts = counts_of(WORKED, range(1, 6))
    assert alpha(counts, "interval", np.arange(1, 6) + 1e6) == pytest.approx(
        alpha(counts, "interval", range(1, 6)), abs=1e-9
    )


def test_one_label_against_the_rest_is_alpha_of_the_merged_table():
    from annotate.agreement import one_against_rest

    counts = counts_of(random_tables(3)[2], range(1, 10))
    whole = coincidences(counts).sum(0)
    for i in range(9):
        merged = np.stack([counts[:, i], counts.sum(1) - counts[:, i]], 1)
        ours = float(coefficients.alpha_nominal(one_against_rest(whole, i)))
        assert ours == pytest.approx(alpha(merged), abs=1e-9, nan_ok=True)


def test_resamples_are_the_statistic_on_the_drawn_clips_and_the_same_every_time():
    counts = counts_of(random_tables(1)[0], range(1, 10))
    clips = np.arange(len(counts)) // 2  # two passes a clip
    drawn = resampled(coincidences(counts), clips, seed=5, times=50)
    assert np.array_equal(drawn, resampled(coincidences(counts), clips, seed=5, times=50))
    random = np.random.default_rng(5)
    names = np.unique(clips)
    for one in drawn:
        picked = random.integers(0, len(names), len(names))
        units = np.concatenate([np.flatnonzero(clips == names[p]) for p in picked])
        assert float(coefficients.alpha_nominal(one)) == pytest.approx(alpha(counts[units]), abs=1e-9, nan_ok=True)


def test_the_interval_covers_the_true_value_about_as_often_as_it_says():
    """200 studies drawn from 4,000 clips whose alpha is known; 95 % intervals of 60 clips each."""
    random = np.random.default_rng(3)
    truth = random.integers(0, 4, 4000)
    answers = np.where(random.random((3, 4000)) < 0.7, truth, random.integers(0, 4, (3, 4000))) + 1
    all_clips = counts_of(answers, range(1, 5))
    known, covered = alpha(all_clips), 0
    for i in range(200):
        parts = coincidences(all_clips[random.choice(4000, 60, replace=False)])
        low, high = interval(coefficients.alpha_nominal(resampled(parts, np.arange(60), seed=i, times=300)))
        covered += low <= known <= high
    assert 0.88 <= covered / 200 <= 0.99
