"""How the sequence models read one example: as vectors in time, as the rows of an image, or as tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dcbench.errors import SpecError
from dcbench.models._arguments import check_counts

if TYPE_CHECKING:
    import keras


def read(
    model: str, input_shape: tuple[int, ...], vocabulary: int | None, width: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """
    Make the input of a sequence model.

    Parameters
    ----------
    model : str
        Its name, for messages.
    input_shape : tuple of int
        (time, features), (height, width, channels) of an image, or (time,) of tokens.
    vocabulary : int or None
        Number of different tokens, for tokens only.
    width : int
        Features of an embedded token.

    Returns
    -------
    inputs : keras.KerasTensor
        What the dataset gives.
    sequence : keras.KerasTensor
        (batch, time, features).

    Raises
    ------
    SpecError
        If the examples are no sequences, or a vocabulary is missing or out of place.
    """
    import keras

    _check(model, input_shape, vocabulary)
    if vocabulary is not None:
        tokens = keras.Input(input_shape, dtype="int32")
        return tokens, keras.layers.Embedding(vocabulary, width)(tokens)
    inputs = keras.Input(input_shape)
    rows = (input_shape[0], math.prod(input_shape[1:]))
    return inputs, keras.layers.Reshape(rows)(inputs) if len(input_shape) == 3 else inputs


def _check(model: str, input_shape: tuple[int, ...], vocabulary: int | None) -> None:
    if vocabulary is not None:
        check_counts(model, vocabulary=vocabulary)
        if len(input_shape) != 1:
            raise SpecError(
                f"model {model!r} is given a vocabulary, which is for tokens (time,), and the dataset gives "
                f"{input_shape}; leave the vocabulary out"
            )
    elif len(input_shape) == 1:
        raise SpecError(
            f"model {model!r} takes sequences (time, features) or images, the dataset gives {input_shape}; "
            "if these are tokens give their number as vocabulary, else use model 'mlp'"
        )
    elif len(input_shape) not in (2, 3):
        raise SpecError(
            f"model {model!r} takes sequences (time, features), images or tokens (time,), the dataset gives "
            f"{input_shape}; use model 'mlp'"
        )
