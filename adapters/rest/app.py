"""All faces on one port, each under its prefix."""

import logging
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.rest import audit, compute, image, network, volume
from adapters.rest.audit import rights
from adapters.rest.compute import inner_rules
from adapters.rest.identity import assignments, auth, browsing, own, writing
from adapters.rest.identity.directory import Directory
from adapters.rest.identity.tokens import Tokens
from adapters.rest.kit import errors
from adapters.rest.kit.face import Face
from adapters.rest.kit.microversion import COMPUTE
from adapters.rest.kit.operation import Operation
from adapters.rest.kit.request_id import RequestIds
from adapters.rest.kit.request_log import RequestLog
from adapters.rest.kit.services import Services
from adapters.rest.kit.turns import Turns
from adapters.rest.volume.microversion import VOLUME

log = logging.getLogger(__name__)


class Faces:
    """Hands each request to the face with the longest matching prefix."""

    def __init__(self, faces: dict[str, Face], elsewhere: Face) -> None:
        self.faces = faces
        self._prefixes = sorted(faces, key=len, reverse=True)
        self._elsewhere = elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"nothing here speaks {scope['type']}")
        path: str = scope["path"]
        for prefix in self._prefixes:
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                await self.faces[prefix](scope, receive, send, path[len(prefix) :])
                return
        await self._elsewhere(scope, receive, send, path)

    def operations(self) -> list[tuple[str, Operation]]:
        """Everything that is served: prefix and operation."""
        return [(prefix, operation) for prefix, face in self.faces.items() for operation in face.operations]


async def _lifespan(receive: Receive, send: Send) -> None:
    """There is nothing to start or stop: whoever made the services does that."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def create_faces(services: Services, directory: Directory | None = None) -> Faces:
    """The faces, without the middleware around them. Without a ``directory`` its users stay those of the settings."""
    settings = services.settings
    directory = directory or Directory(settings.identity, services.stamp.clock)
    tokens = Tokens(settings.identity, directory, services.stamp.clock, services.revocations.revoked)
    turns = Turns()
    identity_operations = [
        *browsing.discovery(settings),
        *auth.operations(settings, directory, tokens),
        *browsing.operations(settings, directory),
        *assignments.operations(settings, directory),
        *writing.operations(settings, directory),
        *own.operations(settings, directory),
    ]

    def face(operations: list[Operation], error_page: errors.ErrorPage, **more: Any) -> Face:
        return Face(operations, services=services, tokens=tokens, turns=turns, error_page=error_page, **more)

    faces = Faces(
        {
            "/identity": face(identity_operations, errors.in_json(errors.keystone)),
            "/compute/v2.1": face(
                compute.operations(), errors.in_json(errors.nova), microversions=COMPUTE, past=True
            ),
            "/compute": face(compute.discovery(), errors.in_json(errors.nova), complete=True),
            "/image": face(image.operations(), errors.glance_page),
            "/audit": face(audit.operations(), errors.in_json(errors.nova), complete=True),
            "/network": face(network.operations(), errors.in_json(errors.neutron)),
            "/volume/v3": face(volume.operations(), errors.in_json(errors.nova), microversions=VOLUME),
            "/volume": face(volume.discovery(), errors.in_json(errors.nova), complete=True),
        },
        elsewhere=face([], errors.in_json(errors.keystone), complete=True),
    )
    known = [operation.rule for _, operation in faces.operations()] + [
        rule.name for rule in (*inner_rules.ALL, *rights.ALL)
    ]
    for name in services.policy.unknown(known):
        log.warning("the policy file has a rule that nobody asks for: %s", name)
    return faces


def create_app(services: Services, directory: Directory | None = None) -> ASGIApp:
    """The ASGI application: all faces of the REST API."""
    return RequestIds(RequestLog(create_faces(services, directory)), services.stamp.ids)
