"""What the control plane and a host say to each other. JSON by msgspec; fields are only ever added."""

from datetime import datetime

import msgspec

from domain.guest import GuestSpec, GuestState, HostDescription, PowerState


class HostCommand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Do ``kind`` with a server: one of those in ``domain.server.steps.COMMAND_OF_TASK``."""

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
    deadline: datetime | None = None
    """From then on the action may have been given up: ask whether it is still wanted."""
    repeated: bool = False
    """It was sent before and brought no outcome: ask whether it is still wanted."""
    timeout: float = 60.0
    """Seconds a guest is given to shut down by itself."""


class Report(msgspec.Struct, frozen=True, kw_only=True, tag_field="report", omit_defaults=True):
    """The base of what a host reports."""

    request_id: str


class Enrolment(Report, tag="enrolment", frozen=True, kw_only=True):
    """A host's agent has started."""

    host_id: str
    description: HostDescription


class Wanted(Report, tag="wanted", frozen=True, kw_only=True):
    """Is a command that was delivered before still wanted?"""

    server_id: str
    epoch: int
    version: int


class Outcome(Report, tag="outcome", frozen=True, kw_only=True):
    """A command was carried out; ``power_state`` is the guest's now."""

    kind: str
    server_id: str
    epoch: int
    version: int
    power_state: PowerState = PowerState.NOSTATE


class Failure(Report, tag="failure", frozen=True, kw_only=True):
    """A command could not be carried out; nothing half-done is left."""

    kind: str
    server_id: str
    epoch: int
    version: int
    message: str
    """For the tenant."""
    details: str = ""
    """For the administrator."""


class Observation(Report, tag="observation", frozen=True, kw_only=True):
    """The power of guests, seen by the host: one that changed, or all of them after a start."""

    guests: tuple[GuestState, ...]
    versions: dict[str, int] = {}
    """By server: the newest command that this agent had carried out when it looked. An observation older than the
    server's last action tells nothing any more."""


AnyReport = Enrolment | Wanted | Outcome | Failure | Observation


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the host learns from its report."""

    wanted: bool = True
    """For Wanted: whether to carry it out."""
    remove: tuple[GuestState, ...] = ()
    """Guests that must not be on this host any more (deleted, or assigned to another since)."""
    refused: str | None = None
    """Why the host may not take part."""


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


class ConsoleAddress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A TCP port of a host. ``greeting`` has to be sent before anything else, if there is one."""

    host: str
    port: int
    """0: there is only the other one."""
    tls_port: int = 0
    """Where the same console is spoken inside TLS; 0: nowhere."""
    greeting: str = ""


command_decoder = msgspec.json.Decoder(HostCommand)
report_decoder: msgspec.json.Decoder[AnyReport] = msgspec.json.Decoder(AnyReport)
answer_decoder = msgspec.json.Decoder(Answer)
question_decoder: msgspec.json.Decoder[ConsoleLogQuestion | ConsoleAddressQuestion] = msgspec.json.Decoder(
    ConsoleLogQuestion | ConsoleAddressQuestion
)
console_address_decoder: msgspec.json.Decoder[ConsoleAddress | None] = msgspec.json.Decoder(ConsoleAddress | None)
encode = msgspec.json.encode
