"""What the control plane and a host say to each other. JSON by msgspec; fields are only ever added.

What a host says is believed within bounds only: the types here are the gate, and ``read_report`` and
``read_console_address`` the only ways through it.
"""

from collections.abc import Container
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from domain.errors import Invalid
from domain.guest import Count, GuestSpec, GuestState, HostDescription, PowerState, Uuid
from domain.server.moves.orders import Orders

MAX_MESSAGE, MAX_DETAILS = 2_000, 32_000
"""Characters of what a host tells of a failure."""
MAX_GUESTS = 1_000
"""In one observation; of more a host tells in several."""
CONSOLE_PORTS = 5900, 65535
"""Between these a host may offer consoles: the screens of QEMU, and what the system gives out."""

RequestId = Annotated[str, Meta(pattern=r"\Areq-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
Word = Annotated[str, Meta(pattern=r"\A[a-z_]{1,32}\Z")]
Amount = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Message = Annotated[str, Meta(pattern=r"\A[^\x00]*\Z", max_length=MAX_MESSAGE)]
Details = Annotated[str, Meta(pattern=r"\A[^\x00]*\Z", max_length=MAX_DETAILS)]


class DiskOffer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where another host can fetch a disk. Whoever has the key can read it."""

    host: Annotated[str, Meta(max_length=64)]
    port: Annotated[int, Meta(ge=1, le=65535)]
    key: Annotated[str, Meta(max_length=256)]
    ephemeral: "DiskOffer | None" = None
    """Where the second disk is, if the server has one."""
    image_id: Annotated[str, Meta(max_length=64)] | None = None
    """Over which image the disk lies there; None where that is not told."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """What a running guest needs to come to a host that is ready for it."""

    uri: Annotated[str, Meta(max_length=1024)]
    """Of its libvirtd, as other hosts reach it."""
    definition: Annotated[str, Meta(max_length=200_000)]
    """Of the guest there."""
    copied: Annotated[tuple[Annotated[str, Meta(max_length=16)], ...], Meta(max_length=32)] = ()
    """The disks that are not common to both hosts."""
    post_copy: bool = False
    """Whether a guest may run on there before all of its memory has come."""


class Peer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The other host of a move."""

    host: str
    offer: DiskOffer | None = None
    """Where the disk is, if it has to be fetched."""
    arrival: Arrival | None = None
    """How a running guest comes there."""


class HostCommand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Do ``kind`` with a server: what one of ``domain.server.reported.TASKS`` says, or destroy."""

    host: str
    kind: str
    server_id: str
    epoch: int
    version: int
    """The server's version when the action was accepted: the host skips commands older than one it has seen."""
    request_id: str
    global_request_id: str | None = None
    spec: GuestSpec | None = None
    """What the guest shall be, for every kind that ends with a guest that can run."""
    image_id: str | None = None
    """The image that is made of the guest."""
    image_tickets: dict[str, str] = {}
    """By image: what opens it to the host, if images are fetched, and sent, by ticket."""
    deadline: datetime | None = None
    """From then on the action may have been given up: ask whether it is still wanted."""
    repeated: bool = False
    """It was sent before and brought no outcome: ask whether it is still wanted."""
    timeout: float = 60.0
    """Seconds a guest is given to shut down by itself."""
    peer: Peer | None = None
    """The move's other host, where that has something to do with it."""
    orders: Orders | None = None
    """What is wanted of a guest that leaves."""


class Report(msgspec.Struct, frozen=True, kw_only=True, tag_field="report", omit_defaults=True):
    """The base of what a host reports."""

    request_id: RequestId


class Enrolment(Report, tag="enrolment", frozen=True, kw_only=True):
    """A host's agent has started."""

    host_id: Uuid
    description: HostDescription


class StillWanted(Report, tag="wanted", frozen=True, kw_only=True):
    """Is a command that was delivered before, or takes long, still wanted?"""

    server_id: Uuid
    epoch: Count
    version: Count
    kind: Word | None = None
    """Of the command, where that has to be what the server is at."""


class Outcome(Report, tag="outcome", frozen=True, kw_only=True):
    """A command was carried out; ``power_state`` is the guest's now."""

    kind: Word
    server_id: Uuid
    epoch: Count
    version: Count
    power_state: PowerState = PowerState.NOSTATE
    downtime_ms: Count | None = None
    """Of a guest that has left while it ran."""


class Failure(Report, tag="failure", frozen=True, kw_only=True):
    """A command could not be carried out; nothing half-done is left."""

    kind: Word
    server_id: Uuid
    epoch: Count
    version: Count
    message: Message
    """For the tenant."""
    details: Details = ""
    """For the administrator."""


class Observation(Report, tag="observation", frozen=True, kw_only=True):
    """The power of guests, seen by the host: one that changed, or all of them after a start."""

    guests: Annotated[tuple[GuestState, ...], Meta(max_length=MAX_GUESTS)]
    versions: Annotated[dict[Uuid, Count], Meta(max_length=MAX_GUESTS)] = {}
    """By server: the newest command that this agent had carried out when it looked. An observation older than the
    server's last action tells nothing any more."""


AnyReport = Enrolment | StillWanted | Outcome | Failure | Observation


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the host learns from its report."""

    wanted: bool = True
    """For StillWanted: whether to carry it out."""
    orders: Orders | None = None
    """For StillWanted: what is wanted of a guest that leaves."""
    remove: tuple[GuestState, ...] = ()
    """Guests that must not be on this host any more (deleted, or assigned to another since)."""
    give: tuple[GuestState, ...] = ()
    """Guests that must not run on this host now, while nobody knows yet whether their disks are wanted."""
    refused: str | None = None
    """Why the host may not take part."""
    fenced: bool = False
    """It was declared dead: nothing that it says counts, and it carries nothing out, until it is declared up. What it
    must not have is told all the same."""


class Question(msgspec.Struct, frozen=True, kw_only=True, tag_field="question"):
    """The base of what a host is asked: it changes nothing."""

    server_id: str
    request_id: str = "-"


class ConsoleLogQuestion(Question, tag="console_log", frozen=True, kw_only=True):
    """The last ``lines`` lines of a guest's serial console; all, if None. The answer is the text."""

    lines: int | None = None


class ConsoleAddressQuestion(Question, tag="console_address", frozen=True, kw_only=True):
    """Where a guest's console can be reached: vnc, spice or serial. The answer is a ConsoleAddress or null."""

    protocol: str


class DiskQuestion(Question, tag="disk", frozen=True, kw_only=True):
    """Where the disk of a server that was given can be fetched. The answer is a DiskOffer, or null where the hosts
    have no disks."""

    epoch: int = 0
    """Of the assignment for which it is fetched: to ask again for the same one disturbs nobody who is fetching it."""


class ArrivalQuestion(Question, tag="arrival", frozen=True, kw_only=True):
    """How the guest comes to this host, which is ready for it. The answer is an Arrival, or null where nothing of it
    needs to be known."""


class ProgressQuestion(Question, tag="progress", frozen=True, kw_only=True):
    """How far a guest is that leaves. The answer is a Progress, or null if it does not leave now."""


class GuestQuestion(Question, tag="guest", frozen=True, kw_only=True):
    """What the host has of a guest in that assignment. The answer is a GuestState, or null if it has none, or is only
    about to."""

    epoch: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Of a guest that leaves: bytes of its memory and of its disks."""

    memory_total: Amount = 0
    memory_processed: Amount = 0
    memory_remaining: Amount = 0
    disk_total: Amount = 0
    disk_processed: Amount = 0
    disk_remaining: Amount = 0

    @property
    def percent(self) -> int:
        """Of all that has to be sent, as much as is there by now."""
        total = self.memory_total + self.disk_total
        return 100 - self._remaining * 100 // total if total else 0

    @property
    def _remaining(self) -> int:
        return min(self.memory_remaining + self.disk_remaining, self.memory_total + self.disk_total)


class ConsoleAddress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A TCP port of a host. ``greeting`` has to be sent before anything else, if there is one."""

    host: Annotated[str, Meta(max_length=64)]
    port: Annotated[int, Meta(ge=0, le=65535)]
    """0: there is only the other one."""
    tls_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Where the same console is spoken inside TLS; 0: nowhere."""
    greeting: Annotated[str, Meta(max_length=256)] = ""


command_decoder = msgspec.json.Decoder(HostCommand)
_report_decoder: msgspec.json.Decoder[AnyReport] = msgspec.json.Decoder(AnyReport)
answer_decoder = msgspec.json.Decoder(Answer)
AnyQuestion = (
    ConsoleLogQuestion | ConsoleAddressQuestion | DiskQuestion | ArrivalQuestion | ProgressQuestion | GuestQuestion
)
_guest_decoder: msgspec.json.Decoder[GuestState | None] = msgspec.json.Decoder(GuestState | None)
_progress_decoder: msgspec.json.Decoder[Progress | None] = msgspec.json.Decoder(Progress | None)
_arrival_decoder: msgspec.json.Decoder[Arrival | None] = msgspec.json.Decoder(Arrival | None)
question_decoder: msgspec.json.Decoder[AnyQuestion] = msgspec.json.Decoder(AnyQuestion)
_disk_offer_decoder: msgspec.json.Decoder[DiskOffer | None] = msgspec.json.Decoder(DiskOffer | None)
_console_address_decoder: msgspec.json.Decoder[ConsoleAddress | None] = msgspec.json.Decoder(ConsoleAddress | None)
encode = msgspec.json.encode


def read_report(body: bytes) -> AnyReport:
    """What a host reports. Raises Invalid for what cannot be believed, or not be kept."""
    try:
        return _report_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The report is not understood: {error}") from None


def read_console_address(body: bytes, address: str) -> ConsoleAddress | None:
    """Where a host says that a console is. Raises Invalid if that is not at its own ``address``, as enrolled, or on a
    port where no console can be: a proxy goes there, and hands over what is typed."""
    try:
        said = _console_address_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The console's address is not understood: {error}") from None
    if said is None:
        return None
    first, last = CONSOLE_PORTS
    if said.host != address or not all(first <= port <= last for port in (said.port, said.tls_port) if port):
        raise Invalid(f"The console's address {said.host}:{said.port}/{said.tls_port} is not one of {address}'s.")
    return said


def read_disk_offer(body: bytes, addresses: Container[str]) -> DiskOffer | None:
    """Where a host says that a disk is. Raises Invalid if that is at none of its own ``addresses``, as enrolled."""
    try:
        said = _disk_offer_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The place of the disk is not understood: {error}") from None
    for offer in (said, said and said.ephemeral):
        if offer is not None and offer.host not in addresses:
            raise Invalid(f"The place of the disk, {offer.host}:{offer.port}, is not at its host.")
    return said


def read_arrival(body: bytes) -> Arrival | None:
    """How a guest comes to a host, as that says. Raises Invalid if it is not understood."""
    try:
        return _arrival_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The way to the host is not understood: {error}") from None


def read_guest(body: bytes) -> GuestState | None:
    """What a host says of a guest. Raises Invalid if it is not understood."""
    try:
        return _guest_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"What the host has is not understood: {error}") from None


def read_progress(body: bytes) -> Progress | None:
    """How far a guest is that leaves, as its host says. Raises Invalid if it is not understood."""
    try:
        return _progress_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The progress is not understood: {error}") from None


def clean(text: str, limit: int) -> str:
    """Text as the gate lets it pass: what cannot be told is replaced, what is too long is cut."""
    return text[:limit].replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
