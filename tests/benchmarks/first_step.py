"""An equal script without dcbench: two Horovod ranks train its `mlp` on the digits; says when the first step has ended.

The argument is the file in which dcbench keeps the digits.
"""

import sys
import time

import horovod.tensorflow as hvd
import keras
import numpy as np
import tensorflow as tf

hvd.init()
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
keras.utils.set_random_seed(0)
with np.load(sys.argv[1]) as stored:
    images, labels = stored["x"].astype("float32") / 16, stored["y"].astype("int32")
data = tf.data.Dataset.from_tensor_slices((images, labels)).repeat().batch(32)
batches = iter(data.shard(hvd.size(), hvd.rank()))
dense = keras.layers.Dense
model = keras.Sequential(
    [keras.Input((8, 8, 1)), keras.layers.Flatten(), dense(256, "relu"), dense(128, "relu"), dense(10)]
)
optimizer = keras.optimizers.SGD(0.01)
optimizer.build(model.trainable_variables)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
hvd.broadcast_variables([v.value for v in (*model.weights, *optimizer.variables)], root_rank=0)


@tf.function
def step(batches):
    x, y = next(batches)
    with tf.GradientTape() as tape:
        loss = loss_of(y, model(x, training=True))
    gradients = hvd.grouped_allreduce(tape.gradient(loss, model.trainable_variables), op=hvd.Average)
    optimizer.apply(gradients, model.trainable_variables)
    return loss


step(batches).numpy()
if hvd.rank() == 0:
    print(f"FIRST_STEP {time.monotonic()}", flush=True)
