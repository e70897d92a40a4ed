"""Who is in which part. People never cross parts; dev people choose settings and calibrate, test people choose nothing."""

from collections.abc import Iterable

# Dev people of the default checkpoint: four RAVDESS actors (two men, two women), one speaker or more of every other
# voice corpus, two Java-SED actors (a woman, a man) with all takes, since these are the only real pairs, eight children of
# ages 6 to 15. Chosen by name before any training.
DEV = {
    "ravdess": {"ravdess_09", "ravdess_10", "ravdess_19", "ravdess_20"},
    "emodb": {"emodb_16"},
    "nemo": {"nemo_KS0"},
    "ased": {"ased_17", "ased_23", "ased_33", "ased_41"},
    "java_sed": {"java_sed_02", "java_sed_08"},
    "java_sed_voice": {"java_sed_02", "java_sed_08"},
    "children": {
        *("so762_0048", "so762_0113", "so762_1404", "so762_2014", "so762_3068", "so762_5029", "so762_6010", "so762_8581"),
    },
}


STUDIO = ("ravdess", "emodb", "nemo", "ased")  # acted voices alone
READ = ("children",)  # sentences read aloud, unlabelled: they count as neutral talk, which acted corpora hold little of
PAIRS = "java_sed"  # real face and voice
VOICE_CORPORA = (*STUDIO, *READ, PAIRS, "java_sed_voice")
TWINS = {"java_sed": ("java_sed", "java_sed_voice"), "java_sed_voice": ("java_sed", "java_sed_voice")}  # the same people
FOLD_DEV = {"ravdess": 2, "ased": 2}  # dev people of a fold; one of every other corpus


def is_dev(corpus: str, speaker: str) -> bool:
    """Whether a speaker belongs to the dev people of the default checkpoint."""
    return speaker in DEV.get(corpus, set())


def assert_disjoint(parts: dict[str, Iterable[str]]) -> None:
    """ValueError naming the first speaker who stands in two parts."""
    seen: dict[str, str] = {}
    for part, speakers in parts.items():
        for speaker in set(speakers):
            if speaker in seen:
                raise ValueError(f"Speaker {speaker} is in {seen[speaker]} and in {part}; every person belongs to one part.")
            seen[speaker] = part


def family(corpus: str) -> tuple[str, ...]:
    """The corpora of the same people, this one among them."""
    return TWINS.get(corpus, (corpus,))


def fold_dev(people: dict[str, set[str]], corpus: str, test: set[str]) -> set[str]:
    """Dev people of one fold of `corpus`, none of them tested: the default's, but few of the tested corpus.

    Args:
        people: the speakers of each corpus.
        test: the speakers of the fold's test part.
    """
    dev: set[str] = set()
    for name, speakers in people.items():
        chosen = DEV.get(name, set())
        free = speakers - test
        if name in family(corpus) or not chosen & free:
            by_choice = sorted(free & chosen) + sorted(free - chosen)
            dev |= set(by_choice[: FOLD_DEV.get(name, 1)])
        else:
            dev |= chosen & free
    return dev
