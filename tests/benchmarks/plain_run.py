"""An equal script without dcbench: one run of the scaling study's `cnn` on the digits, by any backend.

Arguments: the file in which dcbench keeps the digits, backend, devices, examples per device, timed steps.
"""

import os
import sys
import time

path, backend, devices, batch, steps = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
rank, size = int(os.environ.get("HOROVOD_RANK", "0")), int(os.environ.get("HOROVOD_SIZE", "1"))
cores = sorted(os.sched_getaffinity(0))
os.sched_setaffinity(0, {cores[rank % len(cores)]} if backend != "mirrored" else set(cores[:devices]))

import horovod.tensorflow as hvd  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

WARM_UP = 20
replicas = devices if backend == "mirrored" else 1
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(replicas)
hvd.init()
if backend == "mirrored":
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * devices)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(devices)])
else:
    strategy = tf.distribute.get_strategy()
keras.utils.set_random_seed(0)
with np.load(path) as stored:
    images, labels, test_images, test_labels = (stored[n] for n in ("x", "y", "x_test", "y_test"))
data = tf.data.Dataset.from_tensor_slices((images.astype("float32") / 16, labels.astype("int32")))
data = data.shard(size, rank).repeat().batch(batch * replicas)
batches = iter(strategy.experimental_distribute_dataset(data) if replicas > 1 else data)
layers = keras.layers
with strategy.scope():
    parts = [keras.Input((8, 8, 1))]
    for filters in (32, 64):
        parts += [layers.Conv2D(filters, 3, padding="same"), layers.ReLU(), layers.MaxPooling2D(2)]
    model = keras.Sequential([*parts, layers.Flatten(), layers.Dense(128, "relu"), layers.Dense(10)])
    optimizer = keras.optimizers.Adam(0.002)
    optimizer.build(model.trainable_variables)
loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)
if backend == "horovod":
    hvd.broadcast_variables([v.value for v in (*model.weights, *optimizer.variables)], root_rank=0)


def on_one(x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(loss_of(y, model(x, training=True)))
    gradients = tape.gradient(loss, model.trainable_variables)
    if backend == "horovod":
        gradients = hvd.grouped_allreduce(gradients, op=hvd.Average)
    if replicas > 1:
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        optimizer.apply([tf.convert_to_tensor(g) for g in gradients], model.trainable_variables)
    else:
        optimizer.apply(gradients, model.trainable_variables)
    return loss


@tf.function(autograph=False)
def step(x, y):
    return strategy.run(on_one, (x, y)) if replicas > 1 else on_one(x, y)


def train(count):
    for _ in range(count):
        loss = step(*next(batches))
    strategy.experimental_local_results(loss)[0].numpy()


train(WARM_UP)
hvd.allreduce(tf.zeros(1)).numpy()  # all start together
start = time.perf_counter()
train(steps)
block_s = time.perf_counter() - start
predicted = model(test_images.astype("float32") / 16, training=False).numpy().argmax(-1)
if rank == 0:
    print(f"RATE {batch * devices * steps / block_s} ACCURACY {np.mean(predicted == test_labels)}", flush=True)
