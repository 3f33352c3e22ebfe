"""Keras models by name or from a person's function, and what is known of a model before it trains.

A module here without a leading underscore is a model: its ``build(input_shape, outputs, **args)`` gives it
uncompiled, with logits as its output. The models of Keras Applications are known by their own names.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dcbench import functions, registry
from dcbench.errors import SpecError

if TYPE_CHECKING:
    import keras

BACKWARD_RULE = "training = 3 × forward (Kaplan et al. 2020, section 2.1: backward takes twice forward)"
FROZEN_RULE = "an upper bound, frozen weights need no gradient"


def build(
    model: str | Callable[..., Any], input_shape: tuple[int, ...], outputs: int, args: dict[str, Any]
) -> keras.Model:
    """
    Build a model.

    Parameters
    ----------
    model : str or callable
        Registered name, ``file.py:function``, or a function; it is given ``input_shape`` and ``outputs`` if
        it takes them.
    input_shape : tuple of int
        Shape of one input.
    outputs : int
        Classes, or values to predict.
    args : dict
        Keywords for the builder.

    Returns
    -------
    keras.Model
        Uncompiled, with its variables.

    Raises
    ------
    SpecError
        If the builder raises, does not give a Keras model, or gives one that does not fit the data.
    """
    if isinstance(model, str) and functions.is_file_function(model):
        model = functions.load_file_function(model)
    if callable(model):
        builder, what = model, f"the model function {getattr(model, '__qualname__', type(model).__name__)!r}"
    else:
        builder, what = _registered(model), f"model {model!r}"
    offered = {"input_shape": tuple(input_shape), "outputs": outputs}
    return _checked(functions.call(builder, args, offered, what), tuple(input_shape), outputs, what)


def _registered(name: str) -> Callable[..., Any]:
    module = registry.load("model", name)
    build: Callable[..., Any] = getattr(module, "build", None) or partial(module.build_named, name)
    return build


def _checked(built: Any, input_shape: tuple[int, ...], outputs: int, what: str) -> keras.Model:
    import keras

    if not isinstance(built, keras.Model):
        raise SpecError(f"{what} gives {type(built).__name__}; return a keras.Model")
    if not built.built:
        functions.call(partial(built, np.zeros((1, *input_shape), np.float32)), {}, None, what)
    takes, gives = _shapes(built, input_shape, what)
    fits = len(takes) == len(input_shape) and all(
        a in (None, b) for a, b in zip(takes, input_shape, strict=True)
    )
    if not fits:
        raise SpecError(
            f"{what} takes inputs of shape {takes}, the dataset gives {input_shape}; make them equal"
        )
    if len(gives) != 1 or gives[-1] is None or gives[-1] < outputs:
        raise SpecError(
            f"{what} gives outputs of shape {gives}, the dataset needs {outputs}; end it in Dense({outputs})"
        )
    return built


def _shapes(
    model: keras.Model, input_shape: tuple[int, ...], what: str
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the shapes of one input and one output."""
    import keras

    if getattr(model, "inputs", None):
        takes, gives = model.inputs, model.outputs
    else:  # a subclass of Model knows neither
        takes = [keras.KerasTensor((None, *input_shape))]
        spec = functions.call(partial(model.compute_output_spec, takes[0]), {}, None, what)
        gives = spec if isinstance(spec, list | tuple) else [spec]
    if len(takes) != 1 or len(gives) != 1:
        raise SpecError(
            f"{what} has {len(takes)} inputs and {len(gives)} outputs; give a model of one of each"
        )
    return tuple(takes[0].shape[1:]), tuple(gives[0].shape[1:])


def describe(model: keras.Model, input_shape: tuple[int, ...] | None = None) -> dict[str, Any]:
    """
    Count what one training step of a model moves and computes.

    Parameters
    ----------
    model : keras.Model
    input_shape : tuple of int, optional
        Shape of one input, for a model that does not know it.

    Returns
    -------
    dict
        ``name``, ``layers``, ``parameters``, ``trainable_parameters``, ``gradient_bytes`` (of all gradients
        in the variables' own type), ``flops_per_example`` (of forward and backward; None where unknown) and
        ``flops_rule``.
    """
    from dcbench.models._flops import forward_flops

    trainable = model.trainable_weights
    flops, rule = forward_flops(model, input_shape)
    if flops is not None:
        frozen = any(layer.weights and not layer.trainable for layer in model._flatten_layers(include_self=True))
        rule = "; ".join([rule, BACKWARD_RULE, *([FROZEN_RULE] if frozen else [])])
    return {
        "name": model.name,
        "layers": len(model.layers),
        "parameters": int(model.count_params()),
        "trainable_parameters": int(sum(np.prod(w.shape) for w in trainable)),
        "gradient_bytes": int(sum(np.prod(w.shape) * _item_bytes(w.dtype) for w in trainable)),
        "flops_per_example": None if flops is None else 3 * flops,
        "flops_rule": rule,
    }


def _item_bytes(dtype: str) -> int:
    return {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}[dtype]


def ends_in_softmax(model: keras.Model) -> bool:
    """Say whether a model gives probabilities, by the last layer that makes its output."""
    import keras

    layer: Any = model
    while isinstance(layer, keras.Model):
        made_by = (
            getattr(layer.outputs[0], "_keras_history", None) if getattr(layer, "outputs", None) else None
        )
        inner = made_by.operation if made_by else (layer.layers[-1] if layer.layers else None)
        if inner is layer or inner is None:
            return False
        layer = inner
    is_softmax = type(layer).__name__ == "Softmax"  # the layer's and the operation's name
    return is_softmax or getattr(layer, "activation", None) is keras.activations.softmax
