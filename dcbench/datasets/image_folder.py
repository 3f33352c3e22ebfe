"""A folder of images, one sub-folder a class, decoded into memory once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcbench.datasets._base import Dataset, check_memory, from_arrays
from dcbench.errors import SpecError

READS_FOLDER = True
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
SPLIT_SEED = 0


def load(
    cache: Path | None,
    allow_download: bool,
    path: str | Path,
    image_size: Sequence[int] | None = None,
    test_fraction: float = 0.2,
) -> Dataset:
    """
    Load the images of a folder.

    Parameters
    ----------
    cache, allow_download
        Not used.
    path : str or Path
        Folder with one sub-folder of images (BMP, GIF, JPEG, PNG) a class.
    image_size : sequence of int, optional
        Height and width that images are resized to; by default the first image's.
    test_fraction : float
        Part of the images held out to test, drawn once with a fixed seed.

    Returns
    -------
    Dataset
        RGB inputs (examples, height, width, 3) from 0 to 1; classes in the order of the sub-folders' names.

    Raises
    ------
    SpecError
        If there are no such images, one cannot be decoded, or they take more than half of the memory that may be used.
    """
    folder = Path(path).expanduser()
    files = _files(folder)
    if not isinstance(test_fraction, int | float) or not 0 <= test_fraction < 1:
        raise SpecError(
            f"image folder {folder} is given test_fraction={test_fraction!r}; give a number from 0 to below 1"
        )
    size = _size(files[0], image_size)
    _check_memory(folder, len(files), size)
    classes = sorted({file.parent.name for file in files})
    x = np.stack([_decode(file, size) for file in files])
    y = np.array([classes.index(file.parent.name) for file in files], np.int32)
    shuffled = np.random.RandomState(SPLIT_SEED).permutation(len(files))
    test, train = np.split(shuffled, [int(len(files) * test_fraction)])
    held_out = (x[test], y[test]) if len(test) else None
    return from_arrays(folder.name, "folder", (x[train], y[train]), held_out, outputs=len(classes))


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SpecError(
            f"the image folder {folder} does not exist; give a folder with one sub-folder a class"
        )
    files = sorted(f for f in folder.glob("*/*") if f.suffix.lower() in SUFFIXES)
    if not files:
        raise SpecError(
            f"the image folder {folder} has no images in sub-folders ({', '.join(SUFFIXES)}); "
            "put the images of each class into a sub-folder of its own"
        )
    with_images = {file.parent for file in files}
    empty = sorted(f.name for f in folder.iterdir() if f.is_dir() and f not in with_images and f.name[0] != ".")
    if empty:
        raise SpecError(
            f"the image folder {folder} has no images of class {empty[0]!r}; add some or remove that sub-folder"
        )
    return files


def _size(first: Path, wanted: Any) -> tuple[int, int]:
    if wanted is None:
        height, width, _ = _pixels(first).shape
        return int(height), int(width)
    if (
        not isinstance(wanted, list | tuple)
        or len(wanted) != 2
        or not all(type(n) is int and n > 0 for n in wanted)
    ):
        raise SpecError(
            f"image_size={wanted!r} is not a height and a width in pixels; give two positive whole numbers"
        )
    return wanted[0], wanted[1]


def _check_memory(folder: Path, count: int, size: tuple[int, int]) -> None:
    needed_bytes = 2 * count * size[0] * size[1] * 3 * 4  # split, then made tensors: each image is there twice
    what = f"the {count} images of {folder} at {size[0]}×{size[1]}"
    advice = "ask for a smaller image_size or give a function that returns a tf.data pipeline"
    check_memory(what, needed_bytes, advice)


def _pixels(file: Path) -> Any:
    import tensorflow as tf

    try:
        return tf.io.decode_image(file.read_bytes(), channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        raise SpecError(f"the image {file} cannot be decoded; remove or replace it") from error


def _decode(file: Path, size: tuple[int, int]) -> np.ndarray:
    import tensorflow as tf

    pixels: np.ndarray = tf.image.resize(_pixels(file), size).numpy()
    return pixels.astype(np.float32) / 255
