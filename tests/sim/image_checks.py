"""What must hold of the images that servers had made of them."""

from collections.abc import Iterator

from domain.log.record import AggregateId, Recorded
from domain.neighbours.image import Image
from domain.server.actions.create_image import ServerImaged, ServerImageDropped, ServerImageRequested
from domain.server.actions.shelve import ServerShelved, ServerShelveRequested
from domain.server.deletion import ServerDeleted
from domain.server.state import DELETED, Server


def images(history: list[Recorded], states: dict[AggregateId, object]) -> Iterator[str]:
    """Each has its bytes if its server's history says so, and is gone if that says so; one that nobody ever asked a
    server for waits for ever, as in Nova."""
    asked: dict[str, str] = {}
    making: dict[str, str] = {}
    made: set[str] = set()
    shelves: dict[str, str] = {}
    for recorded in history:
        server_id = recorded.aggregate.id
        match recorded.event:
            case ServerImageRequested(image_id=image_id) | ServerShelveRequested(image_id=image_id):
                asked[image_id] = server_id
                making[server_id] = image_id
                if isinstance(recorded.event, ServerShelveRequested):
                    shelves[server_id] = image_id
            case ServerImaged() | ServerShelved():
                made.add(making[server_id])
            case ServerImageDropped(image_id=image_id):
                made.discard(image_id)
            case ServerDeleted():
                made.discard(shelves.get(server_id, ""))
    for state in states.values():
        if isinstance(state, Image):
            expected = "active" if state.id in made else "deleted" if state.id in asked else "queued"
            if state.status != expected and not (expected == "queued" and state.status == "deleted"):
                yield f"image {state.id} of server {asked.get(state.id)} is {state.status}, and should be {expected}"
    for state in states.values():
        if isinstance(state, Server) and (state.imaging or state.unwanted_images) and state.vm_state != DELETED:
            yield f"server {state.id} still has images in the making: {state.images_of_it}"
