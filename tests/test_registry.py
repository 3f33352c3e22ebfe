"""Names of models, datasets and backends: own modules, Keras Applications, and folders of plugins."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dcbench import SpecError, registry


def test_names_are_the_modules_without_underscore() -> None:
    assert registry.names("backend") == ("horovod", "independent", "mirrored", "single")
    assert {"digits", "mnist", "synthetic"} <= set(registry.names("dataset"))
    assert {"linear", "mlp", "cnn", "ResNet50", "VGG16", "MobileNetV2"} <= set(registry.names("model"))
    assert not [n for kind in registry.KINDS for n in registry.names(kind) if n.startswith("_")]


def test_the_nearest_match_ignores_case() -> None:
    assert registry.nearest("resnet5", registry.names("model")) == "; did you mean 'ResNet50'?"
    assert registry.nearest("zzz", ("cnn",)) == ""


def test_unknown_name_lists_what_is_known() -> None:
    with pytest.raises(SpecError) as caught:
        registry.check("dataset", "qqq")
    assert "unknown dataset 'qqq' (known: diabetes, digits" in str(caught.value)


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("DCBENCH_PLUGINS", str(tmp_path))
    return tmp_path


def test_a_plugin_folder_adds_an_entry(plugins) -> None:
    (plugins / "models" / "tiny.py").write_text("def build(input_shape, outputs):\n    return 'built'\n")
    assert "tiny" in registry.names("model")
    assert registry.load("model", "tiny").build((1,), 1) == "built"


def test_own_entries_win_over_plugins(plugins) -> None:
    (plugins / "models" / "cnn.py").write_text("raise RuntimeError('taken')\n")
    assert registry.load("model", "cnn").__name__ == "dcbench.models.cnn"


def test_a_broken_plugin_is_named(plugins) -> None:
    (plugins / "models" / "broken.py").write_text("import no_such_module\n")
    with pytest.raises(SpecError, match=r"the model 'broken' cannot be imported from .*broken\.py"):
        registry.load("model", "broken")


@pytest.mark.parametrize(
    ("text", "said"),
    [("FACT = True\n", True), ("FACT: bool = True\n", True), ("FACT = False\n", False), ("print(FACT)\n", False),
     ("def f():\n    FACT = True\n", False)],
)
def test_a_file_says_a_fact_and_is_not_run(plugins, text, said) -> None:
    (plugins / "models" / "own.py").write_text(f"import no_such_module\n{text}")
    assert registry.says("model", "own", "FACT") is said


@pytest.mark.parametrize(
    ("text", "reason"),
    [("FACT = 1", r"says 'FACT = 1' in .*own\.py; write True or False"), ("FACT =", r"cannot be read from .*own\.py"),
     *((text, r"gives FACT in another way in .*own\.py; write 'FACT = …' on its own")
       for text in ("if True:\n    FACT = True\n", "A, FACT = True, True", "from other import FACT"))],
)
def test_a_file_that_says_something_else_is_named(plugins, text, reason) -> None:
    (plugins / "models" / "own.py").write_text(text)
    with pytest.raises(SpecError, match=reason):
        registry.says("model", "own", "FACT")


@pytest.mark.parametrize(("text", "found"), [("SHAPE = (8, 8, 1)", (8, 8, 1)), ("SHAPE = (3,)", (3,)), ("x = 1", ())])
def test_a_file_gives_numbers_and_is_not_run(plugins, text, found) -> None:
    (plugins / "models" / "own.py").write_text(f"{text}\nraise RuntimeError('it was run')\n")
    assert registry.numbers("model", "own", "SHAPE") == found


@pytest.mark.parametrize("text", ["SHAPE = 3", "SHAPE = (a, 2)", "SHAPE = (1.5,)", "SHAPE = {[]: 1}"])
def test_a_file_that_gives_something_else_than_numbers_is_named(plugins, text) -> None:
    (plugins / "models" / "own.py").write_text(text)
    with pytest.raises(SpecError, match=r"own\.py; write \(1, 2\) for 1 and 2"):
        registry.numbers("model", "own", "SHAPE")


def test_names_are_found_without_tensorflow() -> None:
    program = (
        "import sys; from dcbench import registry; [registry.names(k) for k in registry.KINDS];"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
