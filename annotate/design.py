"""How a study is run: passes, ratings per clip, gold, repeats, order, breaks, what is asked. Plain data, checked once."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .schema import MODALITIES
from .store import StudyError

ENDLESS = 1000  # ratings per clip: as many as there are raters


@dataclass(frozen=True)
class Design:
    """`replications` ratings per clip and pass, ENDLESS for one of every rater. With a `stop_width` it is the smallest
    number, and more are asked for, up to `most_replications`, until the 95 % interval of the leading label's share
    (Dirichlet posterior, prior of Perks) is narrower than that."""

    passes: tuple[str, ...] = ("voice",)
    replications: int = 3
    stop_width: float | None = None
    most_replications: int = 8
    repeat_share: float = 0.05  # of a rater's clips, shown again later
    gold_every: int = 20  # a gold clip about every so many, where there are any
    blocks: int = 4  # of the Latin square
    seed: int = 0
    break_every: int = 50  # clips between suggested breaks
    break_minutes: int = 5
    most_replays: int | None = None
    lease_minutes: float = 15.0
    soft_labels: bool = False
    ask_intensity: bool = True
    ask_confidence: bool = True
    ask_valence_arousal: bool = True
    ask_comment: bool = True
    texts: dict[str, dict[str, str]] = field(default_factory=dict)  # language -> {instruction: ..., question: ...}

    def __post_init__(self) -> None:
        def need(holds: bool, sentence: str) -> None:
            if not holds:
                raise StudyError(sentence)

        known = f"the passes are {', '.join(MODALITIES)}"
        need(bool(self.passes) and set(self.passes) <= set(MODALITIES), f"There is no pass {self.passes!r}; {known}.")
        need(len(set(self.passes)) == len(self.passes), f"A pass stands twice in {self.passes!r}.")
        need(1 <= self.replications <= ENDLESS, f"A clip needs 1 to {ENDLESS} ratings; {self.replications} were asked for.")
        need(
            self.stop_width is None or 0 < self.stop_width < 1,
            f"A stopping width lies between 0 and 1, not {self.stop_width}.",
        )
        need(
            self.stop_width is None or self.most_replications >= self.replications,
            f"At most {self.most_replications} ratings cannot be fewer than the smallest number, {self.replications}.",
        )
        need(0 <= self.repeat_share <= 0.5, f"Between 0 and 0.5 of the clips can be repeats, not {self.repeat_share}.")
        need(self.gold_every >= 2, f"A gold clip can come every 2 clips or more rarely, not every {self.gold_every}.")
        need(1 <= self.blocks <= 26, f"A study has 1 to 26 blocks, not {self.blocks}.")
        need(self.break_every >= 0 and self.break_minutes >= 0, "Breaks cannot be negative.")
        need(self.most_replays is None or self.most_replays >= 0, "The number of replays cannot be negative.")
        need(0.1 <= self.lease_minutes <= 24 * 60, f"A clip is held 0.1 to 1440 minutes, not {self.lease_minutes}.")

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "passes": list(self.passes)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Design":
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(value) - known):
            raise StudyError(f"A study has no setting {unknown[0]!r}; its settings are {', '.join(sorted(known))}.")
        try:
            return cls(**{**value, "passes": tuple(value.get("passes", ("voice",)))})
        except TypeError as error:
            raise StudyError(f"The study's settings have another form than expected ({error}).") from error
