"""``python -m tests.sim --seeds 10000``: many seeds on all processors; a failing one is printed and reproduces."""

import argparse
import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from random import SystemRandom

from tests.sim.simulation import run_seed


def _quiet() -> None:
    logging.disable(logging.CRITICAL)


def main() -> None:
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of a set of strings differs from process to process; a seed must not.
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.sim", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, help="default: a random one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    first = SystemRandom().randrange(2**40) if arguments.first is None else arguments.first
    seeds = range(first, first + arguments.seeds)
    failures = 0
    with ProcessPoolExecutor(arguments.jobs, initializer=_quiet) as pool:
        for seed, found in zip(seeds, pool.map(run_seed, seeds, chunksize=10), strict=True):
            if found:
                failures += 1
                print(f"seed {seed}:", *found, sep="\n  ")
    print(f"{arguments.seeds - failures} seeds passed, {failures} failed; the first was {first}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
