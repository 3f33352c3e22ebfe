"""Loss and accuracy of a model on the test split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

ROWS = 256


class Evaluator:
    """
    Evaluate a model on test rows, compiled once.

    Parameters
    ----------
    model : keras.Model
    loss : callable
        Mean over the examples it is given.
    test : tuple of numpy.ndarray
        (x, y) of the test split.
    classifies : bool
        Whether accuracy has a meaning.
    """

    def __init__(
        self, model: keras.Model, loss: Callable[[Any, Any], Any], test: tuple[Any, Any], classifies: bool
    ) -> None:
        self._x, self._y = test
        self._classifies = classifies

        @tf.function(reduce_retracing=True, autograph=False)
        def batch(x: Any, y: Any) -> tuple[tf.Tensor, tf.Tensor]:
            predicted = tf.cast(model(x, training=False), tf.float32)
            if not classifies:
                return loss(y, predicted), tf.constant(0.0)
            right = tf.equal(tf.argmax(predicted, -1), tf.cast(y, tf.int64))
            return loss(y, predicted), tf.reduce_sum(tf.cast(right, tf.float32))

        self._batch = batch

    def __call__(self) -> dict[str, float]:
        """Return ``{"loss": mean loss, "accuracy": fraction correct}``; accuracy only for classification."""
        count, total, right = len(self._y), 0.0, 0.0
        for start in range(0, count, ROWS):
            rows = slice(start, start + ROWS)
            x = tf.nest.map_structure(lambda a, rows=rows: tf.convert_to_tensor(a[rows]), self._x)
            y = tf.convert_to_tensor(np.asarray(self._y[rows]))
            loss, correct = self._batch(x, y)
            total += float(loss) * len(self._y[rows])
            right += float(correct)
        found = {"loss": total / count}
        return found | {"accuracy": right / count} if self._classifies else found
