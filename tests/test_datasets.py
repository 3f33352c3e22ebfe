"""Datasets: every example counted, equal batches for every backend, one sentence for what cannot be used."""

from __future__ import annotations

import functools
import hashlib
import http.server
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from dcbench import datasets, hardware
from dcbench.datasets import Order, _batches, _bundled, _files, image_folder, mnist
from dcbench.errors import SpecError, StoreError


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def load(dataset, cache, **args):
    return datasets.load(dataset, args, cache)


def read(data, order, rank, size, start, steps):
    pairs = list(datasets.batches(data, order, rank, size, start, steps).as_numpy_iterator())
    return np.stack([x for x, _ in pairs]), np.stack([y for _, y in pairs])


def numbered(count):
    """A dataset whose inputs tell which example they are."""
    return datasets.from_arrays("numbered", "function", (np.arange(count)[:, None], np.arange(count) % 7))


# --- the order


@pytest.mark.parametrize(
    ("examples", "batch", "epochs"), [(10, 4, 2), (1437, 64, 3), (5, 16, 7), (8, 8, 1), (7, 1, 2)]
)
def test_every_example_is_read_once_an_epoch(examples, batch, epochs):
    order = Order(3, examples, batch)
    steps, rest = order.steps_for_epochs(epochs)
    stream = np.concatenate([order.ids(0, steps).ravel(), order.tail(epochs)])
    assert len(order.tail(epochs)) == rest == epochs * examples - steps * batch
    assert stream.shape == (epochs * examples,)
    for epoch in range(epochs):
        part = stream[epoch * examples : (epoch + 1) * examples]
        assert np.array_equal(np.sort(part), np.arange(examples))


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_ranks_take_disjoint_rows_that_make_the_global_batch(size):
    order = Order(1, 100, 12)
    parts = [order.rows(rank, size, 5, 20) for rank in range(size)]
    assert {p.shape for p in parts} == {(20, 12 // size)}
    assert np.array_equal(np.concatenate(parts, axis=1), order.ids(5, 20))
    for step in range(20):
        if (step + 5) * 12 // 100 == ((step + 6) * 12 - 1) // 100:  # inside one epoch
            assert len(set(order.ids(5 + step).ravel())) == 12


def test_rows_do_not_depend_on_how_they_are_asked_for():
    order = Order(1, 23, 4)
    whole = order.ids(0, 40)
    assert np.array_equal(np.concatenate([order.ids(k) for k in range(40)]), whole)
    assert np.array_equal(order.rows(1, 2, 17, 3), whole[17:20, 2:])


def test_epochs_and_seeds_differ_and_repeat():
    order = Order(1, 50, 50)
    first, second = order.ids(0, 2)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, Order(2, 50, 50).ids(0)[0])
    assert np.array_equal(order.ids(0, 2), Order(1, 50, 50).ids(0, 2))


def test_the_order_is_the_same_in_every_numpy_version():
    assert Order(0, 10, 10).ids(0).tolist() == [[3, 7, 6, 4, 1, 0, 2, 8, 5, 9]]


def test_digest_tells_ranks_seeds_and_lengths_apart():
    order = Order(0, 100, 8)
    seen = [
        datasets.digest(order, 0, 2, 0, 9),
        datasets.digest(order, 1, 2, 0, 9),
        datasets.digest(order, 0, 2, 0, 8),
    ]
    seen += [datasets.digest(Order(1, 100, 8), 0, 2, 0, 9), datasets.digest(order, 0, 1, 0, 9)]
    assert len(set(seen)) == len(seen)


def test_digest_of_many_steps_is_that_of_all_rows():
    order, steps = Order(0, 30, 4), 10_000
    expected = hashlib.sha256(order.rows(1, 2, 3, steps).tobytes()).hexdigest()
    assert datasets.digest(order, 1, 2, 3, steps) == expected


@pytest.mark.parametrize(("rank", "size"), [(2, 2), (-1, 2), (0, 3), (0, 0)])
def test_parts_that_do_not_exist_are_refused(rank, size):
    with pytest.raises(SpecError, match="equal"):
        Order(0, 10, 4).rows(rank, size, 0, 1)


@pytest.mark.parametrize(("examples", "batch"), [(0, 4), (4, 0)])
def test_an_order_of_nothing_is_refused(examples, batch):
    with pytest.raises(SpecError, match="positive"):
        Order(0, examples, batch)


# --- batches


def test_batches_are_the_rows_of_the_order(tf):
    data, order = numbered(50), Order(4, 50, 8)
    x, y = read(data, order, 1, 2, 3, 20)
    assert np.array_equal(x[..., 0], order.rows(1, 2, 3, 20))
    assert np.array_equal(y, x[..., 0] % 7)


def test_one_device_with_twice_the_batch_reads_what_two_read(tf):
    data, order = numbered(50), Order(4, 50, 8)
    alone = read(data, order, 0, 1, 0, 30)
    parts = [read(data, order, rank, 2, 0, 30) for rank in (0, 1)]
    for one, first, second in zip(alone, *parts, strict=True):
        assert np.array_equal(one, np.concatenate([first, second], axis=1))


def test_batches_count_every_example(tf):
    data, order = numbered(60), Order(0, 60, 12)
    steps, rest = order.steps_for_epochs(2)
    seen = np.concatenate([read(data, order, rank, 3, 0, steps)[0].ravel() for rank in range(3)])
    assert rest == 0
    assert np.array_equal(np.bincount(seen), np.full(60, 2))


def test_long_runs_are_fed_in_chunks_of_the_same_rows(tf, monkeypatch):
    data, order = numbered(50), Order(4, 50, 8)
    whole = read(data, order, 1, 2, 5, 23)
    monkeypatch.setattr(_batches, "CHUNK_IDS", 32)  # four steps
    chunked = read(data, order, 1, 2, 5, 23)
    assert np.array_equal(whole[0], chunked[0])
    assert np.array_equal(whole[1], chunked[1])


def test_batch_shapes_are_known_to_tensorflow(tf):
    data, order = numbered(50), Order(4, 50, 8)
    x, y = datasets.batches(data, order, 0, 2, 0, 10**6).element_spec
    assert (x.shape.as_list(), y.shape.as_list()) == ([4, 1], [4])


# --- digits


def test_digits_are_real_and_split_once(tmp_path):
    first, second = load("digits", tmp_path), load("digits", tmp_path)
    assert (first.source, second.source) == ("bundled", "cache")
    assert (first.x.shape, first.test[0].shape, first.x.dtype) == (
        (1438, 8, 8, 1),
        (359, 8, 8, 1),
        np.float32,
    )
    assert (first.x.min(), first.x.max(), first.outputs, first.task) == (0, 1, 10, "classification")
    assert first.input_shape == (8, 8, 1) and first.examples == 1438
    for a, b in ((first.x, second.x), (first.y, second.y), *zip(first.test, second.test, strict=True)):
        assert np.array_equal(a, b)


def test_digits_are_scikit_learns(tmp_path):
    bundled = pytest.importorskip("sklearn.datasets").load_digits()
    data = load("digits", tmp_path)
    x = np.concatenate([data.x, data.test[0]]).reshape(-1, 64) * 16
    ours = sorted(map(tuple, np.c_[x, np.concatenate([data.y, data.test[1]])].tolist()))
    assert ours == sorted(map(tuple, np.c_[bundled.data, bundled.target].tolist()))


def test_loading_digits_imports_neither_tensorflow_nor_scikit_learn(tmp_path):
    code = (
        "import sys, pathlib; from dcbench import datasets, models\n"
        f"datasets.load('digits', {{}}, pathlib.Path({str(tmp_path)!r}))\n"
        "print(sorted({'tensorflow', 'keras', 'sklearn', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- diabetes


def test_diabetes_is_standardised_by_its_training_rows(tmp_path):
    first, second = load("diabetes", tmp_path), load("diabetes", tmp_path)
    assert (first.source, second.source) == ("bundled", "cache")
    assert (first.task, first.outputs, first.examples, first.input_shape) == ("regression", 1, 354, (10,))
    assert (first.x.shape, first.y.shape, first.test[0].shape, first.test[1].shape) == (
        (354, 10), (354, 1), (88, 10), (88, 1),
    )  # fmt: skip
    for values in (first.x, first.y):
        assert np.abs(values.mean(0, np.float64)).max() < 1e-6 and np.abs(values.std(0) - 1).max() < 1e-5
    for a, b in ((first.x, second.x), (first.y, second.y), *zip(first.test, second.test, strict=True)):
        assert a.dtype == np.float32 and np.array_equal(a, b)


def test_diabetes_is_scikit_learns(tmp_path):
    bundled = pytest.importorskip("sklearn.datasets").load_diabetes(scaled=False)
    data = load("diabetes", tmp_path)
    ours = np.c_[np.concatenate([data.x, data.test[0]]), np.concatenate([data.y, data.test[1]])]
    theirs = np.c_[bundled.data, bundled.target]
    shuffled = np.random.RandomState(_bundled.SPLIT_SEED).permutation(442)
    train, test = theirs[shuffled[88:]], theirs[shuffled[:88]]
    expected = (np.concatenate([train, test]) - train.mean(0)) / train.std(0)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_bundled_data_without_scikit_learn(tmp_path, monkeypatch, name):
    monkeypatch.setattr(_bundled, "FOLDER", "sklearn/nowhere")
    with pytest.raises(SpecError, match=f"dataset '{name}' needs scikit-learn's bundled file.*install"):
        load(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["digits", "diabetes"])
@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_a_damaged_cache_is_refused(tmp_path, content, name):
    path = tmp_path / f"{name}.npz"
    if content is None:
        np.savez(path, **dict.fromkeys(_bundled.PARTS, np.zeros((3, 3), np.uint8)))
    else:
        path.write_bytes(content)
    with pytest.raises(SpecError, match=re.escape(str(path)) + r".*delete"):
        load(name, tmp_path)


def test_an_unwritable_cache_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot be written.*DCBENCH_CACHE"):
        load("digits", tmp_path / "file" / "cache")


# --- mnist and downloads


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """An archive like MNIST's, offered by a server of this machine."""
    source = tmp_path / "served" / "source.npz"
    source.parent.mkdir()
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 20), ("test", 5)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"y_{part}"] = rng.integers(0, 10, count, np.uint8)
    np.savez(source, **arrays)
    monkeypatch.setattr(mnist, "SHA256", _files.sha256(source))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=source.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(mnist, "URL", f"http://127.0.0.1:{server.server_address[1]}/{source.name}")
        yield arrays
        server.shutdown()
        thread.join()


def test_mnist_without_network_names_digits(tmp_path):
    with pytest.raises(SpecError, match=r"allow_download=True.*'digits'"):
        load("mnist", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_mnist_is_downloaded_once(tmp_path, small_mnist, monkeypatch):
    cache = tmp_path / "cache"
    data = datasets.load("mnist", {}, cache, allow_download=True)
    assert (data.source, data.x.shape, data.test[0].shape) == ("download", (20, 28, 28, 1), (5, 28, 28, 1))
    assert np.array_equal(data.x[..., 0], small_mnist["x_train"].astype(np.float32) / 255)
    monkeypatch.setattr(mnist, "URL", "http://127.0.0.1:1/gone")
    assert load("mnist", cache).source == "cache"


def test_a_wrong_download_is_not_kept(tmp_path, small_mnist, monkeypatch):
    monkeypatch.setattr(mnist, "SHA256", "0" * 64)
    cache = tmp_path / "cache"
    with pytest.raises(SpecError, match=r"SHA-256.*not kept.*'digits'"):
        datasets.load("mnist", {}, cache, allow_download=True)
    assert [p.name for p in cache.iterdir() if p.suffix != ".lock"] == []


def test_a_damaged_cached_file_is_refused(tmp_path, small_mnist):
    (tmp_path / "mnist.npz").write_bytes(b"something else")
    with pytest.raises(SpecError, match=r"SHA-256 differs.*delete"):
        load("mnist", tmp_path)


def test_a_server_that_cannot_be_reached_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "URL", "http://127.0.0.1:1/gone")
    with pytest.raises(SpecError, match=r"cannot be downloaded.*'digits'"):
        datasets.load("mnist", {}, tmp_path / "cache", allow_download=True)


# --- synthetic


def test_synthetic_has_the_shape_that_is_asked(tmp_path):
    data = load("synthetic", tmp_path, shape=[5, 4, 2], outputs=3, examples=40)
    assert (data.x.shape, data.x.dtype, data.test[0].shape) == ((40, 5, 4, 2), np.float32, (10, 5, 4, 2))
    assert set(data.y) == {0, 1, 2} and data.source == "synthetic"
    assert np.array_equal(data.x, load("synthetic", tmp_path, shape=[5, 4, 2], outputs=3, examples=40).x)
    assert not np.array_equal(
        data.x, load("synthetic", tmp_path, shape=[5, 4, 2], outputs=3, examples=40, seed=1).x
    )


def test_synthetic_targets_are_linear_in_the_inputs(tmp_path):
    data = load("synthetic", tmp_path, shape=[6], outputs=2, examples=50, task="regression")
    _, residual, rank, _ = np.linalg.lstsq(data.x, data.y, rcond=None)
    assert (data.task, data.y.shape, rank) == ("regression", (50, 2), 6)
    assert residual.max() < 1e-6


@pytest.mark.parametrize(
    "args",
    [
        {"shape": []},
        {"shape": 8},
        {"shape": [8, -1]},
        {"outputs": 0},
        {"examples": True},
        {"examples": 1.5},
        {"task": "x"},
        {"seed": -1},
        {"examples": 10**15},
    ],
)
def test_synthetic_refuses_what_makes_no_sense(tmp_path, args):
    with pytest.raises(SpecError, match="synthetic"):
        load("synthetic", tmp_path, **args)


def test_synthetic_counts_arrays_tensors_and_teacher_against_the_limit(tmp_path, monkeypatch):
    held_bytes = 4 * ((2 * 40 + 10) * (6 + 2) + 6 * 2)  # 40 examples twice, 10 to test, the teacher
    monkeypatch.setattr(hardware, "memory_limit_bytes", lambda root=None: 2 * held_bytes)
    assert load("synthetic", tmp_path, shape=[6], outputs=2, examples=40).examples == 40
    with pytest.raises(SpecError, match=r"the 41 examples of shape \(6,\) .* take .* GB of memory"):
        load("synthetic", tmp_path, shape=[6], outputs=2, examples=41)


# --- names and arguments


def test_unknown_arguments_name_the_nearest(tmp_path):
    with pytest.raises(SpecError, match="no argument 'exmples'; did you mean 'examples'"):
        load("synthetic", tmp_path, exmples=3)
    with pytest.raises(SpecError, match=r"'cache'.*leave it out"):
        datasets.load("synthetic", {"cache": "x"}, tmp_path)
    with pytest.raises(SpecError, match="'digits' has no argument 'shape'"):
        load("digits", tmp_path, shape=[3])


def test_unknown_datasets_name_the_nearest(tmp_path):
    with pytest.raises(SpecError, match="did you mean 'digits'"):
        load("digit", tmp_path)


# --- a person's functions

X, Y = np.arange(24.0).reshape(12, 2), np.arange(12) % 3


def test_arrays(tmp_path):
    data = load(lambda: (X, Y), tmp_path)
    assert (data.source, data.task, data.outputs, data.examples) == ("function", "classification", 3, 12)
    assert (data.x.dtype, data.y.dtype, data.test) == (np.float32, np.int32, None)
    assert data.name.endswith("<lambda>")


def test_arrays_with_a_test_split_and_arguments(tmp_path):
    data = load(lambda count: ((X[:count], Y[:count]), (X[count:], Y[count:])), tmp_path, count=8)
    assert (data.examples, len(data.test[0])) == (8, 4)


def test_a_dict(tmp_path):
    data = load(lambda: {"x": X, "y": Y, "test": (X[:2], Y[:2]), "outputs": 5}, tmp_path)
    assert (data.outputs, data.examples, len(data.test[1])) == (5, 12, 2)
    with pytest.raises(SpecError, match="'output'; did you mean 'outputs'"):
        load(lambda: {"x": X, "y": Y, "output": 5}, tmp_path)
    with pytest.raises(SpecError, match="without train data"):
        load(lambda: {"x": X}, tmp_path)


def test_regression(tmp_path):
    data = load(lambda: (X, Y / 2), tmp_path)
    assert (data.task, data.outputs, data.y.shape, data.y.dtype) == ("regression", 1, (12, 1), np.float32)


def test_a_function_of_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import numpy as np\ndef data(n=4):\n    return np.ones((n, 2)), np.arange(n)\n")
    assert load(f"{path}:data", tmp_path, n=6).examples == 6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "gives int"),
        ((X, Y[:5]), "12 inputs and 5 targets"),
        ((X, Y - 1), "-1 as a class"),
        ((X, np.eye(12)), "one-hot"),
        ((X * np.nan, Y), "not finite"),
        ((X, Y * np.nan), "not finite"),
        ((np.array([["a"]]), Y[:1]), "type <U1"),
        ((X[:0], Y[:0]), r"shape \(0, 2\)"),
        (((X, Y), (X[:, :1], Y)), "test inputs of shape"),
        ({"x": X, "y": Y, "outputs": 2}, "states 2 outputs but needs 3"),
        ({"x": X, "y": Y, "outputs": "3"}, "states outputs '3'"),
        ({"x": X, "y": Y, "task": "guess"}, "states task 'guess'"),
        ("/no/such/folder", "does not exist"),
    ],
)
def test_unusable_results_are_one_sentence(tmp_path, given, message):
    with pytest.raises(SpecError, match=message) as caught:
        load(lambda: given, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_raising_function_is_named(tmp_path):
    def broken():
        raise ValueError("no\nluck")

    with pytest.raises(SpecError, match="broken' raised ValueError: no luck"):
        load(broken, tmp_path)


def test_a_function_with_a_rank_must_not_give_arrays(tmp_path):
    def sharded(rank, size):
        return X, Y

    with pytest.raises(SpecError, match="leave rank and size out"):
        datasets.load(sharded, {}, tmp_path, rank=0, size=2)


def pipeline(tf, count=10):
    return tf.data.Dataset.from_tensor_slices(
        (np.arange(count, dtype=np.float32)[:, None], np.arange(count) % 4)
    )


def test_a_pipeline_is_read_by_all_and_each_keeps_its_rows(tf, tmp_path):
    data = load(lambda: pipeline(tf), tmp_path)
    assert (data.x, data.examples, data.outputs, data.input_shape, data.sharded) == (None, 10, 4, (1,), False)
    order = Order(0, data.examples, 4)
    parts = [read(data, order, rank, 2, 1, 4)[0][..., 0] for rank in (0, 1)]
    assert np.array_equal(np.concatenate(parts, 1).ravel(), np.arange(4, 20) % 10)
    assert np.array_equal(read(data, order, 0, 1, 1, 4)[0].ravel(), np.arange(4, 20) % 10)


def test_a_pipeline_may_give_each_rank_its_shard(tf, tmp_path):
    def mine(rank, size):
        return pipeline(tf).shard(size, rank)

    data = [datasets.load(mine, {}, tmp_path, rank=rank, size=2) for rank in (0, 1)]
    assert [d.examples for d in data] == [5, 5] and all(d.sharded for d in data)
    assert data[0].total_examples(2) == 10
    order = Order(0, 10, 4)
    seen = [read(d, order, rank, 2, 0, 5)[0].ravel() for rank, d in enumerate(data)]
    assert np.array_equal(np.bincount(np.concatenate(seen).astype(int)), np.full(10, 2))
    assert set(seen[0]) == {0, 2, 4, 6, 8}


def test_uneven_shards_are_counted(tf, tmp_path):
    def mine(rank, size):
        return (
            pipeline(tf, 11).shard(size, rank).filter(lambda x, y: True)
        )  # a length that TensorFlow does not know

    assert [datasets.load(mine, {}, tmp_path, rank=rank, size=2).examples for rank in (0, 1)] == [6, 5]


def test_a_sample_tells_same_data_from_other_data(tf, tmp_path):
    def mine(rank, size):
        return pipeline(tf).shard(size, rank)

    def arrays(seed):
        return np.random.default_rng(seed).random((1000, 3)), Y[np.arange(1000) % 12]

    shards = [datasets.load(mine, {}, tmp_path, rank=rank, size=2).sample_digest() for rank in (0, 1, 1)]
    assert shards[0] != shards[1] == shards[2]
    assert load(lambda: pipeline(tf), tmp_path).sample_digest() == load(mine, tmp_path).sample_digest()
    assert load(arrays, tmp_path, seed=0).sample_digest() == load(arrays, tmp_path, seed=0).sample_digest()
    assert load(arrays, tmp_path, seed=0).sample_digest() != load(arrays, tmp_path, seed=1).sample_digest()


def test_whole_numbers_stay_whole(tmp_path):
    """Identifiers of tokens must not become fractions."""
    data = load(lambda: (np.array([[2**40, 1]]), [0]), tmp_path)
    assert data.x.tolist() == [[2**40, 1]] and data.x.dtype == np.int64


def test_a_pipeline_with_a_test_split(tf, tmp_path):
    data = load(lambda: (pipeline(tf), pipeline(tf, 6)), tmp_path)
    assert (data.examples, data.test[0].shape, data.test[1].dtype) == (10, (6, 1), np.int32)


def test_a_pipeline_of_values(tf, tmp_path):
    data = load(lambda: pipeline(tf).map(lambda x, y: (x, 2 * x)), tmp_path)
    assert (data.task, data.outputs, data.examples) == ("regression", 1, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.batch(2), "leave out .batch"),
        (lambda ds: ds.repeat(), "leave out .repeat"),
        (lambda ds: ds.map(lambda x, y: x), "pairs"),
        (lambda ds: ds.filter(lambda x, y: False), "no examples"),
        (lambda ds: ds.map(lambda x, y: (x, y - 1)), "-1 as a class"),
    ],
)
def test_unusable_pipelines_are_one_sentence(tf, tmp_path, change, message):
    with pytest.raises(SpecError, match=message):
        load(lambda: change(pipeline(tf)), tmp_path)


# --- image folders


@pytest.fixture
def photos(tf, tmp_path):
    """Ten black cats and ten white dogs."""
    for label, value in (("cat", 0), ("dog", 255)):
        (folder := tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(10):
            pixels = tf.fill((6, 4, 3), tf.constant(value, tf.uint8))
            (folder / f"{i}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return tmp_path / "photos"


@pytest.mark.parametrize("kind", [str, Path])
def test_an_image_folder(photos, tmp_path, kind):
    data = load(lambda: kind(photos), tmp_path)
    assert (data.source, data.outputs, data.input_shape) == ("folder", 2, (6, 4, 3))
    assert (data.examples, len(data.test[1])) == (16, 4)
    assert np.array_equal(data.x.mean((1, 2, 3)), data.y)


def test_an_image_folder_by_name(photos, tmp_path):
    data = load("image_folder", tmp_path, path=str(photos), image_size=[3, 5], test_fraction=0)
    assert (data.x.shape, data.test) == ((20, 3, 5, 3), None)


def test_unusable_image_folders_are_one_sentence(photos, tmp_path, monkeypatch):
    with pytest.raises(SpecError, match="needs the argument 'path'"):
        load("image_folder", tmp_path)
    with pytest.raises(SpecError, match="no images in sub-folders"):
        load("image_folder", tmp_path, path=str(photos / "cat"))
    with pytest.raises(SpecError, match="image_size"):
        load("image_folder", tmp_path, path=str(photos), image_size=[3])
    with pytest.raises(SpecError, match="test_fraction"):
        load("image_folder", tmp_path, path=str(photos), test_fraction=1)
    with pytest.raises(SpecError, match=r"more than half of the .* GB of memory"):
        load("image_folder", tmp_path, path=str(photos), image_size=[10**6, 10**6])
    (photos / "cat" / "0.png").write_bytes(b"no image")
    with pytest.raises(SpecError, match=r"0.png cannot be decoded"):
        load("image_folder", tmp_path, path=str(photos))


def test_a_class_without_images_is_named(photos):
    (photos / ".ipynb_checkpoints").mkdir()
    datasets.load("image_folder", {"path": str(photos)}, photos.parent, False, 0, 1)
    (photos / "zebras").mkdir()
    with pytest.raises(SpecError, match="no images of class 'zebras'"):
        datasets.load("image_folder", {"path": str(photos)}, photos.parent, False, 0, 1)


def test_an_image_folder_counts_each_image_twice_against_the_limit(photos, tmp_path, monkeypatch):
    limit_bytes = 2 * 2 * 20 * (3 * 5 * 3) * 4  # half of it holds 20 images twice
    monkeypatch.setattr(hardware, "memory_limit_bytes", lambda root=None: limit_bytes)
    assert load("image_folder", tmp_path, path=str(photos), image_size=[3, 5]).examples == 16
    with pytest.raises(SpecError, match=r"the 20 images of .* at 3×6 take .* of memory that may be used here"):
        load("image_folder", tmp_path, path=str(photos), image_size=[3, 6])


def test_classes_are_the_sub_folders_in_order(photos):
    assert [f.parent.name for f in image_folder._files(photos)] == ["cat"] * 10 + ["dog"] * 10
