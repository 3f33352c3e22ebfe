"""Floating-point operations of one forward pass, by TensorFlow's profiler; a multiply-add counts as two."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dcbench.models._recurrent import without_loops

if TYPE_CHECKING:
    import keras

LOOPS = ("While", "StatelessWhile")
NOT_SEEN = ("PartitionedCall", "StatefulPartitionedCall", "XlaLaunch", "PyFunc", "EagerPyFunc", "CudnnRNNV3")


def forward_flops(model: keras.Model, input_shape: tuple[int, ...] | None = None) -> tuple[int | None, str]:
    """
    Count the floating-point operations of one example's forward pass.

    Parameters
    ----------
    model : keras.Model
    input_shape : tuple of int, optional
        Shape of one input, for a model that does not know it.

    Returns
    -------
    flops : int or None
        None where the shape of an input is not known, or the profiler sees no operation.
    rule : str
        How they were counted.

    Notes
    -----
    TensorFlow's profiler knows matrix products, convolutions, pooling and elementwise arithmetic. ``Einsum``,
    which it does not know, is counted from its equation; a recurrent layer of Keras, whose loop it does not see,
    as its number of steps times one step. Where nothing at all is seen, the layers' kernels are counted: two
    operations a weight and output position.
    """
    with without_loops() as recurrent:
        graph = _graph(model, input_shape)
    if graph is None:
        return None, "not counted: the model's inputs have no fixed shape"
    rule = "TensorFlow profiler, a multiply-add is 2"
    times = [(1, graph), *recurrent]
    kinds = {op.type for _, part in times for op in part.get_operations()}
    profiled = sum(count * (_profile(part) + _einsums(part)) for count, part in times)
    if not profiled:
        by_kernels = _kernel_flops(model)
        if not by_kernels:
            return None, "not counted: TensorFlow's profiler sees none of the model's operations"
        return by_kernels, "2 operations a weight of each layer's kernel and output position"
    rule += ", plus Einsum counted from its equations" if "Einsum" in kinds else ""
    rule += ", a recurrent layer is its steps times one step" if recurrent else ""
    if not kinds.isdisjoint(LOOPS):
        rule += "; a lower bound, loops are not seen"
    if not kinds.isdisjoint(NOT_SEEN):
        rule += "; a lower bound, nested functions are not seen"
    return profiled, rule


def _graph(model: keras.Model, input_shape: tuple[int, ...] | None) -> Any:
    import tensorflow as tf

    known = getattr(model, "inputs", None)
    dtype = known[0].dtype if known else "float32"
    shape = known[0].shape[1:] if known and input_shape is None else input_shape
    if shape is None or None in shape:
        return None

    @tf.function(autograph=False)
    def forward(x: Any) -> Any:
        return model(x, training=False)

    return forward.get_concrete_function(tf.TensorSpec((1, *shape), dtype)).graph


def _profile(graph: Any) -> int:
    import tensorflow as tf

    profiler = tf.compat.v1.profiler
    options = (
        profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
        .with_empty_output()
        .build()
    )
    with _quiet(tf.get_logger()):
        found = profiler.profile(graph, options=options)
    return int(found.total_float_ops) if found is not None else 0


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Silence what the profiler prints, in Python and in C++."""
    sys.stdout.flush()
    kept, level = os.dup(1), logger.level
    logger.setLevel(logging.ERROR)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        logger.setLevel(level)


def _einsums(graph: Any) -> int:
    return sum(_einsum_flops(op) for op in graph.get_operations() if op.type == "Einsum")


def _einsum_flops(operation: Any) -> int:
    """Count 2 operations for each combination of indices of a product, 1 where nothing is multiplied."""
    equation = operation.get_attr("equation").decode().replace(" ", "")
    terms = equation.split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms, operation.inputs, strict=True):
        shape = tensor.shape.as_list()
        head, dots, tail = term.partition("...")
        sizes |= dict(zip(head, shape, strict=False)) | dict(
            zip(reversed(tail), reversed(shape), strict=False)
        )
        if dots:
            rest = shape[len(head) : len(shape) - len(tail)]
            sizes["..."] = max(sizes.get("...", 1), math.prod(n or 1 for n in rest))
    return min(len(terms), 2) * math.prod(n or 1 for n in sizes.values())


def _kernel_flops(model: keras.Model) -> int:
    layers = [layer for layer in model._flatten_layers(include_self=False) if hasattr(layer, "kernel")]
    return sum(2 * math.prod(layer.kernel.shape) * _positions(layer) for layer in layers)


def _positions(layer: Any) -> int:
    """Return how often a layer applies its kernel to one example."""
    shape = layer.output.shape[1:]
    channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    return math.prod(shape[:-1] if channels_last else shape[1:])
