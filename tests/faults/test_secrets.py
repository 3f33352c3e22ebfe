"""Secrets are planted wherever a person may have some, and looked for in every byte that is left of a run."""

from __future__ import annotations

import base64
import os
import re
import secrets
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from dcbench import store
from faults.conftest import reopened

PLACES = (
    "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "MY_PASSWORD", "argument", "key", "optimizer", "knob", "user", "query",
    "signed", "global", "closure", "partial", "literal", "default", "nested", "parameter",
)  # fmt: skip
IN_THE_ENVIRONMENT = PLACES[:3]


class Canaries(dict[str, str]):
    """A secret by the place where it is planted; each has a core that no way of writing it changes, but base64."""

    def __init__(self) -> None:
        super().__init__()
        for number, place in enumerate(PLACES):
            core = f"{number:02}q{secrets.token_hex(8)}"
            self[place] = f"c\"n/r+ y{core}é" if place in ("MY_PASSWORD", "argument") else f"cnry{core}"

    @property
    def variables(self) -> dict[str, str]:
        """Those of the environment."""
        return {place: self[place] for place in IN_THE_ENVIRONMENT}

    def seen_in(self, content: bytes) -> list[str]:
        """Return the places whose secret is in some bytes, however it is written."""
        return [place for place, value in self.items() if any(form in content for form in _forms(value))]


def _forms(value: str) -> list[bytes]:
    core = re.search(r"\d\dq[0-9a-f]{16}", value)[0].encode()
    shifted = [base64.b64encode(b"\0" * k + core)[4 * bool(k) :].rstrip(b"=")[:-1] for k in range(3)]
    return [core, core.hex().encode(), *shifted]


def looked_through(canaries: Canaries, folders: Iterable[Path]) -> int:
    """Read every byte below some folders, and within archives; return how many files there were."""
    count = 0
    for path in (p for folder in folders for p in folder.rglob("*") if p.is_file()):
        count += 1
        parts = {"": path.read_bytes()}
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                parts |= {name: archive.read(name) for name in archive.namelist()}
        for name, content in parts.items():
            assert not (seen := canaries.seen_in(content)), f"{path} {name} holds that of {', '.join(seen)}"
        assert not (seen := canaries.seen_in(str(path).encode())), seen
    return count


RUNS = """
import functools, json
API_TOKEN = sys.argv[1]
CONFIG = {"service": {"client_secret": sys.argv[2]}}
ARGUMENT, KEY, OPTIMIZER, KNOB, CLOSURE, PARTIAL, URL = sys.argv[3:10]

def made(secret_key):
    def build(input_shape, outputs, fail=False, api_key=""):
        import keras
        password = "LITERAL"
        print("the model says", API_TOKEN, CONFIG, secret_key, api_key, password)
        if fail:
            raise ValueError(f"no access with {API_TOKEN}, {CONFIG}, {secret_key}, {api_key}, {password}")
        return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(outputs)])
    return build

def rows(access_token, token="", url="", session_cookie="DEFAULT"):
    import numpy as np
    print("the data say", dict(os.environ), access_token, token, url, session_cookie, json.dumps(token))
    return np.ones((64, 4), "float32"), np.arange(64) % 3

def ranks(rank, size, token=""):
    import numpy as np, tensorflow as tf
    if rank:
        raise RuntimeError(f"no access for rank {rank}: {dict(os.environ)} {token}")
    return tf.data.Dataset.from_tensor_slices((np.ones((64, 4), "float32"), np.arange(64) % 3))

given = {"token": ARGUMENT, "url": URL}
common = {"model": made(CLOSURE), "dataset": functools.partial(rows, access_token=PARTIAL), "dataset_args": given}
common |= {"model_args": {"api_key": KEY}, "steps": 5, "warmup_max_steps": 5}
common |= {"knobs": {"HOROVOD_NOTE": f"--token={KNOB}", "HOROVOD_SECRET_KEY": KNOB}}

def tell(*what):
    for each in what:
        print(each, flush=True)

def main():
    from dcbench import cli, findings, inspect_machine
    from dcbench.launch import engine
    from dcbench.launch.proposal import Proposal
    from dcbench.widgets import launch_form
    good = RunSpec(**common)
    first = dcbench.run(good.replace(tensorboard=True, save_model=True)).result(250)
    tell(first.status, first.reason, good, first, json.dumps(first.to_dict()))
    for broken in ({"model_args": {"api_key": KEY, "fail": True}}, {"optimizer_args": {"token": OPTIMIZER}},
                   {"dataset": ranks, "dataset_args": {"token": ARGUMENT}, "backend": "horovod", "devices": 2}):
        tell(dcbench.run(good.replace(**broken)).result(250).reason)
    both = [good, good.replace(model_args={"api_key": KEY, "fail": True})]
    found = dcbench.sweep(both, repeats=1, canary=False, on_progress=tell).result(250)
    tell(*found.flags, *findings.cautions(found.records))
    try:
        dcbench.describe(made(CLOSURE), input_shape=(4,), outputs=3, api_key=KEY, fail=True)
    except dcbench.DcbenchError as error:
        tell(error)
    plain = good.replace(model="linear", dataset="digits")
    proposal = Proposal({"model": "linear", "dataset_args": given, "model_args": {"api_key": KEY}}, inspect_machine())
    tell(proposal.python, proposal.shell, repr(launch_form(plain)))
    for words in (["list"], ["list", "--json"], ["show", first.run_id], ["show", first.run_id, "--json"],
                  ["export", "runs.csv"], ["export", "runs.json"]):
        tell(cli.main(["runs", *words]))
    tell(cli.main(["run", "--model", "linear", "--steps", "5", "--dataset-args", f"token={ARGUMENT}"]))
    for one in engine._engines:
        one._log.seek(0)
        tell(one._log.read().decode())
    again = dict(first.spec) | {"model": "linear", "dataset": "digits"}
    for start in (dcbench.run, lambda spec: dcbench.sweep([spec])):
        try:
            start(RunSpec.from_dict(again))
        except dcbench.SpecError as error:
            tell(f"REFUSED {error}")

if __name__ == "__main__":
    main()
"""


@pytest.mark.timeout(300)  # it may have to wait for others
@pytest.mark.fault("secrets in environment, arguments, URLs, captured values", "in no file, record, log or message")
def test_runs_keep_no_secret(driver: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    canaries = Canaries()
    text = RUNS.replace("LITERAL", canaries["literal"]).replace("DEFAULT", canaries["default"])
    url = f"https://me:{canaries['user']}@example.org/x?page=2&token={canaries['query']}&sig={canaries['signed']}"
    given = [canaries[n] for n in ("global", "nested", "argument", "key", "optimizer", "knob", "closure", "partial")]
    said, complained = driver(text, *given, url, **canaries.variables).communicate(timeout=280)
    assert said.startswith("ok\n"), said[:2000] + complained[-3000:]
    assert not (seen := canaries.seen_in((said + complained).encode())), (seen, said + complained)
    assert said.count("no access with ***, {'service': {'client_secret': '***'}}, ***, ***, ***") >= 2
    refused = re.findall(r"REFUSED (.*)", said)
    assert len(refused) == 2 and all("is masked ('***'): records keep" in each for each in refused), said + complained
    runs = store.root()
    for path in tmp_path.glob("script-*.py"):
        path.unlink()  # of the person, not of dcbench
    assert looked_through(canaries, [tmp_path, Path(tempfile.gettempdir())]) > 20
    statuses = [record.status for record in reopened()]
    assert statuses.count("ok") == 2 and len(statuses) == 7, statuses
    log = next(p for p in sorted(runs.glob("*/rank-0.log")) if "the data say" in p.read_text())
    assert "'HF_TOKEN': '***'" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0  # not for others: it was masked only when the run had ended
    assert any("no access for rank 1" in p.read_text() for p in runs.glob("*/rank-1.log"))


CELLS = """
import os, dcbench
def build(input_shape, outputs, api_key):
    import keras
    print("the model says", api_key, api_token)
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(outputs)])
record = await dcbench.run(dcbench.RunSpec(model=build, model_args={"api_key": api_token}, steps=5))
print(record.status, api_token, dict(os.environ))
record.spec, {"api": api_token}
db_password = "LITERAL"
display({"text/plain": db_password, "text/html": f"<b>{db_password}</b>"}, raw=True)
"""


@pytest.mark.fault("a secret parameter of a notebook", "neither in its executed copy nor in its report")
def test_a_notebook_in_batch_keeps_no_secret(mark: str, tmp_path: Path) -> None:
    canaries = Canaries()
    code = CELLS.replace("LITERAL", canaries["literal"])
    tagged = {"tags": ["parameters"]}
    cells = [new_markdown_cell("# Secrets"), new_code_cell("api_token: str = ''  # key", metadata=tagged)]
    cells += [new_code_cell(code), new_code_cell("raise ValueError(f'no access with {api_token}')")]
    ends = {}
    for name, kept in (("good", cells[:-1]), ("failing", cells)):
        made = new_notebook(cells=kept)
        made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(made, tmp_path / f"{name}.ipynb")
        words = ["batch", f"{name}.ipynb", "-p", "api_token", canaries["parameter"], "--output", "out"]
        ends[name] = run(words, tmp_path, canaries.variables)
        (tmp_path / f"{name}.ipynb").unlink()
    assert [ended.returncode for ended in ends.values()] == [0, 1]
    for ended in ends.values():
        assert not canaries.seen_in((ended.stdout + ended.stderr).encode()), ended
    assert "ValueError: no access with ***; the notebook up to there is" in ends["failing"].stderr
    assert looked_through(canaries, [tmp_path, Path(tempfile.gettempdir())]) >= 10
    report = next((tmp_path / "out").glob("good-*.html")).read_text()
    assert "<th>api_token</th><td>***</td>" in report and "ok ***" in report
    copies = [nbformat.read(path, as_version=4) for path in (tmp_path / "out").glob("*.ipynb")]
    assert len(copies) == 2 and all("***" in copy.metadata.papermill.parameters.values() for copy in copies)


def run(words: list[str], folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Give a command in a folder."""
    from dcbench.store.runs import project

    env = os.environ | {"PYTHONPATH": str(project())} | variables
    command = ["python", "-m", "dcbench", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=110, check=False)
