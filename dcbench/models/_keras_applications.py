"""The models of Keras Applications, with random weights, any input shape and logits as output."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dcbench import registry
from dcbench.errors import SpecError

if TYPE_CHECKING:
    import keras

FIXED = ("weights", "classifier_activation", "classes", "input_tensor", "input_shape", "include_top")


def build_named(name: str, /, input_shape: tuple[int, ...], outputs: int, **args: Any) -> keras.Model:
    """
    Build one model of Keras Applications.

    Parameters
    ----------
    name : str
        Such as ``"ResNet50"``.
    input_shape : tuple of int
        (height, width, channels).
    outputs : int
    **args
        The model's own, such as ``alpha``.

    Raises
    ------
    SpecError
        If the images are too small for it.
    """
    import keras

    make = getattr(keras.applications, name)
    _check(name, make, input_shape, args)
    fixed = {"weights": None, "classifier_activation": None, "include_top": True}
    try:
        return make(input_shape=input_shape, classes=outputs, **fixed, **args)
    except ValueError as error:
        raise _explained(name, input_shape, error) from error


def _check(name: str, make: Callable[..., Any], input_shape: tuple[int, ...], args: dict[str, Any]) -> None:
    choices = [n for n in inspect.signature(make).parameters if n not in FIXED]
    for given in args:
        if given not in choices:
            raise SpecError(
                f"model {name!r} has no argument {given!r}{registry.nearest(given, choices)} "
                f"(known: {', '.join(choices)})"
            )
    if len(input_shape) != 3:
        raise SpecError(
            f"model {name!r} takes images (height, width, channels), the dataset gives {input_shape}"
        )


def _explained(name: str, input_shape: tuple[int, ...], error: ValueError) -> SpecError:
    height, width, _ = input_shape
    least = re.search(r"at least (\d+)\s?x\s?(\d+)", str(error))
    if least or "negative dimension" in str(error).lower() or "non-positive" in str(error).lower():
        needed = f" of at least {least[1]}×{least[2]}" if least else " that are larger"
        return SpecError(
            f"model {name!r} takes images{needed}, the dataset gives {height}×{width}; "
            "use larger images (dataset 'synthetic' has any shape) or model 'cnn'"
        )
    return SpecError(
        f"model {name!r} cannot be built for {input_shape}: {' '.join(str(error).split())[:300]}"
    )
