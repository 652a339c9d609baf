"""The log, the bus and the read side in memory: for tests, and for the simulation."""
