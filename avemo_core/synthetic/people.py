"""Who is drawn and what the face does: people by proportions and colours, expressions by action units."""

from dataclasses import asdict, dataclass, fields, replace

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Expression:
    """Facial action units, 0 (at rest) to 1 (full), named for what moves; FACS numbers in the comments."""

    inner_brow_raise: float = 0.0  # AU1
    outer_brow_raise: float = 0.0  # AU2
    brow_lower: float = 0.0  # AU4
    lid_raise: float = 0.0  # AU5
    cheek_raise: float = 0.0  # AU6
    lid_tighten: float = 0.0  # AU7
    nose_wrinkle: float = 0.0  # AU9
    upper_lip_raise: float = 0.0  # AU10
    lip_corner_pull: float = 0.0  # AU12
    lip_corner_depress: float = 0.0  # AU15
    chin_raise: float = 0.0  # AU17
    lip_stretch: float = 0.0  # AU20
    lip_tighten: float = 0.0  # AU23
    lips_part: float = 0.0  # AU25
    jaw_drop: float = 0.0  # AU26
    lid_droop: float = 0.0  # AU43, partly closed; 1 is a shut eye

    def scaled(self, strength: float) -> "Expression":
        """The same expression, weaker: every unit times `strength`."""
        return Expression(**{name: value * strength for name, value in asdict(self).items()})

    def also(self, **units: float) -> "Expression":
        """With some units raised to at least the given value (a mouth that speaks, an eye that blinks)."""
        return replace(self, **{name: max(getattr(self, name), value) for name, value in units.items()})


EXPRESSIONS: dict[str, Expression] = {
    "neutral": Expression(),
    "happiness": Expression(cheek_raise=0.9, lip_corner_pull=1.0, lips_part=1.0, jaw_drop=0.1, upper_lip_raise=0.5),
    "sadness": Expression(
        inner_brow_raise=1.0,
        brow_lower=0.5,
        lip_corner_depress=1.0,
        chin_raise=0.7,
        lid_droop=0.38,
        cheek_raise=0.35,
        nose_wrinkle=0.15,
    ),
    "anger": Expression(
        brow_lower=1.0,
        lid_raise=0.4,
        lid_tighten=0.6,
        nose_wrinkle=0.85,
        upper_lip_raise=0.7,
        lip_corner_depress=0.5,
        lip_stretch=0.45,
        lips_part=0.8,
        jaw_drop=0.4,
        lip_tighten=0.35,
    ),
    "fear": Expression(
        inner_brow_raise=1.0,
        outer_brow_raise=0.2,
        brow_lower=0.65,
        lid_raise=1.0,
        lip_stretch=1.0,
        lips_part=0.7,
        jaw_drop=0.2,
    ),
    "disgust": Expression(
        nose_wrinkle=1.0,
        upper_lip_raise=1.0,
        brow_lower=0.6,
        lid_tighten=0.8,
        cheek_raise=0.7,
        lip_corner_depress=0.55,
        lips_part=0.5,
        jaw_drop=0.2,
    ),
    "surprise": Expression(inner_brow_raise=1.0, outer_brow_raise=1.0, lid_raise=0.95, lips_part=0.5, jaw_drop=0.9),
}


def expression(of: Expression | dict[str, float] | str) -> Expression:
    """An Expression from itself, from action units by name, or from the name of an emotion."""
    if isinstance(of, Expression):
        return of
    if isinstance(of, str):
        if of not in EXPRESSIONS:
            raise ValueError(f"Unknown expression {of!r}; choose one of {', '.join(EXPRESSIONS)}.")
        return EXPRESSIONS[of]
    known = {field.name for field in fields(Expression)}
    if unknown := sorted(set(of) - known):
        raise ValueError(f"Unknown action units {unknown}; choose from {', '.join(sorted(known))}.")
    return Expression(**of)


@dataclass(frozen=True)
class Person:
    """Lengths are relative to the usual adult (1.0); F0 in hertz."""

    name: str
    skin: RGB = (226, 178, 150)
    hair: RGB = (74, 50, 36)
    iris: RGB = (92, 68, 44)
    clothes: RGB = (72, 98, 124)
    style: str = "short"  # of the hair: short, bob, long, crop, bun
    jaw: float = 1.0  # width of the lower face
    chin: float = 1.0  # length below the mouth
    eyes: float = 1.0  # size
    nose: float = 1.0  # size
    lips: float = 1.0  # thickness
    lip_red: float = 0.5  # how far the lips are from the skin's colour
    brows: float = 1.0  # thickness
    low: float = 0.0  # how far the features sit below an adult's; a child's 0.1
    neck: float = 1.0  # width
    stubble: float = 0.0
    f0: float = 120.0  # of calm speech
    tract: float = 1.0  # vocal-tract length; formants are divided by it
    breath: float = 0.06  # noise in the voice


PEOPLE: dict[str, Person] = {
    p.name: p
    for p in (
        Person(
            "mara",
            (229, 182, 156),
            (64, 40, 30),
            (84, 62, 40),
            (58, 104, 116),
            "bob",
            jaw=0.93,
            eyes=1.06,
            nose=0.9,
            lips=1.1,
            lip_red=0.75,
            brows=0.85,
            neck=0.86,
            f0=205.0,
            tract=0.86,
            breath=0.09,
        ),
        Person(
            "ivan",
            (222, 172, 142),
            (92, 66, 44),
            (78, 98, 112),
            (78, 86, 104),
            "short",
            jaw=1.06,
            chin=1.05,
            nose=1.08,
            lips=0.9,
            lip_red=0.42,
            brows=1.2,
            neck=1.1,
            stubble=0.5,
            f0=115.0,
        ),
        Person(
            "amara",
            (146, 98, 70),
            (30, 23, 22),
            (54, 36, 26),
            (176, 112, 58),
            "bun",
            jaw=0.97,
            eyes=1.04,
            nose=1.02,
            lips=1.3,
            lip_red=0.6,
            brows=0.9,
            neck=0.88,
            f0=190.0,
            tract=0.87,
            breath=0.08,
        ),
        Person(
            "kenji",
            (232, 192, 158),
            (28, 26, 28),
            (50, 36, 28),
            (96, 112, 92),
            "crop",
            jaw=1.0,
            eyes=0.97,
            nose=0.97,
            lip_red=0.45,
            brows=1.0,
            f0=128.0,
            tract=0.98,
        ),
        Person(
            "lena",
            (240, 200, 178),
            (178, 132, 76),
            (86, 124, 138),
            (132, 92, 120),
            "long",
            jaw=0.92,
            eyes=1.05,
            nose=0.88,
            lips=1.02,
            lip_red=0.7,
            brows=0.8,
            neck=0.84,
            f0=220.0,
            tract=0.85,
            breath=0.12,
        ),
        Person(
            "noa",
            (236, 190, 162),
            (120, 82, 52),
            (96, 84, 52),
            (206, 150, 74),
            "crop",
            jaw=0.97,
            chin=0.84,
            eyes=1.22,
            nose=0.78,
            lips=0.95,
            lip_red=0.6,
            brows=0.7,
            low=0.1,
            neck=0.68,
            f0=290.0,
            tract=0.72,
        ),
    )
}
