"""Models: every name builds, operations equal those counted by hand, one sentence for what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from dcbench import models, registry
from dcbench.errors import SpecError

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")


def forward_flops(*layers, shape):
    model = keras.Sequential([keras.Input(shape), *layers])
    return models.describe(model)["flops_per_example"] / 3


# --- building


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (5, 3, 2)])
def test_small_models_take_any_image(name, shape):
    model = models.build(name, shape, 7, {})
    assert model(np.zeros((2, *shape), np.float32)).shape == (2, 7)
    assert not model.compiled and not models.ends_in_softmax(model)


@pytest.mark.parametrize("name", ["ResNet50", "VGG16", "MobileNetV2"])
def test_keras_applications_take_small_images(name):
    model = models.build(name, (32, 32, 1), 7, {})
    assert model.output_shape == (None, 7) and not models.ends_in_softmax(model)


def test_every_listed_keras_application_exists():
    assert [n for n in registry.KERAS_APPLICATIONS if not hasattr(keras.applications, n)] == []


def test_arguments_reach_the_builder():
    assert len(models.build("mlp", (4,), 2, {"hidden": [8, 8, 8], "dropout": 0.5}).layers) == 8
    wide, narrow = (models.build("MobileNetV2", (32, 32, 3), 7, {"alpha": a}) for a in (1.0, 0.35))
    assert narrow.count_params() < wide.count_params() / 3
    assert models.build("cnn", (8, 8, 1), 3, {"batch_norm": True}).non_trainable_weights


@pytest.mark.parametrize(
    ("name", "shape", "args", "message"),
    [
        ("mpl", (4,), {}, "did you mean 'mlp'"),
        ("mlp", (4,), {"hiden": [3]}, "no argument 'hiden'; did you mean 'hidden'"),
        ("linear", (4,), {"units": 3}, r"no argument 'units' \(known: none\)"),
        ("mlp", (4,), {"outputs": 3}, "given 'outputs' by dcbench"),
        ("mlp", (4,), {"hidden": [-3]}, "'mlp' raised ValueError"),
        ("cnn", (4,), {}, "use model 'mlp'"),
        ("MobileNetV2", (32, 32, 3), {"alhpa": 1}, "did you mean 'alpha'"),
        ("MobileNetV2", (32, 32, 3), {"weights": "imagenet"}, "no argument 'weights'"),
        ("VGG16", (8, 8, 1), {}, "at least 32×32, the dataset gives 8×8"),
        ("InceptionV3", (32, 32, 1), {}, "at least 75×75, the dataset gives 32×32"),
        ("ResNet50", (64,), {}, "takes images"),
    ],
)
def test_what_does_not_fit_is_one_sentence(name, shape, args, message):
    with pytest.raises(SpecError, match=message) as caught:
        models.build(name, shape, 2, args)
    assert "\n" not in str(caught.value)


def test_a_persons_function():
    def mine(input_shape, outputs, width=3):
        return keras.Sequential(
            [keras.Input(input_shape), keras.layers.Dense(width), keras.layers.Dense(outputs)]
        )

    assert models.build(mine, (4,), 2, {"width": 5}).count_params() == 4 * 5 + 5 + 5 * 2 + 2


def test_a_persons_function_without_shapes():
    assert models.build(lambda: keras.Sequential([keras.layers.Dense(2)]), (4,), 2, {}).count_params() == 10


def test_a_function_of_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import keras\ndef net(outputs):\n    return keras.Sequential([keras.layers.Dense(outputs)])\n"
    )
    assert models.build(f"{path}:net", (4,), 2, {}).count_params() == 10


def broken():
    raise RuntimeError("no\nluck")


def dense(units, shape=(4,)):
    return keras.Sequential([keras.Input(shape), keras.layers.Dense(units)])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (broken, "'broken' raised RuntimeError: no luck"),
        (lambda: 3, "gives int; return a keras.Model"),
        (lambda: dense(2, (5,)), r"takes inputs of shape \(5,\), the dataset gives \(4,\)"),
        (lambda: dense(1), r"end it in Dense\(2\)"),
        (dense, "needs the argument 'units'"),
    ],
)
def test_unusable_functions_are_one_sentence(function, message):
    with pytest.raises(SpecError, match=message) as caught:
        models.build(function, (4,), 2, {})
    assert "\n" not in str(caught.value)


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, x):
        return self.dense(x)


def test_a_subclass_of_model():
    model = models.build(Subclass, (4,), 2, {})
    assert model.count_params() == 10
    assert models.describe(model)["flops_per_example"] is None
    assert models.describe(model, (4,))["flops_per_example"] == 3 * (2 * 4 * 2 + 2)


# --- describing


def test_parameters_and_gradient_bytes():
    layers = [keras.layers.Dense(5), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    about = models.describe(model)
    trainable = 3 * 5 + 5 + 2 * 5 + 5 * 2 + 2
    assert (about["layers"], about["parameters"], about["trainable_parameters"]) == (
        3,
        trainable + 2 * 5,
        trainable,
    )
    assert about["gradient_bytes"] == 4 * trainable


def test_flops_of_dense_layers_by_hand():
    assert forward_flops(keras.layers.Dense(5, use_bias=False), shape=(3,)) == 2 * 3 * 5
    assert forward_flops(keras.layers.Dense(5), shape=(3,)) == 2 * 3 * 5 + 5


def test_flops_of_convolutions_by_hand():
    bare = {"use_bias": False, "padding": "same"}
    assert forward_flops(keras.layers.Conv2D(4, 3, **bare), shape=(8, 6, 2)) == 2 * 3 * 3 * 2 * 4 * 8 * 6
    assert (
        forward_flops(keras.layers.Conv2D(4, 3, strides=2, **bare), shape=(8, 6, 2))
        == 2 * 3 * 3 * 2 * 4 * 4 * 3
    )
    assert forward_flops(keras.layers.Conv2D(4, 3), shape=(8, 6, 2)) == (2 * 3 * 3 * 2 + 1) * 4 * 6 * 4
    assert forward_flops(keras.layers.DepthwiseConv2D(3, **bare), shape=(8, 6, 2)) == 2 * 3 * 3 * 2 * 8 * 6


def test_flops_of_a_published_network():
    """ResNet-50 at 224×224 takes 3.8e9 multiply-adds (He et al. 2015, table 1)."""
    flops = models.describe(models.build("ResNet50", (224, 224, 3), 1000, {}))["flops_per_example"] / 3
    assert flops / 2 == pytest.approx(3.8e9, rel=0.03)


def test_flops_of_einsum_by_hand():
    @keras.saving.register_keras_serializable("test")
    class Product(keras.layers.Layer):
        def call(self, x):
            return tf.einsum("b...ij,b...kj->b...ik", x, x)

    model = keras.Sequential([keras.Input((3, 4, 5)), Product()])
    about = models.describe(model)
    assert about["flops_per_example"] == 3 * 2 * 3 * 4 * 5 * 4
    assert "Einsum" in about["flops_rule"]


def test_flops_of_a_layer_that_the_profiler_does_not_see():
    class Hidden(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 3))

        def call(self, x):
            return tf.function(lambda: tf.linalg.matmul(x, self.kernel))()

    model = keras.Sequential([keras.Input((7, 4)), Hidden()])
    about = models.describe(model)
    assert about["flops_per_example"] == 3 * 2 * 4 * 3 * 7
    assert about["flops_rule"].startswith("2 operations a weight of each layer's kernel")


def test_loops_are_named_a_lower_bound():
    model = keras.Sequential([keras.Input((5, 4)), keras.layers.LSTM(3)])
    assert "lower bound" in models.describe(model)["flops_rule"]


def test_the_rule_is_stated():
    rule = models.describe(models.build("linear", (4,), 2, {}))["flops_rule"]
    assert "multiply-add is 2" in rule and "3 × forward" in rule


def test_describing_prints_nothing(capfd):
    models.describe(models.build("cnn", (8, 8, 1), 3, {}))
    assert capfd.readouterr().out == ""


def test_models_of_unknown_size_have_no_flops():
    model = keras.Sequential([keras.Input((None, 4)), keras.layers.Dense(2)])
    about = models.describe(model)
    assert about["flops_per_example"] is None and "no fixed shape" in about["flops_rule"]
    assert models.describe(model, (7, 4))["flops_per_example"] == 3 * (2 * 4 * 2 + 2) * 7


# --- the last layer


def test_softmax_is_found_wherever_it_is_written():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])
    x = keras.Input((4,))
    ends = [
        inner,
        keras.Sequential([inner]),
        keras.Model(x, inner(x)),
        keras.Model(x, keras.layers.Softmax()(x)),
    ]
    ends += [keras.Model(x, keras.layers.Activation("softmax")(x)), keras.Model(x, keras.ops.softmax(x))]
    assert [models.ends_in_softmax(m) for m in ends] == [True] * len(ends)
    outside = [dense(2), keras.Model(x, keras.layers.Dense(2)(keras.layers.Softmax()(x))), Subclass()]
    assert [models.ends_in_softmax(m) for m in outside] == [False] * 3


def test_a_model_that_forgets_to_flatten_is_told_to():
    def unflattened(input_shape, outputs):
        return keras.Sequential([keras.layers.Input(input_shape), keras.layers.Dense(outputs)])

    with pytest.raises(SpecError, match="outputs of shape \\(8, 8, 10\\), the dataset needs 10"):
        models.build(unflattened, (8, 8, 1), 10, {})
