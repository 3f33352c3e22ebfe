"""Notebooks in batch: parameters are checked first, the report stands alone, nothing is left running."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from dcbench import batch, store
from dcbench.batch import parameter, report
from dcbench.cli import main
from dcbench.errors import SpecError, StoreError, WorkerFailed

PARAMETERS = """\
repeats: int = 2  # runs of each configuration
rate: float = 0.5  # learning rate
name: str = "cnn"  # model
sizes: list[int] = [1, 2]  # devices
fast: bool = False  # leave checks out
"""


PROJECT = Path(__file__).parents[1]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = "document.title = [innerWidth, document.body.scrollWidth, document.querySelector('main').scrollWidth]"


def notebook(folder, *cells, parameters=PARAMETERS):
    tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    made = new_notebook(cells=[new_markdown_cell("# Title *one*"), tagged, *cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "study.ipynb"
    nbformat.write(made, path)
    return path


def attributes_of(text):
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.extend(name for name, _ in attributes)
    parser.feed(text)
    return found


def code(text):
    return new_code_cell(textwrap.dedent(text).strip())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Run one notebook with everything in it; return the report's path."""
    folder = tmp_path_factory.mktemp("batch {odd}")
    path = notebook(
        folder,
        new_markdown_cell("## Part\n\nText with <script>alert('markdown')</script> and **weight**."),
        code("print('repeats', repeats, 'rate', rate, 'name', name, 'sizes', sizes)"),
        code("import pandas; pandas.DataFrame({'speed': ['<script>alert(1)</script>', 'x']})"),
        code("from IPython.display import HTML, Pretty"),
        code("HTML('<img src=x onerror=alert(2)><script>alert(3)</script>kept')"),
        code("import plotly.graph_objects as go"),
        code("go.Figure(go.Scatter(y=[1, 2]), {'title': '</script><b>evil'})"),
        code("go.Figure(go.Bar(y=[3]))"),
        code("d = display(Pretty('a'), display_id=True); d.update(Pretty('done 7'))"),
        code("import ipywidgets; display(ipywidgets.IntSlider()); ipywidgets.VBox([ipywidgets.Label('label')])"),
        code("go.FigureWidget(go.Bar(y=[4]))"),
    )
    return batch.run_notebook(path, {"repeats": "5", "rate": 1, "sizes": "[2, 4]"}, folder / "out")


def test_report_shows_what_ran_with_which_parameters(made):
    text = made.read_text()
    assert "<title>Title one</title>" in text
    assert "repeats 5 rate 1.0 name cnn sizes [2, 4]" in text
    assert re.search(r"<th>repeats</th><td>5</td><td>runs of each configuration</td>", text)
    assert re.search(r"<th>name</th><td>cnn</td>", text)
    assert "<strong>weight</strong>" in text and "<h2" in text and "<table" in text
    assert "done 7" in text


def test_report_loads_nothing_and_draws_with_one_copy_of_plotly(made):
    text = made.read_text()
    page = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page)
    assert "default-src 'none'" in page
    assert text.count("plotly.js v") == 1
    assert len(re.findall(r"Plotly\.newPlot\(", text.split("</head>")[1])) == 2
    assert text.count('"showSendToCloud": false') == 2
    assert made.stat().st_size < 6_000_000


def test_widgets_leave_one_line_a_cell_and_no_state(made):
    text = made.read_text()
    assert text.count("Interactive in JupyterLab.") == 2
    assert not re.search(r"children=|IntSlider\(value|FigureWidget\(\{|widget-view|model_id", text.split("</head>")[1])
    assert made.with_suffix(".ipynb").stat().st_size < 200_000  # a single saved FigureWidget is 5 MB


def test_what_stands_beside_a_widget_stays_in_the_report(tmp_path):
    view = {report.WIDGET: {"model_id": "0" * 32}, "text/plain": "HBox(children=(Label(),))"}
    data = [view, view | {"text/html": "<b>bar</b>"}, view | {report.PLOTLY: {"data": [], "layout": {}}}, view]
    outputs = [nbformat.v4.new_output("display_data", d) for d in data]
    ran = new_notebook(cells=[new_code_cell("", outputs=outputs)])
    body = report.write(ran, {}, tmp_path / "report.html").read_text().split("</head>")[1]
    assert "<b>bar</b>" in body and body.count("Plotly.newPlot(") == 1
    assert body.count("Interactive in JupyterLab.") == 1
    assert "HBox" not in body and "0" * 32 not in body
    assert ran.cells[0].outputs[0].data == view  # the notebook itself stays as it is


@pytest.mark.skipif(not BROWSER, reason="needs Chromium or Chrome")
def test_wide_tables_stay_within_the_card(tmp_path):
    header = "<thead><tr>" + "".join(f"<th>column_number_{k}</th>" for k in range(30)) + "</tr></thead>"
    table = f"<div><table class='dataframe'>{header}</table></div>"
    cell = new_code_cell("", outputs=[nbformat.v4.new_output("display_data", {"text/html": table})])
    page = report.write(new_notebook(cells=[cell]), {}, tmp_path / "report.html")
    text = page.read_text()
    assert table.split("<tr>")[1].split("</tr>")[0] in text
    page.write_text(text.replace("</body>", f"<script>{WIDTHS}</script></body>"))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--window-size=1100,900"]
    command = [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    window, whole, card = map(int, re.search(r"<title>(\d+),(\d+),(\d+)</title>", shown).groups())
    assert (window, whole) == (1100, 1100)
    assert card == 800


def test_report_runs_no_foreign_script(made):
    body = made.read_text().split("</head>")[1]
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", body, flags=re.DOTALL)
    assert all("Plotly" in s for s in scripts)
    assert not [s for s in scripts if "alert" in s]
    assert not [name for name in attributes_of(body) if name.startswith("on")]
    assert "kept" in body


def test_executed_copy_lies_beside_the_report(made):
    ran = nbformat.read(made.with_suffix(".ipynb"), as_version=4)
    assert "widgets" not in ran.metadata
    assert any("injected-parameters" in c.metadata.get("tags", []) for c in ran.cells)
    assert [p.suffix for p in sorted(made.parent.iterdir())] == [".html", ".ipynb"]


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"repeat": 1}, "no parameter 'repeat'; did you mean 'repeats'\\? \\(it has repeats, rate, name"),
        ({"x=1;import os#": 1}, "'x=1;import os#' cannot be the name of a parameter; study.ipynb has repeats, rate"),
        ({"x; import os": 1}, "'x; import os' cannot be the name"),
        ({"repeats\n": 1}, "cannot be the name"),
        ({"import": 1}, "'import' cannot be the name"),
        ({"__builtins__": 1}, "'__builtins__' cannot be the name"),
        (
            {"repeats": "two"},
            "parameter 'repeats' is 'two'; give a value of type int such as 2 \\(runs of each configuration\\)",
        ),
        ({"repeats": 1.5}, "parameter 'repeats' is 1.5; give a value of type int"),
        ({"repeats": True}, "parameter 'repeats' is True"),
        ({"rate": float("nan")}, "parameter 'rate' is nan"),
        ({"sizes": "[1, 'x']"}, "parameter 'sizes' is"),
        ({"sizes": "__import__('os')"}, "parameter 'sizes' is"),
        ({"name": 3}, "parameter 'name' is 3; give a value of type str"),
        ({"fast": "maybe"}, "parameter 'fast' is 'maybe'; give a value of type bool"),
    ],
)
def test_bad_parameters_are_one_sentence_and_nothing_is_written(tmp_path, given, part):
    with pytest.raises(SpecError, match=part) as caught:
        batch.run_notebook(notebook(tmp_path), given, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_text_is_read_as_the_declared_type(tmp_path):
    path = notebook(tmp_path)
    given = {"repeats": "3", "rate": "1e-2", "name": "7", "sizes": "[4]", "fast": "true"}
    expected = {"repeats": 3, "rate": 0.01, "name": "7", "sizes": [4], "fast": True}
    assert parameter.checked(path, parameter.declared(path), given) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("4", [4]), ("1,2, 4", [1, 2, 4]), ("[1, 2]", [1, 2]), ("", [])]
)
def test_a_list_may_be_written_as_people_type_it(tmp_path, text, expected):
    path = notebook(tmp_path)
    assert parameter.checked(path, parameter.declared(path), {"sizes": text}) == {"sizes": expected}


def test_a_list_of_names_needs_no_quotes(tmp_path):
    path = notebook(tmp_path, parameters='models: list[str] = ["cnn"]  # models')
    assert parameter.checked(path, parameter.declared(path), {"models": "mlp,cnn"}) == {"models": ["mlp", "cnn"]}


HOSTILE = ['"; import os; os.abort() #', "\'\'\'", '\"\"\"', "{name}", "{0}", "\\", '\\"', "\n%system id\n", "\r",
    "!id", "\x00", "é☃", "$(id)", "`id`", "\u2028import os", "\x1b[2J"]  # fmt: skip


def test_a_value_never_runs(tmp_path):
    cells = [code(f"print([name, names, about] == [{''.join(HOSTILE)!r}, {HOSTILE!r}, {{'k': {HOSTILE!r}}}])")]
    declared = 'name: str = ""  # text\nnames: list[str] = []  # texts\nabout: dict = {}  # more'
    path = notebook(tmp_path, *cells, parameters=declared)
    made = batch.run_notebook(path, {"name": "".join(HOSTILE), "names": HOSTILE, "about": {"k": HOSTILE}}, tmp_path)
    assert nbformat.read(made.with_suffix(".ipynb"), 4).cells[-1].outputs[0].text == "True\n"


def test_notebooks_that_cannot_be_used(tmp_path):
    path = notebook(tmp_path)
    with pytest.raises(SpecError, match=r"does not exist; did you mean .*study\.ipynb"):
        batch.run_notebook(tmp_path / "studdy.ipynb")
    foreign = tmp_path / "foreign.ipynb"
    foreign.write_text("{not json")
    with pytest.raises(SpecError, match="cannot be read as a notebook"):
        batch.run_notebook(foreign)
    content = json.loads(path.read_text())
    content["cells"][1]["metadata"] = {}
    path.write_text(json.dumps(content))
    with pytest.raises(SpecError, match="has no cell tagged 'parameters'"):
        batch.run_notebook(path)


def test_a_parameter_that_is_not_a_literal_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"'n' is set to len.*not a literal"):
        batch.run_notebook(notebook(tmp_path, parameters="n: int = len('ab')  # count"))


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written to .*: Not a directory"):
        batch.run_notebook(notebook(tmp_path), output_dir=tmp_path / "file" / "reports")


def test_a_failing_cell_is_named_with_the_partial_notebook(tmp_path):
    path = notebook(
        tmp_path, code("print('before')"), code("raise ValueError('too\\nlong')"), code("print('after')")
    )
    with pytest.raises(
        WorkerFailed, match=r"stopped in its cell 3 with ValueError: too; the notebook .*\.ipynb$"
    ) as e:
        batch.run_notebook(path, output_dir=tmp_path / "out")
    partial = Path(str(e.value).rsplit(" is ", 1)[1])
    assert "before" in partial.read_text()
    assert not list(partial.parent.glob("*.html"))


def test_a_dying_kernel_is_reported(tmp_path):
    path = notebook(tmp_path, code("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    with pytest.raises(WorkerFailed, match=r"kernel of study\.ipynb died"):
        batch.run_notebook(path, output_dir=tmp_path / "out")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_sigterm_ends_the_kernel(tmp_path):
    cell = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    path = notebook(tmp_path, new_code_cell(cell))
    call = (
        f"from dcbench import batch; batch.run_notebook({str(path)!r}, output_dir={str(tmp_path / 'out')!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", call], cwd=Path(__file__).parents[1])
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    kernel = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    deadline = time.monotonic() + 20
    while alive(kernel) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(kernel)


SPEC = "dcbench.RunSpec(model='linear', steps=10**7)"


def descendants(pid):
    """Return all processes below one, also those that have left its session."""
    found = psutil.Process(pid).children(recursive=True)
    return [p for p in found if p.is_running()]


@pytest.mark.parametrize(
    ("number", "cell", "exit_status"),
    [
        (signal.SIGINT, f"import dcbench\nawait dcbench.run({SPEC})", 130),
        (signal.SIGTERM, f"import dcbench\ndcbench.run({SPEC}).result()", 143),
    ],
    ids=["Ctrl-C while a cell awaits", "SIGTERM while a cell blocks"],
)
def test_an_ended_batch_leaves_a_record_of_its_run_and_no_process(tmp_path, number, cell, exit_status):
    path = notebook(tmp_path, new_code_cell(cell))
    command = [sys.executable, "-m", "dcbench", "batch", str(path), "--output", str(tmp_path / "out")]
    batch_run = subprocess.Popen(
        command, env=os.environ | {"DCBENCH_RUNS": str(tmp_path / "runs"), "PYTHONPATH": str(PROJECT)}, cwd=PROJECT,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    try:
        while not any('"training"' in f.read_text() for f in tmp_path.glob("runs/*/events.jsonl")):
            assert batch_run.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        started = descendants(batch_run.pid)
        assert len(started) >= 3  # the kernel, the engine, the rank
        os.killpg(batch_run.pid, number)
        _, said = batch_run.communicate(timeout=60)
    finally:
        batch_run.kill()  # its kernel ends with it
    assert batch_run.returncode == exit_status
    assert "Traceback" not in said
    assert exit_status != 130 or re.search(r"study\.ipynb was interrupted; the notebook up to there is .*\.ipynb", said)
    [status] = store.load_records(tmp_path / "runs")["status"]
    assert status in ("interrupted", "cancelled")  # by the end of the kernel, or by the cell that was interrupted
    assert not psutil.wait_procs(started, timeout=10)[1]


def test_a_cell_that_finds_bad_input_is_bad_input(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    path = notebook(tmp_path, code("import dcbench; dcbench.RunSpec(model='cnm')"))
    said = r"^unknown model 'cnm'; did you mean 'cnn'\?.* \(study\.ipynb stopped in its cell 2"
    with pytest.raises(SpecError, match=said):
        batch.run_notebook(path, output_dir=tmp_path / "out")
    assert main(["batch", str(path), "--output", str(tmp_path / "out")]) == 2
    [line] = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("dcbench: unknown model 'cnm'")


def test_a_second_run_in_the_same_second_gets_its_own_name(tmp_path):
    first, second = (batch._reserve(tmp_path, "study") for _ in range(2))
    assert first != second and os.path.exists(first) and os.path.exists(second)


def test_clean_keeps_structure_and_drops_what_runs():
    dirty = '<h2 onclick="x">A</h2><iframe src="//x"></iframe><a href="javascript:x">l</a>'
    dirty += '<p style="position:fixed">t</p>'
    assert report.clean('<a href="05.ipynb">a</a><a href="#b">b</a>') == '<a>a</a><a href="#b">b</a>'
    assert report.clean(dirty) == '<h2>A</h2><a>l</a><p style="">t</p>'


def test_a_notebook_that_names_no_kernel_is_one_sentence(tmp_path):
    path = notebook(tmp_path)
    bare = nbformat.read(path, as_version=4)
    del bare.metadata["kernelspec"]
    nbformat.write(bare, path)
    with pytest.raises(SpecError, match="does not name its kernel; open it in JupyterLab"):
        parameter.declared(path)
