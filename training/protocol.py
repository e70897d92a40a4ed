"""Who is in which part. People never cross parts; dev people choose settings and calibrate, test people choose nothing."""

from collections.abc import Iterable

# Dev people of the default checkpoint: four RAVDESS actors (two men, two women), one speaker or more of every other
# voice corpus, two Java-SED actors (a woman, a man) with all takes, since these are the only real pairs. Chosen by name
# before any training.
DEV = {
    "ravdess": {"ravdess_09", "ravdess_10", "ravdess_19", "ravdess_20"},
    "emodb": {"emodb_16"},
    "nemo": {"nemo_KS0"},
    "ased": {"ased_17", "ased_23", "ased_33", "ased_41"},
    "java_sed": {"java_sed_02", "java_sed_08"},
    "java_sed_voice": {"java_sed_02", "java_sed_08"},
}


VOICE_CORPORA = ("ravdess", "emodb", "nemo", "ased", "java_sed", "java_sed_voice")


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
