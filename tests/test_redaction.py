"""What is secret by name or form, how it is masked in values, source, texts and files, and what is left as it is."""

from __future__ import annotations

import base64
import functools
import json
from urllib.parse import quote

import pytest

from dcbench import RunSpec, SpecError, functions, hardware, redaction, run
from dcbench.redaction import MASK, Hidden, is_secret, masked, masked_source, masked_text

VALUE = "open sesame/+é\"'"  # each way of writing it differs
CODED = base64.b64encode(VALUE.encode()).decode()
API_TOKEN = "opensesame-of-a-notebook"
SETTINGS = {"deep": {"client_secret": "opensesame-in-settings"}, "tokens": ["a", "b"]}

SECRET = (
    "password DB_PASSWORD dbPasswd secret client_secret token HF_TOKEN hfToken apikey api_key apiKey X-API-Key "
    "access_key AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY private_key credentials auth Authorization session_id cookie "
    "signature sig X-Amz-Signature X-Goog-Credential SASToken ssh_key MYSQL_PASS"
)
HARMLESS = (
    "tokens max_tokens token_count tokenizer tokenize key key_dim num_keys author authors pad_token mask_token signal "
    "sigma session_name private_key_file passes bypass secretary token_type steps compass keyboard TOKEN_URL "
    "AWS_SHARED_CREDENTIALS_FILE SSH_AUTH_SOCK"
)


@pytest.mark.parametrize("name", SECRET.split())
def test_secret_names(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", HARMLESS.split())
def test_harmless_names(name: str) -> None:
    assert not is_secret(name)


def test_only_texts_are_secret() -> None:
    given = {"token": 7, "password": None, "auth": [True, "opensesame"], "cookie": {"a": "opensesame", "b": 0.5}}
    shown = {"token": 7, "password": None, "auth": [True, MASK], "cookie": {"a": MASK, "b": 0.5}}
    assert masked(given) == shown


URLS = {
    "https://me:opensesame@host:80/a?b=c": "https://***@host:80/a?b=c",
    "https://opensesame@host/a": "https://***@host/a",
    "gs://bucket/file@2x.png": "gs://bucket/file@2x.png",
    "https://h/a?token=opensesame&page=2#access_token=opensesame": "https://h/a?token=***&page=2#access_token=***",
    "https://h/a?X-Amz-Signature=opensesame&X-Amz-Date=2026": "https://h/a?X-Amz-Signature=***&X-Amz-Date=2026",
    "https://h/a?key=opensesame": "https://h/a?key=***",
    "https://h/a#Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1Ab1": "https://h/a#***",
    "https://h/a?revision=0123456789abcdef0123456789abcdef01234567": None,
    "https://h/a?file=train-00000-of-00010-abcdef0123456789.tfrecord#top": None,
}


@pytest.mark.parametrize("url", URLS)
def test_secret_parts_of_a_url(url: str) -> None:
    assert masked({"path": f"<{url}>"}) == {"path": f"<{URLS[url] or url}>"}


TEXTS = {
    "Authorization: Bearer opensesame": "Authorization: Bearer ***",
    '{"api_key": "opensesame", "size": "large"}': '{"api_key": "***", "size": "large"}',
    "--xla_password=opensesame --xla_level=2": "--xla_password=*** --xla_level=2",
    "hf_abcdefghijklmnopqrstuvwxyz is a token": "*** is a token",
    "AKIAIOSFODNN7EXAMPLE": "***",
    "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----": "***",
    "the author: somebody; max_tokens: 512; sgd": None,
}


@pytest.mark.parametrize("text", TEXTS)
def test_secrets_by_their_form(text: str) -> None:
    assert masked_text(text) == (TEXTS[text] or text)


def test_what_is_secret_in_one_place_is_so_in_all_others() -> None:
    found: set[str] = set()
    given = {"token": "opensesame", "note": "it is opensesame"}
    assert masked(given, found=found) == {"token": MASK, "note": f"it is {MASK}"}
    assert found == {"opensesame"}


SOURCE = {
    "password = 'opensesame'\n": "password = '***'\n",
    'API_TOKEN: str = """opensesame\nmore"""\nx = "a"\n': 'API_TOKEN: str = """***"""\nx = "a"\n',
    "login(user='me', password=rb'opensesame', size='b')\n": "login(user='me', password=rb'***', size='b')\n",
    "def f(a='b', *, api_key: str = 'opensesame'):\n    pass\n": "def f(a='b', *, api_key: str = '***'):\n    pass\n",
    "d = {'auth': ('me', 'opensesame'), 'b': 'c'}\n": "d = {'auth': ('***', '***'), 'b': 'c'}\n",
    "os.environ['HF_TOKEN'] = 'opensesame'; x = 'a'\n": "os.environ['HF_TOKEN'] = '***'; x = 'a'\n",
    "url = 'https://me:opensesame@h/a'  # password: opensesame\n": "url = 'https://***@h/a'  # password: ***\n",
    "if token == 'opensesame':\n    print('opensesame is right')\n": "if token == '***':\n    print('*** is right')\n",
    "tokenizer = 'bpe'\ndef token(x):\n    'Return x.'\n    return x['a']\n": None,
    "    lambda x: f('a',\n": None,
}


@pytest.mark.parametrize("source", SOURCE)
def test_texts_given_to_secret_names_in_source(source: str) -> None:
    assert masked_source(source) == (SOURCE[source] or source)


def test_source_that_is_cut_off_is_masked_as_text() -> None:
    assert masked_source("x = 'a'\nf(password='opensesame', b=(\n").count("opensesame") == 0
    assert "opensesame" not in masked_source("x = '''\npassword = opensesame\n")


@pytest.mark.parametrize(
    "written",
    [VALUE, repr(VALUE), json.dumps(VALUE), quote(VALUE), quote(VALUE, safe=""), CODED],
    ids=["plain", "repr", "JSON", "URL", "URL without a slash", "base64"],
)
def test_known_values_are_found_however_they_are_written(written: str, tmp_path) -> None:
    hidden = Hidden([VALUE])
    assert hidden.text(f"<{written}>").strip("<'\"=>") == MASK
    log = tmp_path / "rank-0.log"
    log.write_text("before\n" * 10 + written + "\nafter\n")
    hidden.file(log)
    assert log.read_text().startswith("before\n" * 10) and log.read_text().endswith("\nafter\n")
    assert MASK in log.read_text() and "sesame" not in log.read_text()


def test_short_values_and_numbers_are_not_looked_for() -> None:
    assert Hidden(["abc", "123456", "1.5e", ""]).text("abc 123456 1.5e") == "abc 123456 1.5e"


def test_a_long_log_is_masked_in_its_place(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("dcbench.redaction.hidden.BLOCK_BYTES", 100)
    log, lines = tmp_path / "log", [f"line {i} {'opensesame' * (i % 7 == 3)}\n" for i in range(500)]
    log.write_text("".join(lines))
    before = log.stat().st_ino
    Hidden(["opensesame"]).file(log)
    assert log.read_text() == "".join(lines).replace("opensesame", MASK) and log.stat().st_ino == before


def test_a_log_without_secrets_is_not_written(tmp_path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"a\xff\nb")
    before = log.stat().st_mtime_ns
    Hidden(["opensesame"]).file(log)
    assert log.read_bytes() == b"a\xff\nb" and log.stat().st_mtime_ns == before


def spec(secret: str) -> RunSpec:
    return RunSpec(dataset_args={"token": secret, "size": 3}, knobs={"HOROVOD_NOTE": f"--password={secret}"})


def test_a_spec_with_another_secret_is_the_same_run() -> None:
    assert spec("opensesame").hash == spec("other secret").hash != RunSpec(dataset_args={"size": 3}).hash
    assert "opensesame" not in repr(spec("opensesame"))
    assert spec("opensesame").to_dict()["dataset_args"]["token"] == "opensesame"  # what the workers are given
    assert RunSpec(model_args={"units": 3}).hash == "ef7e055002d67d4d"  # as ever, without secrets


def test_a_masked_spec_is_not_run() -> None:
    with pytest.raises(SpecError, match=r"^dataset_args\['token'\] is masked \('\*\*\*'\): records keep no secrets"):
        run(RunSpec(dataset_args={"token": MASK}))


def build() -> str:
    password = "opensesame-in-source"
    return helper() + API_TOKEN + password


def helper(session_cookie: str = "opensesame-by-default") -> str:
    return str(SETTINGS) + session_cookie


def test_what_a_function_captures_is_known_and_not_described(monkeypatch) -> None:
    bound = functools.partial(build, access_token="opensesame-bound")
    whole = ("of-a-notebook", "in-settings", "in-source", "by-default", "bound")
    assert functions.secrets(bound) == {f"opensesame-{end}" for end in whole}
    about = functions.describe(bound)
    assert "opensesame" not in json.dumps(about) and about["globals"] == ["API_TOKEN", "helper"]
    monkeypatch.setitem(globals(), "API_TOKEN", "another one")
    assert functions.describe(functools.partial(build, access_token="else"))["sha256"] == about["sha256"]
    assert "opensesame" not in repr(RunSpec(model=bound))


def test_a_function_of_a_file(tmp_path) -> None:
    path = tmp_path / "own.py"
    path.write_text("TOKEN = 'opensesame'\ndef load():\n    return TOKEN\n")
    assert functions.secrets(f"{path}:load") == {"opensesame"}
    assert functions.describe(f"{path}:load")["source"].startswith("TOKEN = '***'\n")


def test_of_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("NCCL_NOTE", "https://me:opensesame@host")
    monkeypatch.setenv("NCCL_TOKEN", "opensesame")
    seen = hardware.inspect_machine().environment
    assert seen["NCCL_NOTE"] == "https://***@host" and "NCCL_TOKEN" not in seen
    assert redaction.of_environment({"PWD": "/home/somebody", "MY_PASSWORD": "opensesame"}) == {"opensesame"}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("unit", ["x", "a.", "a1", "a://", "token=", "' ", "https://a?b&", "-----BEGIN ", "eyJaa."])
def test_a_long_text_is_masked_in_time(unit: str) -> None:
    assert masked_text(unit * (2**20 // len(unit))).startswith(unit[:6])
