"""Is it slower than it was? A benchmark of this tree and of another commit, in turns, in one run.

``python -m ops.bench.compare COMMIT`` prints for every figure of ``ops.bench.servers`` the median of both and their
ratio. Arguments that are not its own go to the benchmark. Machines change their pace from minute to minute: that is
why the two take turns, and why single runs say little (the last column is how far the runs of one tree lie apart).
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIGURE = re.compile(r"( *\S.*?) {2,}([\d.]+)( \S+)?$")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.compare")
    parser.add_argument("commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bench", default="ops.bench.servers", help="a module that both trees have")
    arguments, rest = parser.parse_known_args()
    runs: dict[str, list[tuple[float, float]]] = {}
    with _tree(arguments.commit) as before:
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            then, now = (_run(tree, arguments.bench, rest) for tree in (before, ROOT))
            for name in then.keys() & now.keys():
                runs.setdefault(name, []).append((then[name], now[name]))
            order = list(now)
    print(f"{'':50} {arguments.commit[:10]:>10} {'here':>10} {'ratio':>7} {'apart':>7}")
    for name in (name for name in order if name in runs):
        pairs = runs[name]
        then_each, now_each = zip(*pairs, strict=True)
        then_median, now_median = statistics.median(then_each), statistics.median(now_each)
        if then_median and now_median:
            apart = max(max(each) / min(each) for each in (then_each, now_each) if min(each)) - 1
            print(f"{name:50} {then_median:10.2f} {now_median:10.2f} {now_median / then_median:7.3f} {apart:7.0%}")


@contextmanager
def _tree(commit: str) -> Iterator[Path]:
    """The files of a commit."""
    with tempfile.TemporaryDirectory(prefix="lightcurve-compare-") as directory:
        archive = subprocess.run(["git", "-C", ROOT, "archive", commit], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", directory], input=archive, check=True)
        yield Path(directory)


def _run(tree: Path, bench: str, rest: list[str]) -> dict[str, float]:
    """The figures that a benchmark prints, by name; those of a part stand under the name of the whole."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    printed = subprocess.run(
        [sys.executable, "-m", bench, *rest], cwd=tree, env=environment, check=True, capture_output=True, text=True
    ).stdout
    figures, whole = {}, ""
    for line in printed.splitlines():
        if found := FIGURE.match(line):
            name = found[1]
            if name.startswith(" "):
                name = f"  {whole.partition(':')[0]}: {name.strip()}"
            else:
                whole = name
            figures[name] = float(found[2])
    return figures


if __name__ == "__main__":
    main()
