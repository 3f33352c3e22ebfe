"""The words of the ``dcbench`` command: which there are, what they mean, and how a spec is made of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from dcbench import __version__, registry, spec
from dcbench.cli import actions, compare, run, sweep
from dcbench.errors import SpecError
from dcbench.options import default

_WORDS = {"bool": "true|false", "dict": "KEY=VALUE"}
_GLOBAL_BATCH = {"doc": "examples per step over all devices, instead of batch_per_device"}


def _dashed(word: str) -> str:
    """Write a flag with dashes where it has a field's underscores."""
    name, mark, value = word.partition("=")
    return name.replace("_", "-") + mark + value if name.startswith("--") else word


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one sentence, raised."""

    def error(self, message: str) -> NoReturn:
        raise SpecError(f"{message}; see '{self.prog} --help'")


def parse(words: list[str]) -> argparse.Namespace:
    """
    Read the words of a command line.

    Returns
    -------
    argparse.Namespace
        With ``act``, the function that does what was asked, given this namespace.

    Raises
    ------
    SpecError
        For an unknown word, with the nearest match.
    """
    if words[:1] == ["lab"]:  # what follows is Jupyter's
        return argparse.Namespace(
            act=actions.lab, allow_insecure="--allow-insecure" in words, jupyter=words[1:]
        )
    parser = _parser()
    words = [_dashed(w) for w in words]
    chosen, unknown = parser.parse_known_args(words)
    if unknown:
        known = [o for a in _subparser(parser, words)._actions for o in a.option_strings]
        word = unknown[0].split("=")[0]
        hint = registry.nearest(word, [k for k in known if k.startswith("--")])
        raise SpecError(f"unknown argument {word!r}{hint}")
    return chosen


def _subparser(parser: argparse.ArgumentParser, words: list[str]) -> argparse.ArgumentParser:
    for word in words:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                return _subparser(action.choices[word], words)
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="dcbench", description="Measure and explain TF/Keras training.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"dcbench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    doctor = commands.add_parser("doctor", help="check this installation and machine", allow_abbrev=False)
    doctor.add_argument("--json", action="store_true", help="print the checks as JSON")
    doctor.set_defaults(act=actions.doctor)
    _add_run(commands)
    _add_sweep(commands)
    _add_compare(commands)
    _add_runs(commands)
    batch = commands.add_parser("batch", help="run a notebook and write its report", allow_abbrev=False)
    batch.add_argument("notebook", type=Path)
    batch.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    batch.add_argument("--output", type=Path, default=None, metavar="FOLDER", help="folder of the report")
    batch.add_argument("--pdf", action="store_true", help="print the report to PDF too, with the Chromium that is here")
    batch.set_defaults(act=actions.batch)
    pdf = commands.add_parser("pdf", help="print a report to PDF, with the Chromium that is here", allow_abbrev=False)
    pdf.add_argument("report", type=Path, help="HTML file that 'dcbench batch' has written")
    pdf.set_defaults(act=actions.pdf)
    commands.add_parser(
        "lab", help="open JupyterLab on the notebooks; further words go to Jupyter", add_help=False
    )
    return parser


def _add_run(commands: Any) -> None:
    command = commands.add_parser(
        "run", help="make one run", allow_abbrev=False, usage="dcbench run [--FIELD VALUE]... [--json]"
    )
    command.add_argument("--json", action="store_true", help="print the record as JSON")
    command.set_defaults(act=run.run)
    for field in spec.fields():
        _add_field(command, field.name, str(field.type), field.metadata, default(field))
    _add_field(command, "global_batch", "int", _GLOBAL_BATCH, None)


def _add_sweep(commands: Any) -> None:
    command = commands.add_parser(
        "sweep", help="run a grid of configurations, repeated and interleaved", allow_abbrev=False, epilog=sweep.EPILOG,
        usage="dcbench sweep [--FIELD VALUE [VALUE ...]]... [OPTION]...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.add_argument("--repeats", default="5", metavar="N", help="runs of each configuration [5]")
    command.add_argument("--order-seed", default="0", metavar="N", help="seed of the order of the runs [0]")
    command.add_argument("--fresh", action="store_true", help="start anew, whatever was interrupted")
    command.add_argument("--no-canary", action="store_true", help="leave out the runs that show a drift of the machine")
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.set_defaults(act=sweep.sweep)
    for field in spec.fields():
        _add_field(command, field.name, str(field.type), field.metadata, default(field), several=True)
    _add_field(command, "global_batch", "int", _GLOBAL_BATCH, None, several=True)


def _add_compare(commands: Any) -> None:
    command = commands.add_parser(
        "compare", help="compare two configurations", allow_abbrev=False, epilog=compare.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.add_argument("a", metavar="A", help="runs to compare with")
    command.add_argument("b", metavar="B", help="runs to compare")
    command.add_argument("--metric", default="throughput", help="what to compare [throughput]")
    command.add_argument("--sweep", default=None, metavar="ID", help="sweep of key=value pairs [the newest]")
    command.add_argument("--allow-unlike", action="store_true", help="compare runs of unlike machines")
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.set_defaults(act=compare.compare)


def _add_field(
    parser: argparse.ArgumentParser, name: str, kind: str, metadata: Any, initial: Any, several: bool = False
) -> None:
    flag = f"--{name.replace('_', '-')}"
    choices = f" ({', '.join(metadata['choices'])})" if "choices" in metadata else ""
    usual = "" if initial in (None, {}) else f" [{initial}]"
    text = (metadata["doc"] + choices + usual).replace("%", "%%")
    described: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": text}
    if several:
        word = _WORDS.get(kind.split("[")[0], kind.split(" |")[0].upper())
        parser.add_argument(flag, nargs="+", metavar=word, **described)
    elif kind == "bool":
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, **described)
    elif kind.startswith("dict"):
        parser.add_argument(flag, nargs="+", metavar="KEY=VALUE", **described)
    else:
        parser.add_argument(flag, metavar=kind.split(" |")[0].upper(), **described)


def _add_runs(commands: Any) -> None:
    group = commands.add_parser("runs", help="list, show, export and delete records", allow_abbrev=False)
    verbs = group.add_subparsers(required=True, metavar="ACTION", dest="action")
    listing = verbs.add_parser("list", help="list runs, the newest last", allow_abbrev=False)
    listing.add_argument("--last", default=None, metavar="N", help="only the newest N")
    listing.add_argument("--sweep", default=None, metavar="ID", help="only the runs of a sweep, with their rounds")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(act=actions.runs_list)
    show = verbs.add_parser("show", help="show one record", allow_abbrev=False)
    show.add_argument("run", help="id, folder or record.json")
    show.add_argument("--json", action="store_true", help="print the whole record as JSON")
    show.set_defaults(act=actions.runs_show)
    export = verbs.add_parser("export", help="write a table of records", allow_abbrev=False)
    export.add_argument("file", type=Path, help="ends in .csv, .json or .parquet")
    export.add_argument("runs", nargs="*", help="ids; all unless given")
    export.set_defaults(act=actions.runs_export)
    remove = verbs.add_parser("rm", help="delete runs", allow_abbrev=False)
    remove.add_argument("runs", nargs="+", help="ids")
    remove.set_defaults(act=actions.runs_rm)
