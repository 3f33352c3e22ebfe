"""One optimizer step as a graph: forward, backward, average over ranks, clip, apply; also several in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from dcbench.backends._base import Backend
from dcbench.spec import RunSpec


class Stepper:
    """
    The compiled training step of one process.

    Parameters
    ----------
    model : keras.Model
    optimizer : keras.Optimizer
        Already built, and made ready by the backend.
    loss : callable
        Mean over the examples it is given.
    backend : Backend
    spec : RunSpec

    Notes
    -----
    ``accumulation`` micro-batches are one step: their gradients are averaged, then reduced over ranks once. Gradients
    are reduced before the optimizer clips them and before loss scaling looks for overflow.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.Optimizer,
        loss: Callable[[Any, Any], Any],
        backend: Backend,
        spec: RunSpec,
    ) -> None:
        self._model, self._optimizer, self._loss = model, optimizer, loss
        self._backend, self._micro_batches = backend, spec.accumulation
        self._clips = any(getattr(spec, n) is not None for n in ("clipnorm", "global_clipnorm", "clipvalue"))
        self._gradients = self._forward_backward
        if spec.jit_compile:
            self._gradients = tf.function(self._forward_backward, jit_compile=True, autograph=False)
        self.steps_per_call = spec.steps_per_execution
        self.one = tf.function(self._one, autograph=False)  # as in Keras; it would convert Horovod's code
        self.many = tf.function(self._many, autograph=False) if self.steps_per_call > 1 else self.one
        self.tail = tf.function(self._tail, autograph=False)

    def _forward_backward(self, x: Any, y: Any) -> tuple[tf.Tensor, list[Any]]:
        with tf.GradientTape() as tape:
            predicted = self._model(x, training=True)
            loss = self._loss(y, tf.cast(predicted, tf.float32))
            if self._model.losses:
                loss += tf.add_n([tf.cast(extra, tf.float32) for extra in self._model.losses])
            objective = self._optimizer.scale_loss(loss)
        return loss, tape.gradient(objective, self._model.trainable_weights)

    def _replica(self, x: Any, y: Any) -> tf.Tensor:
        loss, gradients = self._accumulated(_micro(x, self._micro_batches), _micro(y, self._micro_batches))
        self._apply(gradients)
        return loss

    def _accumulated(self, xs: list[Any], ys: list[Any]) -> tuple[tf.Tensor, list[Any]]:
        if len(xs) == 1:
            return self._gradients(xs[0], ys[0])
        losses, sums = [], None
        for x, y in zip(xs, ys, strict=True):
            loss, gradients = self._gradients(x, y)
            losses.append(loss)
            sums = gradients if sums is None else [_add(a, b) for a, b in zip(sums, gradients, strict=True)]
        assert sums is not None  # there is at least one micro-batch
        return tf.add_n(losses) / len(losses), [_scale(g, 1.0 / len(losses)) for g in sums]

    def _apply(self, gradients: list[Any]) -> None:
        weights = self._model.trainable_weights
        used = [(g, w) for g, w in zip(gradients, weights, strict=True) if g is not None]
        reduced = self._backend.reduce([g for g, _ in used])
        if self._clips:  # Keras takes norms of dense gradients only
            reduced = [tf.convert_to_tensor(g) for g in reduced]
        self._optimizer.apply(reduced, [w for _, w in used])

    def _one(self, iterator: Any) -> tf.Tensor:
        x, y = next(iterator)
        losses = self._backend.local(self._backend.run(self._replica, (x, y)))
        return tf.stack(losses)[tf.newaxis]

    def _many(self, iterator: Any) -> tf.Tensor:
        def body(step: tf.Tensor, losses: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            return step + 1, losses.write(step, self._one(iterator)[0])

        start = (tf.constant(0), tf.TensorArray(tf.float32, size=self.steps_per_call))
        _, losses = tf.while_loop(lambda step, _: step < self.steps_per_call, body, start, parallel_iterations=1)
        return losses.stack()

    def _tail(self, xs: Any, ys: Any, weights: Any) -> tuple[tf.Tensor, ...]:
        def replica(xs: Any, ys: Any, weights: Any) -> tf.Tensor:
            sums = None
            for x, y, weight in zip(xs, ys, weights, strict=True):
                loss, gradients = self._gradients(x, y)
                weighted = [_scale(g, weight) for g in gradients]
                sums = weighted if sums is None else [_add(a, b) for a, b in zip(sums, weighted, strict=True)]
            self._apply(sums or [])
            return loss

        return self._backend.local(self._backend.run(replica, (xs, ys, weights)))


def _micro(value: Any, count: int) -> list[Any]:
    """Cut rows into `count` equal micro-batches."""
    if count == 1:
        return [value]
    leaves = [tf.split(leaf, count) for leaf in tf.nest.flatten(value)]
    return [tf.nest.pack_sequence_as(value, list(part)) for part in zip(*leaves, strict=True)]


def _add(a: Any, b: Any) -> Any:
    if isinstance(a, tf.IndexedSlices) and isinstance(b, tf.IndexedSlices):
        return tf.IndexedSlices(tf.concat([a.values, b.values], 0), tf.concat([a.indices, b.indices], 0), a.dense_shape)
    return b if a is None else a if b is None else tf.convert_to_tensor(a) + tf.convert_to_tensor(b)


def _scale(gradient: Any, factor: Any) -> Any:
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        scaled = gradient.values * tf.cast(factor, gradient.values.dtype)
        return tf.IndexedSlices(scaled, gradient.indices, gradient.dense_shape)
    return gradient * tf.cast(factor, gradient.dtype)
