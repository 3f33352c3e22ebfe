"""An equal script without dcbench: two Horovod ranks of a small model; says when the first training step has ended."""

import time

import horovod.tensorflow as hvd
import keras
import tensorflow as tf
from sklearn.datasets import load_digits

hvd.init()
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
keras.utils.set_random_seed(0)
images, labels = load_digits(return_X_y=True)
batches = iter(tf.data.Dataset.from_tensor_slices((images.astype("float32") / 16, labels)).repeat().batch(32))
model = keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(128, "relu"), keras.layers.Dense(10)])
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
