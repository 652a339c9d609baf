"""The domain has no clock, no randomness, no outside."""

import subprocess
import sys

FORBIDDEN = ("asyncio", "time", "random", "socket", "threading", "nats", "psycopg", "starlette", "libvirt")

GUARD = f"""
import sys, uuid, datetime
import msgspec, numpy, collections.abc, ipaddress, enum  # what the domain may stand on brings what it needs
for name in {FORBIDDEN!r}:
    sys.modules.pop(name, None)
    sys.modules[name] = None  # importing it now raises ImportError
import domain.kinds, domain.placement.scheduling, domain.placement.ledger_snapshot
import domain.server.steps, domain.server.reported
"""


def test_the_domain_imports_without_clock_randomness_and_network() -> None:
    subprocess.run([sys.executable, "-c", GUARD], check=True)
