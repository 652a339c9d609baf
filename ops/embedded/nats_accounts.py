"""Who may do what on NATS: the accounts of the control plane, of each host, of the simulated ones, and of who reads
the logs.

A host's account is its permission. It sees of the control plane's account what it imports: its own reports, its own
commands, its own signs of life. Whatever else it does, whomever it names as the place for an answer, stays in its
account. Permissions on subjects within a common account would not do: they do not hold for places of answers.
"""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from adapters.nats.connection import Credentials
from adapters.nats.names import Names, token

CONTROL, SIMULATED, PROBE = "control", "simulated", "probe"
"""The users of the control plane, to which everything is allowed, of all simulated hosts, and of the system account,
who asks whether the server is well."""
_quoted = json.dumps
"""A JSON string is one in NATS's configuration language."""


FOR_READERS = """\
      {stream: "cell.*.event.>"}
      {service: "$JS.API.DIRECT.GET.*", response_type: stream}
      {service: "$JS.API.DIRECT.GET.*.>"}
"""
"""What the account of the control plane exports to those who read the logs. Each imports what is of its cells."""


class Account(NamedTuple):
    """A NATS account of hosts."""

    name: str
    user: Credentials
    receiver: str
    """The name under which it takes commands."""
    host: str
    """The one that it serves; ``*``: all simulated ones."""
    permissions: str = ""
    """What its user may do within it; empty: everything."""


def account_of(host: str, user: Credentials) -> Account:
    return Account(f"HOST_{token(host)}", user, token(host), token(host))


def simulated_account(cell: str, hosts: Sequence[str], password: str) -> Account:
    """Of simulated hosts: one process plays all of them, so they share it, and may be these and no others."""
    names = Names(cell)
    receiver = SIMULATED if len(hosts) != 1 else hosts[0]
    publish = [
        names.receiver(receiver),
        f"$JS.API.CONSUMER.MSG.NEXT.{names.commands}.{receiver}",
        f"$JS.ACK.{names.commands}.{receiver}.>",
        *(names.report(host) for host in hosts),
        *(names.alive(f"compute/{host}") for host in hosts),
    ]
    subscribe = [f"_INBOX.{SIMULATED}.>", *(names.question(host) for host in hosts)]
    permissions = (
        f"{{publish: {_quoted(publish)}, subscribe: {_quoted(subscribe)}, "
        'allow_responses: {max: 1, expires: "1m"}}'
    )
    return Account("SIMULATED", Credentials(SIMULATED, password), receiver, "*", permissions)


def reader_account(reader: Credentials, cells: Iterable[str]) -> str:
    """The account of somebody who reads the logs of some cells and nothing else, as it stands among the accounts.

    Consumers of JetStream are not for readers: whoever may make one names the subject to which it delivers, and that
    may be a host's queue. A reader asks for pages by position, and hears what is new at the moment.
    """
    imports = []
    for names in map(Names, dict.fromkeys(cells)):
        imports += [
            f"{{stream: {{account: CONTROL, subject: {_quoted(names.every_event)}}}}}",
            _service(f"$JS.API.DIRECT.GET.{names.events}", "CONTROL"),
            _service(f"$JS.API.DIRECT.GET.{names.events}.>", "CONTROL"),
        ]
    lines = "\n".join(f"      {each}" for each in imports)
    return f"""\
  {_quoted(reader.user.upper())} {{
    users: [{_user(reader)}]
    imports: [
{lines}
    ]
  }}
"""


def accounts(
    cell: str,
    control: Credentials,
    probe: Credentials,
    others: Iterable[Account],
    readers: Iterable[str] = (),
) -> str:
    """The block of a NATS server's configuration. ``readers`` are accounts as ``reader_account`` makes them."""
    known = list(others)
    questions = "\n".join(f"      {question_import(cell, each)}" for each in known)
    return f"""\
system_account: SYS
accounts {{
  SYS {{
    users: [{_user(probe)}]
  }}
  CONTROL {{
    jetstream: enabled
    users: [{_user(control)}]
    exports: [
      {{service: "cell.*.report.*"}}
      {{service: "cell.*.receiver.*"}}
      {{service: "alive.*.compute.*"}}
      {{service: "$JS.API.CONSUMER.MSG.NEXT.*.*", response_type: stream}}
      {{service: "$JS.ACK.>"}}
{FOR_READERS}    ]
    imports: [
{questions}
    ]
  }}
{"".join(host_account(cell, each) for each in known)}{"".join(readers)}}}
"""


def host_account(cell: str, account: Account) -> str:
    """An account of hosts, as it stands among the accounts."""
    commands = Names(cell).commands
    imported = (
        f"cell.{cell}.report.{account.host}",
        f"cell.{cell}.receiver.{account.receiver}",
        f"alive.{cell}.compute.{account.host}",
        f"$JS.API.CONSUMER.MSG.NEXT.{commands}.{account.receiver}",
        f"$JS.ACK.{commands}.{account.receiver}.>",
    )
    imports = "\n".join(f"      {_service(subject, 'CONTROL')}" for subject in imported)
    return f"""\
  {_quoted(account.name)} {{
    users: [{_user(account.user, account.permissions)}]
    exports: [{{service: {_quoted(_question(cell, account))}}}]
    imports: [
{imports}
    ]
  }}
"""


def question_import(cell: str, account: Account) -> str:
    """What the account of the control plane imports of one of hosts."""
    return _service(_question(cell, account), account.name)


def _question(cell: str, account: Account) -> str:
    return f"cell.{cell}.question.{account.host}"


def _service(subject: str, account: str) -> str:
    return f"{{service: {{account: {_quoted(account)}, subject: {_quoted(subject)}}}}}"


def _user(credentials: Credentials, permissions: str = "") -> str:
    more = f", permissions: {permissions}" if permissions else ""
    return f"{{user: {_quoted(credentials.user)}, password: {_quoted(credentials.password)}{more}}}"
