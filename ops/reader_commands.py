"""``lightcurve log account``: accounts of NATS for those who read the logs and do nothing else."""

import argparse
import asyncio
import sys
from typing import Any

from domain.errors import Invalid

LOG_ACCOUNT = "log-account"


def register(commands: Any) -> None:
    """Declare the command on the parser's ``commands``."""
    only = "an account that may read the logs on NATS, and nothing else"
    account = commands.add_parser(LOG_ACCOUNT, prog="lightcurve log account", help=only)
    account.add_argument(
        "name", nargs="?", help="whose it is: small letters, digits and -; without it all are listed"
    )
    what = account.add_mutually_exclusive_group()
    what.add_argument("--remove", action="store_true", help="end it")
    what.add_argument(
        "--print-account", action="store_true", help="and print the account for NATS servers that are not ours"
    )
    account.add_argument("--nats-url", help="as the reader reaches it; default: the configuration's")
    account.set_defaults(command=_account)


def _account(arguments: argparse.Namespace) -> None:
    from adapters.nats.following import CA_FILE, PASSWORD, URL, USER
    from ops.embedded.nats_accounts import FOR_READERS, reader_account
    from ops.log_readers import admit
    from ops.stack import Stack

    stack = Stack(arguments.state_dir)
    settings = stack.settings()
    if arguments.name is None:
        if arguments.remove or arguments.print_account:
            raise Invalid("name an account")
        for known in stack.log_readers:
            print(known.user)
        return
    if arguments.remove:
        stack.log_readers.remove(arguments.name)
        if not stack.nats(settings).reload():
            print("The stack's own NATS does not run; what it is told at its next start is without the account.")
        return
    reader, cells = stack.log_readers.add(arguments.name), (settings.cell, settings.api_cell)
    if not asyncio.run(admit(stack.nats(settings), reader, cells)):
        print("The stack's own NATS does not run; it knows the account at its next start.", file=sys.stderr)
    if arguments.print_account:
        print("# Among the accounts:\n" + reader_account(reader, cells))
        print("# Among the exports of the account CONTROL, once:\n" + FOR_READERS)
    print(f"{URL}={arguments.nats_url or settings.nats.url}")
    print(f"{USER}={reader.user}\n{PASSWORD}={reader.password}")
    if settings.nats.ca_file:
        print(f"{CA_FILE}={settings.nats.ca_file.absolute()}")
