"""What the tests of the REST faces share."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.adapters.rest.world import World, world

MakeWorld = Callable[[], AbstractAsyncContextManager[World]]


@pytest.fixture
def cloud(tmp_path: Path) -> MakeWorld:
    """Makes a world of its own for the test."""
    return partial(world, tmp_path)
