"""Functions of a person: described by source and hash, sent to a worker, called with what they take."""

from __future__ import annotations

import functools
import hashlib
import threading

import cloudpickle
import numpy as np
import pytest

from dcbench import SpecError, functions

WIDTH = 4


def uses_global() -> int:
    return WIDTH


def uses_nothing() -> int:
    return 4


def test_describe_gives_name_source_hash_and_captured_names() -> None:
    about = functions.describe(uses_global)
    assert about["function"] == "uses_global"
    assert "return WIDTH" in about["source"]
    assert about["globals"] == ["WIDTH"]
    assert len(about["sha256"]) == 64


def test_hash_changes_with_a_captured_number_only_where_it_is_used(monkeypatch) -> None:
    before = [functions.describe(f)["sha256"] for f in (uses_global, uses_nothing)]
    monkeypatch.setitem(globals(), "WIDTH", 5)
    after = [functions.describe(f)["sha256"] for f in (uses_global, uses_nothing)]
    assert before[0] != after[0]
    assert before[1] == after[1]


def _compiled(text: str):
    space: dict = {}
    exec(text, space)  # a function whose source Python does not have
    return space["f"]


def test_hash_without_source_follows_the_code() -> None:
    text = "def f(x):\n    def g(y):\n        return y + 1\n    return g(x)\n"
    assert functions.describe(_compiled(text))["source"] is None
    assert functions.describe(_compiled(text)) == functions.describe(_compiled(text))
    changed = functions.describe(_compiled(text.replace("+ 1", "+ 2")))
    assert changed["sha256"] != functions.describe(_compiled(text))["sha256"]


def test_partial_counts_what_it_binds() -> None:
    def build(width: int) -> int:
        return width

    assert functions.describe(functools.partial(build, 3))["function"].endswith("build")
    hashes = {functions.describe(functools.partial(build, n))["sha256"] for n in (3, 3, 4)}
    assert len(hashes) == 2


def test_function_of_a_file(tmp_path) -> None:
    path = tmp_path / "own.py"
    path.write_text("def load():\n    return 42\n")
    assert functions.load_file_function(f"{path}:load")() == 42
    about = functions.describe(f"{path}:load")
    assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


FILES = {
    "missing": (None, "does not exist"),
    "broken": ("def load(:\n", "cannot be imported: SyntaxError"),
    "leaving": ("raise SystemExit(3)\n", "cannot be imported: SystemExit"),
    "other": ("def lode():\n    pass\n", "has no function 'load'; it has lode"),
    "constant": ("load = 3\n", "has no function 'load'; it has none"),
}


@pytest.mark.parametrize(("text", "said"), FILES.values(), ids=FILES)
def test_a_bad_file_is_one_sentence(tmp_path, text, said) -> None:
    path = tmp_path / "own.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpecError) as caught:
        functions.load_file_function(f"{path}:load")
    assert said in str(caught.value)


def test_a_file_that_is_no_text_is_one_sentence(tmp_path) -> None:
    (tmp_path / "own.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read as text"):
        functions.describe(f"{tmp_path}/own.py:load")


def test_form_of_a_file_function() -> None:
    assert functions.is_file_function("a/b.py:f")
    assert not any(map(functions.is_file_function, ("cnn", "a.py", "a.py:", "a.py:1x", "a.txt:f", "a.py:f()")))
    with pytest.raises(SpecError, match=r"write it as 'file\.py:function'"):
        functions.load_file_function("cnn")


def test_pack_carries_what_a_function_captures() -> None:
    width = 7
    assert cloudpickle.loads(functions.pack(lambda: width))() == 7


def test_pack_refuses_large_and_unsendable_captures() -> None:
    large = np.ones(3 * 2**20)  # 24 MiB, more than a function may bring
    with pytest.raises(SpecError, match=r"captures \(.*large.*load large data inside the function"):
        functions.pack(lambda: large)
    lock = threading.Lock()
    with pytest.raises(SpecError, match=r"create what it needs inside it \(it captures lock\)"):
        functions.pack(lambda: lock)


def test_call_gives_what_the_signature_takes() -> None:
    def build(outputs: int, width: int = 2) -> tuple:
        return outputs, width

    offered = {"input_shape": (8,), "outputs": 10}
    assert functions.call(build, {"width": 3}, offered) == (10, 3)
    with pytest.raises(SpecError, match="did you mean 'width'"):
        functions.call(build, {"widht": 3}, offered)
    with pytest.raises(SpecError, match="needs the argument 'outputs'"):
        functions.call(build, {})


def test_call_names_the_function_that_raises() -> None:
    def build() -> None:
        raise ValueError("two\nlines")

    with pytest.raises(SpecError) as caught:
        functions.call(build, {}, what="model 'build'")
    assert str(caught.value) == "model 'build' raised ValueError: two lines; correct it or its arguments"
