"""The commands by which a log is proven to others, moved and mended: ``checkpoint``, ``verify``, ``log export``,
``log import`` and ``log restore``."""

import argparse
import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

from domain.errors import Invalid
from ops import garbage
from ops.arguments import limit
from ops.reader_commands import LOG_ACCOUNT
from ops.settings import load

EXPORT, IMPORT, RESTORE, LOST = "log-export", "log-import", "log-restore", "log-lost"
_TWO_WORDS = {
    "log": {"export": EXPORT, "import": IMPORT, "restore": RESTORE, "lost": LOST, "account": LOG_ACCOUNT},
}


def joined(words: list[str]) -> list[str]:
    """A command line in which commands of two words are one, since ``log`` alone takes a server's name."""
    for at, (first, second) in enumerate(itertools.pairwise(words)):
        if second in _TWO_WORDS.get(first, ()):
            return [*words[:at], _TWO_WORDS[first][second], *words[at + 2 :]]
    return words


def _of_two_words(commands: Any, command: str, help: str) -> argparse.ArgumentParser:  # noqa: A002 - argparse's word
    """Its parser, which tells of it as it is typed."""
    typed = f"lightcurve {command.replace('-', ' ')}"
    parser: argparse.ArgumentParser = commands.add_parser(command, prog=typed, help=help)
    return parser


def register(commands: Any) -> None:
    """Add them to the parser."""
    checkpoint = commands.add_parser("checkpoint", help="sign the logs up to now, and print what was signed")
    which = checkpoint.add_mutually_exclusive_group()
    which.add_argument("--key", action="store_true", help="only print the public keys with which others check it")
    which.add_argument(
        "--inclusion", type=limit, metavar="POSITION", help="only prove that what stands there is in the signed log"
    )
    which.add_argument(
        "--consistency",
        type=limit,
        metavar="SIZE",
        help="only prove that a checkpoint of that size still holds",
    )
    which.add_argument("--new-key", action="store_true", help="from now on sign with another key, under new names")
    checkpoint.add_argument("--cell", help="of which something is proven; default: the one with the servers")
    checkpoint.set_defaults(command=_checkpoint)

    verify = commands.add_parser("verify", help="prove that the logs are what was recorded and signed")
    verify.add_argument("--file", type=Path, nargs="+", default=[], help="exported logs, or directories of such")
    verify.add_argument("--key", nargs="+", default=[], help="whose signatures count; or files of keys")
    verify.add_argument("--checkpoint", type=Path, nargs="+", default=[], help="notes that the log has to contain")
    verify.add_argument("--archive", action="store_true", help="the second copies in the database, not the logs")
    verify.add_argument("--cell", help="only this one; default: all")
    verify.add_argument(
        "--redecide", action="store_true", help="also decide all that the logs hold anew, by today's rules"
    )
    verify.set_defaults(command=_verify)

    export = _of_two_words(commands, EXPORT, "write the logs, or a part of them, to files (log export)")
    export.add_argument("directory", type=Path, help="gets a file a cell; one that breaks off is gone on with")
    export.add_argument("--cell", help="only this one; default: all")
    export.add_argument("--server", help="only its events: name or id")
    export.add_argument("--project", help="only what it asked for, and what it began: name or id")
    export.add_argument("--since", metavar="TIME", help="only from then on: 2026-11-23 10:00")
    export.add_argument("--until", metavar="TIME", help="only before then")
    export.add_argument("--format", choices=("zst", "gz", "jsonl"), default="zst")
    export.set_defaults(command=_export)

    imported = _of_two_words(commands, IMPORT, "make exported logs those of a new cloud (log import)")
    imported.add_argument("file", type=Path, nargs="+", help="exported logs, or directories of such")
    imported.add_argument("--key", nargs="+", default=[], help="whose signatures count; or files of keys")
    imported.add_argument("--nats-port", type=int, default=14222, help="of a stack that is new")
    imported.add_argument("--api-port", type=int, default=8774, help="of a stack that is new")
    imported.set_defaults(command=_import)

    restored = _of_two_words(commands, RESTORE, "put back from the archive what the logs have lost (log restore)")
    restored.set_defaults(command=_restore)

    lost = _of_two_words(commands, LOST, "what the logs go on without since a recovery (log lost)")
    lost.add_argument("recovery", nargs="?", help="only its events; default: how many there are of each")
    lost.add_argument("--bodies", action="store_true", help="with the events' bodies")
    lost.set_defaults(command=_lost)


def _checkpoint(arguments: argparse.Namespace) -> None:
    from ops.checkpoint import renew_key, show_keys, sign
    from ops.proofs import show_consistency, show_inclusion

    settings = load(arguments.state_dir / "lightcurve.toml")
    if arguments.new_key:
        renew_key(settings)
    elif arguments.key:
        show_keys(settings)
    elif arguments.inclusion:
        asyncio.run(show_inclusion(settings, arguments.cell, arguments.inclusion))
    elif arguments.consistency:
        asyncio.run(show_consistency(settings, arguments.cell, arguments.consistency))
    else:
        asyncio.run(sign(settings))


def _verify(arguments: argparse.Namespace) -> None:
    from ops.verify import verify

    garbage.wait()
    if arguments.redecide and (arguments.file or arguments.archive):
        raise Invalid("Only the logs of a stack that runs are decided anew: import a file into one.")
    if arguments.archive and arguments.file:
        raise Invalid("Give --archive or --file: each is looked at by itself.")
    what = (arguments.file, arguments.key, arguments.checkpoint, arguments.cell)
    good = verify(arguments.state_dir, *what, archive=arguments.archive)
    if arguments.redecide:
        from ops.redecide import redecide

        settings = load(arguments.state_dir / "lightcurve.toml")
        good = asyncio.run(redecide(settings, arguments.cell)) and good
    if not good:
        sys.exit(1)


def _export(arguments: argparse.Namespace) -> None:
    from adapters.log_file import Part
    from ops.log_export import export

    wanted = Part(server=arguments.server, project=arguments.project, since=arguments.since, until=arguments.until)
    suffix = ".jsonl" if arguments.format == "jsonl" else f".jsonl.{arguments.format}"
    settings = load(arguments.state_dir / "lightcurve.toml")
    asyncio.run(export(settings, arguments.directory, suffix, arguments.cell, wanted))


def _import(arguments: argparse.Namespace) -> None:
    from ops.log_import import import_logs

    garbage.wait()
    ports = {"nats_port": arguments.nats_port, "api_port": arguments.api_port}
    import_logs(arguments.state_dir, arguments.file, arguments.key, **ports)


def _restore(arguments: argparse.Namespace) -> None:
    from ops.log_restore import restore

    garbage.wait()
    if not restore(arguments.state_dir):
        sys.exit(1)


def _lost(arguments: argparse.Namespace) -> None:
    from ops.log_lost import show

    settings = load(arguments.state_dir / "lightcurve.toml")
    asyncio.run(show(settings, arguments.recovery, bodies=arguments.bodies))
