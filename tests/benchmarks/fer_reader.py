"""Reads clips with fer==22.5.1 and MTCNN, in fer's own environment, told what to read by peer.py; imports nothing of ours.

One JSON line in, {"path", "per_second": null or a number}; one out, {"seconds", "processor_s", "frames", "with_face"}.
"""

import json
import os
import sys
import time


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the libraries print goes to the error stream
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # In this order: TensorFlow before torch dies in LLVM.
    import facenet_pytorch  # noqa: F401
    import torch  # noqa: F401
    import torchvision  # noqa: F401  # isort: skip
    from fer import FER  # isort: skip

    detector = FER(mtcnn=True)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        started, before = time.perf_counter(), time.process_time()
        frames, with_face = read(detector, asked["path"], asked["per_second"])
        told = {"seconds": time.perf_counter() - started, "processor_s": time.process_time() - before}
        print(json.dumps({**told, "frames": frames, "with_face": with_face}), file=answers, flush=True)


def read(detector, path: str, per_second: float | None) -> tuple[int, int]:
    """Frames read, and those with a face. What fer's Video.analyze does, without the video and pictures that it writes.

    per_second None: every frame. Otherwise the first frame at or after each k / per_second seconds.
    """
    import cv2

    video = cv2.VideoCapture(path)
    rate = video.get(cv2.CAP_PROP_FPS)
    k = frames = with_face = 0
    while True:
        there, frame = video.read()
        if not there:
            break
        if per_second is None or k / rate >= frames / per_second - 1e-6:
            frames += 1
            with_face += bool(detector.detect_emotions(frame))
        k += 1
    video.release()
    return frames, with_face


if __name__ == "__main__":
    main()
