"""``python -m ops.guest_image OUT_DIR``: build the tiny guest image and print where it is."""

import argparse
import sys
from pathlib import Path

from ops.guest_image import BuildError, build_tiny


def main() -> int:
    """Build, print the path of the qcow2 image; on failure print what is missing and return 1."""
    parser = argparse.ArgumentParser(prog="python -m ops.guest_image", description=__doc__)
    parser.add_argument("directory", type=Path, help="where images are kept; an up-to-date one is not built again")
    try:
        sys.stdout.write(f"{build_tiny(parser.parse_args().directory)}\n")
    except BuildError as error:
        sys.stderr.write(f"The guest image cannot be built: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
