"""The configuration: one TOML file, decoded into typed settings. A wrong value names its key and what is right."""

import os
import re
import socket
import tomllib
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from domain.catalogue.quota import Limits
from domain.errors import Invalid

Port = Annotated[int, Meta(ge=1, le=65535)]
CellName = Annotated[str, Meta(pattern="^[a-z0-9-]{1,63}$")]


_ENUM = re.compile(r"Invalid enum value .* - at `\$\.([a-z_.]+)")


class NatsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log."""

    url: str = "nats://127.0.0.1:14222"
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    """PEM. With it, or with a URL that begins with ``tls://``, NATS is spoken inside TLS only, and the server has to
    show a certificate: of this authority, or of one that the machine knows."""
    certificate_file: Path | None = None
    key_file: Path | None = None
    """PEM: what is shown to a server that wants to know its clients by certificate, too."""
    server_certificate_file: Path | None = None
    server_key_file: Path | None = None
    """PEM, for the server that we start ourselves: with both it speaks nothing but TLS."""
    client_ca_file: Path | None = None
    """And lets in only who shows a certificate of this authority, beside the password."""


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The read database of the projections."""

    url: str = ""


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The REST faces."""

    listen: str = "127.0.0.1"
    port: Port = 8774
    public_url: str = "http://127.0.0.1:8774"
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    region: str = "RegionOne"
    resize_confirm_seconds: Annotated[float, Meta(ge=0, le=10_000_000_000)] = 0.0
    """After so long a server that was resized or migrated counts as confirmed; 0: it waits for its user's word."""
    live_migration_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 1800.0
    """How long a live migration may take that says nothing of it by ``Lightcurve-Migration-Deadline``."""
    live_migration_policy: Literal["abort", "force_complete", "keep_trying"] = "abort"
    """What comes then, where it says nothing by ``Lightcurve-Migration-Policy``: it is aborted; or made to end, for
    which the server stands still until it is there. Who keeps trying takes a day, and slows the server down."""
    shelved_offload_seconds: Annotated[float, Meta(ge=-1, le=10_000_000_000)] = 0.0
    """After so long a shelved server leaves its host; 0: at once, -1: never by itself."""
    ticket_key_file: Path | None = None
    """What conductors sign the tickets with by which hosts fetch images; the API believes them."""
    policy_file: Path | None = None
    """Rules that go before the default ones: a flat policy.yaml. ``ops/docs/policy.yaml`` lists them all."""


class PlacementSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Placement API, at the root of its own port."""

    listen: str = "127.0.0.1"
    port: Port = 8778
    public_url: str = "http://127.0.0.1:8778"
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    auth: Literal["tokens", "noauth2"] = "tokens"
    """``noauth2`` believes whatever a caller says of itself: for tests, and only on a loopback address."""
    policy_file: Path | None = None
    """Rules that go before the default ones: a flat policy.yaml."""
    enforce_new_defaults: bool = True
    """False: administrators may do everything, reshaping included."""
    trust_services: bool = False
    """True: who has the role ``service`` may do everything, as in the real Placement. Only where no host holds it."""
    allowed_origins: tuple[str, ...] = ()
    """Of web pages that may call it."""
    max_allocation_candidates: Annotated[int, Meta(ge=1)] = 10_000
    """How many allocation candidates one request gets, whatever its limit."""


class UserSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user of the embedded identity."""

    name: str
    password_hash: str
    enabled: bool = True
    """False: no token of the user is good for anything, and no console is shown."""
    roles: dict[str, tuple[str, ...]] = {}
    """By project name; in a project that is not, or no longer, among ``projects`` they count for nothing."""


class IdentityConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the embedded identity's users and projects come from. Ids are derived from names.

    An entry is taken once, and again when it has changed, within a second; in between the log has the last word.
    """

    projects: tuple[str, ...] = ("admin", "demo", "service")
    users: tuple[UserSettings, ...] = ()
    token_key_file: Path | None = None


class QuotaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a project may use unless the operator gave it limits of its own; -1: no limit."""

    instances: Annotated[int, Meta(ge=-1)] = 10
    cores: Annotated[int, Meta(ge=-1)] = 20
    ram_mb: Annotated[int, Meta(ge=-1)] = 51200
    server_groups: Annotated[int, Meta(ge=-1)] = 10
    server_group_members: Annotated[int, Meta(ge=-1)] = 10
    """Of each group."""
    networks: Annotated[int, Meta(ge=-1)] = 100
    ports: Annotated[int, Meta(ge=-1)] = 500
    """Of a project's own, beside those that come with servers."""
    images: Annotated[int, Meta(ge=-1)] = 100
    image_gb: Annotated[int, Meta(ge=-1)] = 1000
    """GiB of all images of a project together."""
    one_image_gb: Annotated[int, Meta(ge=-1)] = 1000
    """GiB of a single image."""
    volumes: Annotated[int, Meta(ge=-1)] = 10
    snapshots: Annotated[int, Meta(ge=-1)] = 10
    volume_gb: Annotated[int, Meta(ge=-1)] = 1000
    """GiB of all volumes and snapshots of a project together."""
    one_volume_gb: Annotated[int, Meta(ge=-1)] = -1
    """GiB of a single volume."""

    @property
    def limits(self) -> Limits:
        """What is counted with its servers."""
        return Limits(
            instances=self.instances,
            cores=self.cores,
            ram_mb=self.ram_mb,
            server_groups=self.server_groups,
            server_group_members=self.server_group_members,
        )


class ComputeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A host with libvirt."""

    host: str = ""
    """Empty: this machine's name."""
    shared_dir: Path | None = None
    """A directory that other hosts reach at the same path: guests' root disks and cached images are kept there. So a
    server moves without its disk being sent, and outlives its host. None: this host's own ``state_dir``."""
    uri: str = "qemu:///system"
    virt_type: str = "auto"
    """``kvm``, ``qemu``, or ``auto``: KVM if a guest truly runs under it."""
    cpu_model: str = ""
    """Empty: what suits the virt_type."""
    image_url: str = "http://127.0.0.1:8774/image"
    secret_file: Path | None = None
    """What this host signs its questions to the metadata service with; ``lightcurve host add`` makes it."""
    identity_url: str = "http://127.0.0.1:8774/identity/v3"
    user: str = "compute"
    password_file: Path | None = None
    """For an image service that is not ours: images are fetched as this user where the command brings no ticket."""
    config_drive_format: Literal["iso9660", "vfat"] = "iso9660"
    image_cache_gb: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
    """What the cached images may take together, in GiB. It is not counted among what the host offers."""
    console_address: str = "127.0.0.1"
    """Of this host: where guests' screens and terminals wait for the console proxies."""
    migration_address: str = ""
    """At which other hosts reach this one, to move servers; empty: at ``console_address``."""
    migration_uri: str = "qemu+tcp://{host}/system"
    """Of this host's libvirtd, as those of other hosts reach it; ``{host}`` is its name."""
    migration_mib: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """MiB a second that one server which leaves this host while it runs may send; 0: no limit."""
    max_incoming_live_migrations: Annotated[int, Meta(ge=1, le=1_000)] = 2
    """Servers that come to this host at a time while they run; the others wait in line."""
    post_copy: bool = True
    """A live migration that is made to end lets the server run on here before all of its memory has come, if kernel
    and QEMU can do that: it stands still for a shorter time, and is lost if one of the two hosts is lost just then.
    False: it stands still until all is here."""
    console_namespace: Path | None = None
    """Of the network to which ``console_address`` belongs, for a host that lives in a network namespace itself."""
    tunnel_device: str = ""
    """This host's interface on the network between hosts, by which guests of one network on several hosts reach each
    other (VXLAN, multicast). Empty: networks end at this host."""
    spice: bool = False
    """Guests get a SPICE screen beside VNC, from their next start on."""
    screen_tls_dir: Path | None = None
    """Screens are shown by QEMU itself, by TLS only, and VNC's to nobody without a certificate; without it they are
    on sockets of the host, and its agent offers each to one proxy at a time. The directory has libvirt's names:
    ``ca-cert.pem``, ``server-cert.pem``, ``server-key.pem``. A libvirtd that is not ours has to be told in its
    ``qemu.conf``."""

    @property
    def name(self) -> str:
        return self.host or socket.gethostname()


class MetadataSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metadata service, and how hosts reach it."""

    listen: str = "127.0.0.1"
    port: Port = 8775
    url: str = "http://127.0.0.1:8775"
    """Where the hosts' proxies send what guests ask."""
    shared_secret_file: Path | None = None
    """What proxies that are not our hosts sign with; Neutron's ``metadata_proxy_shared_secret``."""
    vendor_data_file: Path | None = None
    """A JSON object for every guest."""
    vendor_data_targets: tuple[str, ...] = ()
    """Endpoints as ``name@http://host/path``."""
    vendor_data_timeout: Annotated[float, Meta(gt=0, le=60)] = 5.0
    vendor_data_failure_fatal: bool = False


class ConsoleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The console proxy."""

    listen: str = "127.0.0.1"
    port: Port = 6080
    public_url: str = "http://127.0.0.1:6080"
    """Where browsers reach it, or the balancer before any number of them."""
    web_dir: Path | None = None
    """noVNC's web client; None: the distribution's package, unpacked into the cache."""
    spice_web_dir: Path | None = None
    """spice-html5, likewise."""
    spice_direct_url: str = ""
    """Where a proxy of another make, for viewers that speak SPICE themselves, takes tokens; empty: there is none."""
    allowed_origins: tuple[str, ...] = ()
    """Origins, beside the proxy's own, whose pages may open consoles: ``https://dashboard.example.org``."""
    token_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 600
    single_use: bool = False
    """A token redeems once; a SPICE viewer may open its further channels as long as that session lasts."""
    max_connections: Annotated[int, Meta(ge=1, le=100_000)] = 2_000
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    """PEM; without them TLS ends before the proxy, or nowhere."""
    vencrypt_ca: Path | None = None
    vencrypt_certificate: Path | None = None
    vencrypt_key: Path | None = None
    """PEM; with all three, hypervisors must show screens by TLS: see ``screen_tls_dir`` under ``[compute]``."""


class CheckpointSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the projector signs the logs: whichever comes first, and never for nothing."""

    events: Annotated[int, Meta(ge=1, le=20_000)] = 5_000
    """Since the last checkpoint. It keeps a hash of each: 43 bytes."""
    seconds: Annotated[float, Meta(ge=1)] = 300.0
    key_file: Path | None = None
    """The private key; None: ``secrets/checkpoint.key`` in the state directory. Without it nothing is signed."""


class ErasureSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is sealed in events beside user data and passwords; and when what was sealed for a server becomes
    unreadable for ever."""

    seal: tuple[Literal["keypairs", "addresses", "descriptions"], ...] = ()
    """Texts that say something of people; see ``domain.personal``."""
    after_seconds: Annotated[float, Meta(ge=0, le=10_000_000_000)] = 0.0
    """Since its deletion."""


MAX_SIMULATED_HOSTS = 100_000


class SimulatedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Simulated hosts, in one process."""

    hosts: Annotated[int, Meta(ge=0, le=MAX_SIMULATED_HOSTS)] = 0
    vcpus: int = 64
    memory_mb: int = 262_144
    disk_gb: int = 4_000
    build_seconds: float = 0.0
    """How long building a guest takes."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a process is told."""

    file: Path | None = None
    """Where it was read from; not for the file to say."""

    state_dir: Path = Path("var")
    cache_dir: Path | None = None
    """What was built and can be built again; None: ``cache`` in the state directory."""
    cell: CellName = "cell1"
    api_cell: CellName = "api"
    log_level: str = "INFO"
    nats: NatsSettings = NatsSettings()
    database: DatabaseSettings = DatabaseSettings()
    api: ApiSettings = ApiSettings()
    placement: PlacementSettings = PlacementSettings()
    identity: IdentityConfig = IdentityConfig()
    quota: QuotaSettings = QuotaSettings()
    compute: ComputeSettings = ComputeSettings()
    metadata: MetadataSettings = MetadataSettings()
    console: ConsoleSettings = ConsoleSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    erasure: ErasureSettings = ErasureSettings()
    simulated: SimulatedSettings = SimulatedSettings()

    @property
    def cache(self) -> Path:
        return (self.cache_dir or self.state_dir / "cache").absolute()


def load(file: Path) -> Settings:
    """Read a configuration file; ``LIGHTCURVE_SECTION_KEY`` in the environment overrides a value.

    Raises Invalid, naming the file, the key and what is allowed.
    """
    try:
        table = tomllib.loads(file.read_text())
    except FileNotFoundError:
        raise Invalid(f"There is no configuration file {file}. Is the stack set up?") from None
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{file} is not TOML: {error}") from None
    for name, value in os.environ.items():
        if name.startswith("LIGHTCURVE_"):
            _override(table, name.removeprefix("LIGHTCURVE_").lower(), value)
    try:
        return msgspec.convert(table | {"file": str(file)}, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise Invalid(f"{file}: {error}{_allowed(str(error))}") from None


def _allowed(error: str) -> str:
    """The words that are allowed where a key's value is none of them."""
    key = _ENUM.search(error)
    kind: object = Settings
    for name in key[1].split(".") if key else ():
        kind = next(field.type for field in msgspec.structs.fields(kind) if field.name == name)  # type: ignore[arg-type]
    words = get_args(kind) if get_origin(kind) is Literal else get_args(next(iter(get_args(kind)), None))
    return f"; allowed are {', '.join(map(repr, words))}" if key else ""


def _decode(kind: type, value: object) -> object:
    if isinstance(value, str) and kind is Path:
        return Path(value)
    raise ValueError(f"expected a {kind.__name__}")


def _override(table: dict[str, object], name: str, value: str) -> None:
    sections = {field.name for field in msgspec.structs.fields(Settings) if _is_section(field.type)}
    section, _, key = name.partition("_")
    if section in sections and key:
        inner = table.setdefault(section, {})
        assert isinstance(inner, dict)
        inner[key] = value
    elif name in {field.name for field in msgspec.structs.fields(Settings)} - sections:
        table[name] = value


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
