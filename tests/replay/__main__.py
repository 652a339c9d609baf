"""``python -m tests.replay``: writes the golden samples that are missing. One that is there is never touched."""

from domain.kinds import EVENTS
from tests.replay.golden_files import GOLDEN, file_of, write


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for kind in EVENTS:
        if not file_of(kind).exists():
            write(kind)
            print(f"written: {file_of(kind).name}")


if __name__ == "__main__":
    main()
