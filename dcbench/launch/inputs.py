"""What is known of a run's model and data before they are loaded: whether they are here, and go together.

It reads what their files say of themselves, and runs none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcbench import functions, redaction, registry, store
from dcbench.errors import SpecError
from dcbench.spec import RunSpec

_LEAST_PIXELS = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}  # a side, of the models of Keras
_LEAST_PIXELS_OF_OTHERS = 32  # Applications without weights; keras.applications asks for it in each model's file
_WORDS = {1: "rows of numbers", 2: "sequences (time, features)", 3: "images (height, width, channels)"}


def check_function(value: str | Callable[..., Any]) -> None:
    """
    Check that a person's function can be found, or be sent to a worker; a registered name passes.

    Raises
    ------
    SpecError
    """
    if callable(value):
        functions.pack(value)
    elif functions.is_file_function(value):
        functions.describe(value)


def check_given(spec: RunSpec, field: str) -> None:
    """
    Check that a field was given what a record leaves out.

    Raises
    ------
    SpecError

    Examples
    --------
    >>> check_given(RunSpec(dataset_args={"token": "***"}), "dataset_args")
    Traceback (most recent call last):
    dcbench.errors.SpecError: dataset_args['token'] is masked ('***'): records keep no secrets; give its value again
    """
    if where := redaction.still_masked(getattr(spec, field), field):
        raise SpecError(f"{where} is masked ({redaction.MASK!r}): records keep no secrets; give its value again")


def check_dataset(spec: RunSpec) -> None:
    """
    Check that the data of a run are here, as far as that is known without reading them.

    Raises
    ------
    SpecError
    """
    name = spec.dataset
    check_function(name)
    if _is_own(name):
        return
    if registry.says("dataset", name, "READS_FOLDER"):
        folder = spec.dataset_args.get("path")
        if not isinstance(folder, str) or not Path(folder).expanduser().is_dir():
            found = "none is given" if folder is None else f"{folder!r} is none"
            raise SpecError(f"dataset {name!r} reads a folder, and {found}; give dataset_args={{'path': FOLDER}}")
    file = store.cache_dir() / f"{name}.npz"
    if registry.says("dataset", name, "IS_DOWNLOADED") and not spec.allow_download and not file.exists():
        raise SpecError(
            f"dataset {name!r} is not in the cache ({file}) and downloads are not allowed; "
            "allow them (allow_download=True) or choose another"
        )


def check_fit(spec: RunSpec) -> None:
    """
    Check that the model of a run takes what its dataset gives, as far as their files say.

    Raises
    ------
    SpecError

    Examples
    --------
    >>> check_fit(RunSpec(model="ResNet50", dataset="digits"))
    Traceback (most recent call last):
    dcbench.errors.SpecError: model 'ResNet50' takes images of at least 32×32, dataset 'digits' gives 8×8; choose ...
    """
    model, shape = spec.model, _input_shape(spec)
    if shape is None or _is_own(model):
        return
    of_keras = model in registry.KERAS_APPLICATIONS
    takes = (3,) if of_keras else registry.numbers("model", model, "INPUT_DIMENSIONS")
    reads_tokens = not of_keras and "vocabulary" in spec.model_args
    if takes and len(shape) not in takes and not reads_tokens:
        listed = " or ".join(_WORDS[n] for n in takes)
        raise SpecError(f"model {model!r} takes {listed}, dataset {spec.dataset!r} gives {shape}; choose model 'mlp'")
    least = _LEAST_PIXELS.get(model, _LEAST_PIXELS_OF_OTHERS)
    if of_keras and min(shape[:2]) < least:
        raise SpecError(
            f"model {model!r} takes images of at least {least}×{least}, dataset {spec.dataset!r} gives "
            f"{shape[0]}×{shape[1]}; choose model 'cnn', or dataset 'synthetic', which has any shape"
        )


def _is_own(value: str | Callable[..., Any]) -> bool:
    """Whether a model or dataset is a person's function."""
    return callable(value) or functions.is_file_function(value)


def _input_shape(spec: RunSpec) -> tuple[int, ...] | None:
    """Return the shape of one example; None where it is not known, or is for the dataset to refuse."""
    if _is_own(spec.dataset):
        return None
    stated = registry.numbers("dataset", spec.dataset, "INPUT_SHAPE")
    shape = spec.dataset_args.get("shape", list(stated))
    whole = isinstance(shape, list) and all(type(n) is int for n in shape)
    return tuple(shape) if stated and shape and whole else None
