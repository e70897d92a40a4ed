"""A photo or drawing -> one upright RGB array, its size checked before any pixel is decoded."""

from typing import Any

from .channel import Refusal
from .opening import AGAIN, too_large


def shrunk(width: int, height: int, max_side: int) -> tuple[int, int]:
    scale = min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def open_image(path: str, kind: str, limits: dict[str, Any]) -> Any:
    """A Pillow image of which only the header was read, within the pixel limit."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the check below is ours, and comes before any pixel
    try:
        image = Image.open(path, formats=(kind.upper(),))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise Refusal(f"This picture is broken: its header cannot be read; {AGAIN}.") from error
    if image.width * image.height > limits["max_pixels"]:
        raise Refusal(too_large(image.width, image.height, limits))
    return image


def load_image(path: str, kind: str, max_side: int, limits: dict[str, Any]) -> Any:
    """uint8 [H,W,3], upright by its EXIF orientation, transparent parts on white."""
    import numpy as np
    from PIL import Image, ImageOps

    with open_image(path, kind, limits) as image:
        width, height = image.size
        target = shrunk(width, height, max_side)
        try:
            image.draft("RGB", target)  # a JPEG decodes at a fraction of its size
            image.load()
            picture = ImageOps.exif_transpose(image)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise whatever they meet
            raise Refusal(f"This picture is cut off or damaged and cannot be shown whole; {AGAIN}.") from error
        if picture.mode.startswith("I"):  # 16 bits a pixel
            picture = Image.fromarray((np.asarray(picture, np.int64).clip(0, 65535) >> 8).astype(np.uint8))
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = picture.convert("RGB")
        size = target[::-1] if (picture.width > picture.height) != (width > height) else target
        if picture.size != size and picture.size != size[::-1]:
            picture = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)
        return np.array(picture)


def probe_image(path: str, kind: str, limits: dict[str, Any]) -> dict[str, Any]:
    with open_image(path, kind, limits) as image:
        width, height = image.size
    load_image(path, kind, 64, limits)  # first, for what follows reads on in the file
    with open_image(path, kind, limits) as image:
        turn = image.getexif().get(0x0112, 1)
        moving = getattr(image, "n_frames", 1) > 1 and kind != "jpeg"
    if turn in (5, 6, 7, 8):
        width, height = height, width
    return {
        "container": kind,
        "duration_s": 0.0,
        "video": [kind, width, height, 0.0, 0.0],
        "audio": [],
        "rotation": {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}.get(turn, 0),
        "is_image": True,
        "warnings": ["The picture moves; only its first frame is read."] if moving else [],
    }
