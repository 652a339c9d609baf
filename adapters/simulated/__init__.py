"""Hosts that exist only in memory: as slow and as faulty as one likes, thousands in one process."""

from adapters.simulated.guest import Behaviour
from adapters.simulated.hypervisor import SimulatedHypervisor

__all__ = ["Behaviour", "SimulatedHypervisor"]
