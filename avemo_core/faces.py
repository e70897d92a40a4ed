"""Frames -> faces: MTCNN on some frames, tracked between, every person a track of aligned crops."""

import itertools
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from .types import FACE_SIZE, FaceTrack

# Where the five landmarks (eyes, nose, mouth corners) lie in an aligned crop, as shares of its side: their medians over
# 357 pictures of the face branch's own training set, made symmetric, so that video is framed like what it learned from.
TEMPLATE = np.array([[0.313, 0.390], [0.687, 0.390], [0.500, 0.602], [0.345, 0.790], [0.655, 0.790]])
DETECT_SIDE = 480  # pixels of the longer side at which faces are looked for
SMALLEST = 36  # pixels, at that size
CERTAIN = 0.90  # a cartoon scores about 0.73, photographed faces nearly always above 0.99
STRIDE = 3  # every third sampled frame is searched; between, landmarks move on straight lines
LOST_AFTER_S = 1.5  # a face that comes back later starts a new track
MOVED = 0.35  # of the face's width between searched frames: too far for a straight line
BATCH = 8  # frames searched at once


@dataclass(frozen=True)
class Detections:
    """Faces of one frame, largest first."""

    boxes: np.ndarray  # [m,4] x0, y0, x1, y1
    landmarks: np.ndarray  # [m,5,2]
    probability: np.ndarray  # [m]


NOTHING = Detections(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0))


class Detector:
    """MTCNN (Zhang et al. 2016) from facenet-pytorch; its weights come with the package."""

    def __init__(self, device: str = "cpu", side: int = DETECT_SIDE, smallest: int = SMALLEST):
        from facenet_pytorch import MTCNN

        self.side, self.smallest = side, smallest
        self.network = MTCNN(keep_all=True, min_face_size=smallest, device=device, post_process=False)

    def find(self, frames: np.ndarray) -> list[Detections]:
        """uint8 [n,H,W,3] -> faces of every frame in its own pixels; a frame smaller than the smallest face has none."""
        if frames.ndim != 4 or frames.shape[3] != 3:
            raise ValueError(f"Expected frames of shape [n,H,W,3]; got {frames.shape}.")
        _, height, width, _ = frames.shape
        scale = min(1.0, self.side / max(height, width))
        size = (round(width * scale), round(height * scale))
        if min(size) < self.smallest:  # MTCNN fails on these
            return [NOTHING] * len(frames)
        if scale < 1:
            frames = np.stack([np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BILINEAR)) for f in frames])
        ratio = np.array([width / frames.shape[2], height / frames.shape[1]])
        found: list[Detections] = []
        for start in range(0, len(frames), BATCH):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # ragged results make it warn about object arrays
                boxes, probability, points = self.network.detect(frames[start : start + BATCH], landmarks=True)
            found += [self._one(b, p, q, ratio) for b, p, q in zip(boxes, probability, points, strict=True)]
        return found

    @staticmethod
    def _one(boxes, probability, points, ratio: np.ndarray) -> Detections:
        if boxes is None:
            return NOTHING
        boxes, points = np.asarray(boxes, float) * np.tile(ratio, 2), np.asarray(points, float) * ratio
        probability = np.asarray(probability, float)
        keep = (probability >= CERTAIN) & np.isfinite(boxes).all(1) & _upright(points)
        boxes, points, probability = boxes[keep], points[keep], probability[keep]
        order = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
        return Detections(boxes[order], points[order], probability[order])


def _upright(points: np.ndarray) -> np.ndarray:
    """[m,5,2] -> bool [m]: the eyes lie above the mouth; an upside-down face cannot be read."""
    return points[:, :2, 1].mean(1) < points[:, 3:, 1].mean(1)


def placement(landmarks: np.ndarray) -> tuple[complex, complex]:
    """Landmarks [5,2] in a frame -> (factor, offset) of the best similarity transform (Umeyama 1991), in complex numbers.

    A point x + iy of the crop, in its own pixels, lies at factor * (x + iy) + offset in the frame.
    """
    wanted = TEMPLATE * FACE_SIZE
    source, target = landmarks - landmarks.mean(0), wanted - wanted.mean(0)
    # In complex numbers a similarity is one factor: target = factor * source.
    z, w = source[:, 0] + 1j * source[:, 1], target[:, 0] + 1j * target[:, 1]
    spread = (np.abs(z) ** 2).sum()
    factor = (z.conj() * w).sum() / spread if spread > 0 else 0
    inverse = 1 / factor if abs(factor) >= 1e-6 else 1.0
    return complex(inverse), complex(complex(*landmarks.mean(0)) - inverse * complex(*wanted.mean(0)))


def align(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Frame uint8 [H,W,3] and landmarks [5,2] -> crop uint8 [64,64,3], placed as `placement` says."""
    factor, offset = placement(landmarks)
    # PIL asks where each crop pixel comes from; averaging over its footprint first keeps small crops of large faces clean.
    shrink = max(1, int(abs(factor)))
    image = Image.fromarray(frame)
    if shrink > 1:
        centre, reach = landmarks.mean(0), abs(factor) * FACE_SIZE
        left, top = np.maximum(np.floor(centre - reach), 0).astype(int)
        right, bottom = np.ceil(centre + reach).astype(int)
        right, bottom = min(right, frame.shape[1]), min(bottom, frame.shape[0])
        if right > left and bottom > top:
            image = image.crop((left, top, right, bottom)).reduce(shrink)
            offset = (offset - complex(left, top)) / shrink
            factor = factor / shrink
    matrix = (factor.real, -factor.imag, offset.real, factor.imag, factor.real, offset.imag)
    crop = image.transform((FACE_SIZE, FACE_SIZE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.asarray(crop)


@dataclass(eq=False)  # a person is the same object, not equal arrays
class _Person:
    """A track that is still growing: one entry for each sampled frame in which it was seen."""

    rows: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)
    crops: list[np.ndarray] = field(default_factory=list)
    quality: list[float] = field(default_factory=list)

    def distance(self, box: np.ndarray) -> float:
        """Between centres, in widths of the larger box; infinite where sizes differ more than twofold."""
        last = self.boxes[-1]
        sizes = sorted((last[2] - last[0], box[2] - box[0]))
        if sizes[1] > 2 * sizes[0]:
            return np.inf
        return float(np.hypot(*((last[:2] + last[2:]) / 2 - (box[:2] + box[2:]) / 2)) / sizes[1])


def _match(boxes: np.ndarray, others: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of the nearest boxes of two frames, nearest first, each box once, centres under one width apart."""
    if not len(boxes) or not len(others):
        return []
    centre, other = (boxes[:, :2] + boxes[:, 2:]) / 2, (others[:, :2] + others[:, 2:]) / 2
    distance = np.linalg.norm(centre[:, None] - other[None], axis=2) / (boxes[:, 2] - boxes[:, 0])[:, None].clip(1)
    pairs = []
    while np.isfinite(distance).any() and distance.min() < 1.0:
        i, j = np.unravel_index(distance.argmin(), distance.shape)
        pairs.append((int(i), int(j)))
        distance[i], distance[:, j] = np.inf, np.inf
    return pairs


def _between(left: Detections, right: Detections, share: float) -> Detections:
    """Faces on straight lines between those of two searched frames."""
    pairs = _match(left.boxes, right.boxes)
    rows, columns = [i for i, _ in pairs], [j for _, j in pairs]

    def mix(name: str) -> np.ndarray:
        return getattr(left, name)[rows] * (1 - share) + getattr(right, name)[columns] * share

    return Detections(mix("boxes"), mix("landmarks"), mix("probability"))


def _steady(left: Detections, right: Detections) -> bool:
    """The same faces in both frames, none far from where it was: what lies between needs no search."""
    if len(left.boxes) != len(right.boxes):
        return False
    pairs = _match(left.boxes, right.boxes)
    if len(pairs) != len(left.boxes):
        return False
    return all(
        np.hypot(*(left.boxes[i, :2] - right.boxes[j, :2])) < MOVED * (left.boxes[i, 2] - left.boxes[i, 0]) for i, j in pairs
    )


def _search(frames: np.ndarray, detector: Detector) -> list[Detections]:
    """Faces of every frame: every STRIDE-th is searched, and the rest only where something changed between."""
    count = len(frames)
    keys = sorted({*range(0, count, STRIDE), count - 1})
    found: dict[int, Detections] = dict(zip(keys, detector.find(frames[keys]), strict=True))
    restless = [
        row
        for first, last in itertools.pairwise(keys)
        if not _steady(found[first], found[last])
        for row in range(first + 1, last)
    ]
    if restless:
        found |= dict(zip(restless, detector.find(frames[restless]), strict=True))
    for first, last in itertools.pairwise(keys):
        for row in range(first + 1, last):
            if row not in found:
                found[row] = _between(found[first], found[last], (row - first) / (last - first))
    return [found[row] for row in range(count)]


def _assign(people: list[_Person], detections: Detections, frame: np.ndarray, row: int, time_s: float) -> None:
    """Gives every face of a frame to the nearest person seen lately, or to a new one."""
    free = [p for p in people if time_s - p.times[-1] <= LOST_AFTER_S]
    for box, points, probability in zip(detections.boxes, detections.landmarks, detections.probability, strict=True):
        # someone unseen for a moment may have moved further
        near = [(p.distance(box) / (1 + time_s - p.times[-1]), p) for p in free]
        distance, person = min(near, key=lambda pair: pair[0], default=(np.inf, None))
        if person is None or distance > 1.0:
            person = _Person()
            people.append(person)
        else:
            free.remove(person)
        person.rows.append(row)
        person.times.append(time_s)
        person.boxes.append(box)
        person.landmarks.append(points)
        person.crops.append(align(frame, points))
        person.quality.append(float(probability))


def track(
    chunks: Iterable[tuple[np.ndarray, np.ndarray]],
    detector: Detector,
    scale: float = 1.0,
    progress: Callable[[int], None] | None = None,
) -> tuple[FaceTrack, ...]:
    """Chunks of frames (uint8 [n,H,W,3], seconds [n]) -> one track a person, the largest first.

    `scale` turns the pixels of these frames into source pixels. `progress` gets the number of frames done.
    """
    people: list[_Person] = []
    times: list[float] = []
    for frames, seconds in chunks:
        for frame, detections, time_s in zip(frames, _search(frames, detector), seconds, strict=True):
            _assign(people, detections, frame, len(times), float(time_s))
            times.append(float(time_s))
        if progress is not None:
            progress(len(times))
    shortest = min(len(times), max(2, round(0.04 * len(times))))
    people = [p for p in people if len(p.rows) >= shortest]
    people.sort(key=lambda p: -sum(float(np.prod(box[2:] - box[:2])) for box in p.boxes))
    return tuple(_finish(person, n, np.array(times), scale) for n, person in enumerate(people))


def _finish(person: _Person, track_id: int, times: np.ndarray, scale: float) -> FaceTrack:
    count = len(times)
    boxes, landmarks = np.zeros((count, 4), np.float32), np.zeros((count, 5, 2), np.float32)
    crops = np.zeros((count, FACE_SIZE, FACE_SIZE, 3), np.uint8)
    present, quality = np.zeros(count, bool), np.zeros(count, np.float32)
    rows = person.rows
    boxes[rows], landmarks[rows] = np.array(person.boxes) * scale, np.array(person.landmarks) * scale
    crops[rows], present[rows], quality[rows] = np.array(person.crops), True, person.quality
    return FaceTrack(track_id, times, boxes, landmarks, crops, present, quality)
