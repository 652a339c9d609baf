"""What counts as a wrong claim of a server."""

import pytest

from domain.placement.ledger import Claimed
from ops.placement_check import _misclaimed
from tests.domain.server.moves.servers import MOVING, there
from tests.domain.server.servers import SERVER_ID, given


def claim(host_id: str, epoch: int) -> Claimed:
    return Claimed(
        consumer_id=SERVER_ID, epoch=epoch, project_id="p", user_id="u", allocations={host_id: {"VCPU": 1}}
    )


@pytest.mark.parametrize("state", MOVING)
def test_while_a_server_moves_its_last_target_is_claimed(state: str) -> None:
    target = there("resized").host_id or ""
    assert not list(_misclaimed(claim(target, 2), there(state)))


@pytest.mark.parametrize(("state", "epoch"), [("receiving", 9), ("resized", 1), ("resized", 3)])
def test_a_claim_for_another_assignment_is_told(state: str, epoch: int) -> None:
    assert list(_misclaimed(claim(there("resized").host_id or "", epoch), there(state)))


def test_a_server_that_has_arrived_is_claimed_where_it_is() -> None:
    source = given("active").host_id or ""
    assert list(_misclaimed(claim(source, 2), there("resized")))
    assert not list(_misclaimed(claim(source, 1), given("active")))
    assert list(_misclaimed(claim(source, 2), given("active")))
