"""A compute host needs neither Starlette nor PostgreSQL."""

import subprocess
import sys

GUARD = """
import sys
for name in ("starlette", "uvicorn", "psycopg", "os_traits", "os_resource_classes", "websockify"):
    sys.modules[name] = None  # importing it now raises ImportError
import ops.cli, ops.roles.compute, adapters.libvirt.hypervisor, adapters.simulated.hypervisor
ops.cli._role("compute"), ops.cli._role("simulated")
"""


def test_the_agent_starts_without_them() -> None:
    subprocess.run([sys.executable, "-c", GUARD], check=True)
