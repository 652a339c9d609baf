"""What must hold of the images that servers had made of them."""

from collections.abc import Iterator

from domain.log.record import AggregateId, Recorded
from domain.neighbours.image import Image
from domain.server.actions.create_image import ServerImaged, ServerImageRequested
from domain.server.state import DELETED, Server


def images(history: list[Recorded], states: dict[AggregateId, object]) -> Iterator[str]:
    """Each has its bytes if its server's history says so, and is gone if that says so; one that nobody ever asked a
    server for waits for ever, as in Nova."""
    asked: dict[str, str] = {}
    making: dict[str, str] = {}
    made: set[str] = set()
    for recorded in history:
        if isinstance(recorded.event, ServerImageRequested):
            asked[recorded.event.image_id] = recorded.aggregate.id
            making[recorded.aggregate.id] = recorded.event.image_id
        elif isinstance(recorded.event, ServerImaged):
            made.add(making[recorded.aggregate.id])
    for state in states.values():
        if isinstance(state, Image):
            expected = "active" if state.id in made else "deleted" if state.id in asked else "queued"
            if state.status != expected and not (expected == "queued" and state.status == "deleted"):
                yield f"image {state.id} of server {asked.get(state.id)} is {state.status}, and should be {expected}"
    for state in states.values():
        if isinstance(state, Server) and state.images_of_it and state.vm_state != DELETED:
            yield f"server {state.id} still has images in the making: {state.images_of_it}"
