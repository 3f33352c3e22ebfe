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
        ("EfficientNetB0", (16, 16, 3), {}, "at least 32×32, the dataset gives 16×16"),
        ("ResNet50", (64,), {}, "takes images"),
        ("rnn", (4,), {}, "give their number as vocabulary, else use model 'mlp'"),
        ("transformer", (4,), {}, "give their number as vocabulary, else use model 'mlp'"),
        ("rnn", (4, 4, 4, 1), {}, r"\(4, 4, 4, 1\); use model 'mlp'"),
        ("rnn", (8, 8, 1), {"vocabulary": 9}, "leave the vocabulary out"),
        ("rnn", (8,), {"vocabulary": 0}, "vocabulary=0; give a positive whole number"),
        ("rnn", (8, 3), {"layers": 0}, "layers=0; give a positive whole number"),
        ("rnn", (8, 3), {"units": 2.5}, "units=2.5; give a positive whole number"),
        ("rnn", (8, 3), {"dropout": 1.5}, "dropout=1.5; give a number from 0 to below 1"),
        ("transformer", (8, 3), {"dropout": 1}, "dropout=1; give a number from 0 to below 1"),
        ("mlp", (4,), {"dropout": "nan"}, "dropout='nan'; give a number from 0 to below 1"),
        ("cnn", (8, 8, 1), {"dropout": float("nan")}, "dropout=nan; give a number from 0 to below 1"),
        ("rnn", (8, 3), {"unit": 5}, "did you mean 'units'"),
        ("transformer", (8, 3), {"depth": True}, "depth=True; give a positive whole number"),
        ("transformer", (8, 3), {"width": 10, "heads": 4}, "make width a multiple of heads"),
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


# --- sequences


@pytest.mark.parametrize("name", ["rnn", "transformer"])
@pytest.mark.parametrize(
    ("shape", "args"), [((8, 8, 1), {}), ((6, 4, 3), {"dropout": 0.5}), ((5, 2), {}), ((9,), {"vocabulary": 11})]
)
def test_sequence_models_take_vectors_images_and_tokens(name, shape, args):
    model = models.build(name, shape, 7, args)
    x = np.random.default_rng(0).integers(0, 11, (3, *shape))
    assert model(x).shape == (3, 7) and not models.ends_in_softmax(model) and not model.compiled
    swapped = x.copy()
    swapped[:, [0, 1]] = x[:, [1, 0]]
    assert not np.allclose(model(swapped), model(x), atol=1e-6)  # the order in time counts


def test_parameters_of_the_sequence_models_by_hand():
    lstm = models.build("rnn", (28, 28, 1), 10, {"units": 6, "layers": 2, "dropout": 0.1})
    assert lstm.count_params() == 4 * 6 * (28 + 6 + 1) + 4 * 6 * (6 + 6 + 1) + (6 + 1) * 10
    tokens = models.build("rnn", (5,), 10, {"units": 6, "vocabulary": 9})
    assert tokens.count_params() == 9 * 6 + 4 * 6 * (6 + 6 + 1) + (6 + 1) * 10
    encoder = models.build("transformer", (5, 3), 10, {"width": 8, "heads": 2, "depth": 3, "feedforward": 16})
    block = 4 * 8 * 8 + (8 * 16 + 16) + (16 * 8 + 8) + 2 * 2 * 8
    assert encoder.count_params() == (3 * 8 + 5 * 8) + 3 * block + 2 * 8 + (8 + 1) * 10


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


@pytest.mark.parametrize(
    ("name", "side", "multiply_adds", "parameters"),
    [
        ("ResNet50", 224, 3.8e9, 25.6e6),  # He et al. 2015, table 1
        ("InceptionV3", 299, 5.7e9, 23.8e6),  # torchvision's table of weights: 5.71 G; Keras Applications
        ("EfficientNetB0", 224, 0.39e9, 5.3e6),  # Tan and Le 2019, table 2
    ],
)
def test_flops_of_published_networks(name, side, multiply_adds, parameters):
    about = models.describe(models.build(name, (side, side, 3), 1000, {}))
    assert about["flops_per_example"] / 3 / 2 == pytest.approx(multiply_adds, rel=0.03)
    assert about["parameters"] == pytest.approx(parameters, rel=0.01)


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


class Loop(keras.layers.Layer):
    def call(self, x):
        return tf.while_loop(lambda i, _: i < 5, lambda i, x: (i + 1, tf.matmul(x, x)), (0, x))[1]


def test_loops_are_named_a_lower_bound():
    about = models.describe(keras.Sequential([keras.Input((4, 4)), keras.layers.Dense(4, use_bias=False), Loop()]))
    assert about["flops_per_example"] == 3 * 2 * 4 * 4 * 4
    assert "lower bound" in about["flops_rule"]


def test_a_model_of_hidden_operations_has_no_flops():
    about = models.describe(keras.Sequential([keras.Input((4, 4)), Loop()]))
    assert about["flops_per_example"] is None and "sees none" in about["flops_rule"]


def lstm_flops(features, units, steps):
    """Four gates of a product with inputs and state (a multiply-add is 2), two biases that the profiler sees, a sum."""
    return steps * (8 * units * (features + units) + 3 * 4 * units)


LSTM = keras.layers.LSTM


@pytest.mark.parametrize(
    ("layers", "flops"),
    [
        ([LSTM(3)], lstm_flops(4, 3, 5)),
        ([LSTM(3, unroll=True)], lstm_flops(4, 3, 5)),
        ([LSTM(3, return_sequences=True), LSTM(6)], lstm_flops(4, 3, 5) + lstm_flops(3, 6, 5)),
        ([LSTM(3, return_sequences=True), keras.layers.AveragePooling1D(5), LSTM(6)],
         lstm_flops(4, 3, 5) + 5 * 3 + lstm_flops(3, 6, 1)),
        ([keras.layers.Bidirectional(LSTM(3))], 2 * lstm_flops(4, 3, 5)),
        ([keras.layers.GRU(3, use_bias=False)], 5 * (2 * 9 * (4 + 3) + 8 * 3)),
        ([keras.layers.SimpleRNN(3, use_bias=False)], 5 * (2 * 3 * (4 + 3) + 3)),
    ],
    ids=["one", "unrolled", "two", "unequal", "bidirectional", "gru", "simple"],
)  # fmt: skip
def test_flops_of_recurrent_layers_by_hand(layers, flops):
    model = keras.Sequential([keras.Input((5, 4)), *layers])
    about = models.describe(model)
    assert about["flops_per_example"] == 3 * flops
    assert "steps times one step" in about["flops_rule"] and "lower bound" not in about["flops_rule"]


def test_counting_a_recurrent_layer_leaves_it_as_it_was():
    model = keras.Sequential([keras.Input((5, 4)), LSTM(3, stateful=False)])
    x = np.random.default_rng(0).random((2, 5, 4), np.float32)
    before = model(x).numpy()
    models.describe(model)
    assert np.abs(before).max() > 0 and np.array_equal(model(x).numpy(), before)


def test_flops_of_attention_by_hand():
    """Four projections, then queries by keys and weights by values; scale and softmax take 6 a weight."""
    steps, width, heads = 28, 64, 4
    x = keras.Input((steps, width))
    model = keras.Model(x, keras.layers.MultiHeadAttention(heads, width // heads, use_bias=False)(x, x))
    products = 4 * 2 * steps * width**2 + 2 * 2 * steps**2 * width
    assert models.describe(model)["flops_per_example"] == 3 * (products + 6 * heads * steps**2)


def test_flops_of_the_sequence_models_are_those_of_their_products():
    """Elementwise arithmetic is a few per cent of them."""
    steps, units = 28, 128
    expected = steps * 8 * units * (28 + units) + steps * 8 * units * 2 * units
    rnn = models.describe(models.build("rnn", (28, 28, 1), 10, {"units": units, "layers": 2}))
    assert rnn["flops_per_example"] / 3 == pytest.approx(expected, rel=0.03)
    steps, width, hidden = 64, 128, 512
    block = 8 * steps * width**2 + 4 * steps**2 * width + 4 * steps * width * hidden
    args = {"width": width, "depth": 3, "feedforward": hidden, "vocabulary": 50}
    transformer = models.describe(models.build("transformer", (steps,), 10, args))
    expected = 3 * block + 2 * steps * width**2
    assert transformer["flops_per_example"] / 3 == pytest.approx(expected, rel=0.03)


def test_frozen_weights_make_the_flops_an_upper_bound():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5), keras.layers.Dense(2)])
    assert "upper bound" not in models.describe(model)["flops_rule"]
    model.layers[0].trainable = False
    about = models.describe(model)
    assert about["trainable_parameters"] == 12 and "upper bound" in about["flops_rule"]
    model.layers[0].trainable, model.trainable = True, False
    assert "upper bound" in models.describe(model)["flops_rule"]


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
