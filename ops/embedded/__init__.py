"""The parts that the all-in-one stack starts by itself: log, read database, hypervisor."""
