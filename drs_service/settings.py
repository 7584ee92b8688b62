"""The only reader of the environment. All faults are reported at once."""

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from drs_service.domain.addresses import network
from drs_service.domain.checksums import COMPUTABLE
from drs_service.domain.origins import ANY_ORIGIN, is_origin
from drs_service.domain.places import (
    PlaceSaid,
    check_bucket,
    check_name,
    check_protocol,
    overlap,
    parse_place,
    parse_places,
    parse_secrets,
    parse_shown,
)
from drs_service.domain.replication import parse_rules
from drs_service.domain.thawing import Tier
from drs_service.errors import BindRefused, SettingsInvalid

MIB = 1024**2
TIB = 1024**4


class Secret:
    """A text that does not print."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def setting(default: Any, about: str, **limits: int) -> Any:
    return field(default=default, metadata={"about": about, **limits})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can set. `.env.example` says the same, by test."""

    # Where it listens and how it is reached
    host: str = setting("127.0.0.1", "address to listen on; loopback only, until identities are configured")
    port: int = setting(8000, "port to listen on; 0 takes a free one", least=0, most=65535)
    public_url: str | None = setting(None, "how clients reach the service; default http://HOST:PORT")
    cors_origins: tuple[str, ...] = setting((), "origins whose pages may read and write; * lets every page read")
    drs_1_2_prefix: str | None = setting(None, "path, such as /1.2, before a second mount for clients of DRS 1.2")
    processes: int = setting(1, "web processes", least=1, most=256)
    workers: int = setting(1, "worker processes of `serve`; 0 where only others do the jobs", least=0, most=256)

    # Where it keeps things
    data_dir: Path = setting(Path("data"), "directory of the embedded database and of the local store")
    database_url: Secret | None = setting(None, "postgresql://…; default: an embedded PostgreSQL in the data directory")
    storage_url: str | None = setting(
        None,
        "file:///absolute/path, s3:// or gs:// or az://bucket/prefix, or memory:; default: the data directory",
    )
    fsspec_protocols: tuple[str, ...] = setting((), "protocols of fsspec that places may have besides, such as sftp")
    s3_endpoint_url: str | None = setting(None, "where S3 is reached, if it is not Amazon's")
    s3_region: str | None = setting(None, "region of the bucket; default: as AWS's own tools find it")
    s3_access_key_id: str | None = setting(None, "who asks S3; default: as AWS's own tools find it")
    s3_secret_access_key: Secret | None = setting(None, "and the secret that goes with it")
    azure_connection_string: Secret | None = setting(None, "of an account of Azure, with its key; or else the three")
    azure_account: str | None = setting(None, "account whose container az://container/prefix means")
    azure_account_key: Secret | None = setting(None, "its key; default: as Azure's own tools find who asks")
    azure_endpoint_url: str | None = setting(None, "where the account's containers are, if not at Azure itself")
    gcs_credentials_file: Path | None = setting(
        None, "JSON of a service account of Google; default: as Google's own tools find who asks"
    )
    gcs_endpoint_url: str | None = setting(None, "where gs://bucket/prefix is reached, if it is not Google's")
    storage_name: str = setting("primary", "name of that place, which stays with every copy in it")
    places: tuple[str, ...] = setting(
        (),
        "further places, each name=URL; of a bucket: ?endpoint_url=…&region=…&access_key_id=…, or as above; "
        "?external=true: files of others, which are only read",
    )
    place_secrets: Secret | None = setting(None, "secrets of further places: name=secret, one a line or all in one")
    place_seconds: int = setting(
        5, "how long a place may take to begin to answer before another one that has the bytes is asked", least=1
    )
    replicas: str = setting(
        "", "copies: place, or place:size>=1000000,type=image/*,space=default; several are separated by spaces"
    )
    shown_places: tuple[str, ...] = setting(
        (), "places whose buckets clients may read themselves, each name or name:cloud:region; s3:// URLs tell of them"
    )
    signed_places: tuple[str, ...] = setting((), "places in buckets of which clients get signed URLs, if they ask")
    signed_seconds: int = setting(900, "how long a signed URL lets its bearer read", least=60, most=604_800)
    signed_downloads: bool = setting(False, "true: GET /data/{id} redirects to a signed URL where there is one")
    direct_uploads: bool = setting(
        True, "whether senders get signed URLs to bring parts to S3 itself; false: where they cannot reach it"
    )
    thaw: bool = setting(True, "whether whoever reads archived bytes has them brought back; false: readers get a 409")
    thaw_tier: str = setting("standard", "how fast archived bytes are brought back: expedited, standard or bulk")
    thaw_days: int = setting(7, "for how long S3 keeps what it has brought back from an archive", least=1, most=365)
    thaw_daily_bytes: int | None = setting(
        None, "bytes that are brought back from archives in 24 hours; default no limit", least=1
    )
    postgres_user: str = setting("nobody", "whom the embedded PostgreSQL runs as when the service is run by root")

    # Limits
    max_upload_bytes: int = setting(5 * TIB, "largest file accepted", least=1)
    max_form_files: int = setting(1000, "most files, and most fields, in one form", least=1)
    max_bundle_entries: int = setting(100_000, "most entries of a bundle, all the way down", least=1, most=1_000_000)
    max_bulk_request_length: int = setting(1000, "most objects in one bulk request", least=1, most=100_000)
    upload_idle_seconds: int = setting(60, "how long an upload may send nothing before it is given up", least=1)
    upload_lifetime_seconds: int = setting(86_400, "how long an upload may wait to go on or to be registered", least=60)
    finish_at_once_bytes: int = setting(
        64 * MIB, "how much of an upload is read again while its sender waits; what is longer, a worker reads", least=0
    )
    owner_quota_bytes: int | None = setting(
        None, "bytes that one owner may hold, in objects and in unfinished uploads; default no limit", least=1
    )
    space_quota_bytes: int | None = setting(
        None, "bytes that all owners together may hold in one space; default no limit", least=1
    )
    max_unfinished_uploads: int = setting(20_000, "most unfinished uploads of one owner", least=1)
    max_uploads_at_once: int = setting(2_000, "most uploads that one web process receives at the same time", least=1)
    upload_requests_per_minute: int | None = setting(
        None, "most upload requests of one owner that one web process takes in a minute; default no limit", least=1
    )
    upload_bytes_per_second: int | None = setting(
        None, "how fast one web process receives the uploads of one owner; default no limit", least=65_536
    )
    shutdown_grace_seconds: int = setting(300, "how long a stopping service waits for requests in flight", least=0)
    sweep_grace_seconds: int = setting(86_400, "how old bytes without a row must be to be swept", least=60)

    # Remote workspaces
    session_max_seconds: int = setting(604_800, "longest life that a session may ask for; it gets a day", least=1)
    session_idle_seconds: int = setting(
        3600, "how long nothing may move in a session, nor work be under way, before it ends; unless it asks", least=1
    )
    session_join_seconds: int = setting(3600, "how long a new session waits for its agent", least=1)
    session_lost_seconds: int = setting(3600, "how long the agent of a session may be away before it ends", least=1)
    max_sessions: int = setting(1000, "most sessions of one owner that have not ended", least=1)
    session_grace_seconds: int = setting(
        10, "how long a request waits for an agent that has lost its connection to come back", least=0
    )
    session_answer_seconds: int = setting(300, "how long an app may take to begin an answer", least=1)
    session_silence_seconds: int = setting(
        3600, "how long nothing may move in one request to an app, or in one of its websockets", least=1
    )
    session_max_body_bytes: int | None = setting(None, "largest body of a request to an app; default no limit", least=1)

    # How web processes reach each other, for sessions whose agent another one has
    node_host: str = setting("127.0.0.1", "address on which a web process listens for others")
    node_port: int = setting(0, "and its port; 0 takes a free one, as several processes of a machine must", most=65535)
    node_address: str | None = setting(None, "how others call that, as host:port; default is what it listens on")

    # What is published of bytes
    checksums: tuple[str, ...] = setting((), "algorithms, besides sha-256, that workers apply to every file; e.g. md5")

    # Bytes that are kept elsewhere
    verify_external: bool = setting(
        False,
        "true: fetch what is registered elsewhere under https or http URLs, and hold it to its size and checksums; "
        "s3, gs and other URLs need credentials and stay unverified",
    )
    verify_external_hosts: tuple[str, ...] = setting(
        (), "private addresses or networks (10.1.2.3, 10.0.0.0/8) that may be asked for such bytes; none by default"
    )

    # Watching over the bytes
    verify_days: int = setting(
        30, "how often, in days, workers read every copy to see that it is right; 0: never", least=0
    )
    verify_bytes_per_second: int = setting(
        50_000_000, "how fast one worker reads copies to see that they are right", least=65_536
    )
    alert_webhook: Secret | None = setting(None, "http(s) URL that gets a POST with JSON when copies are damaged")

    # Resources of one web process
    database_pool_size: int = setting(10, "connections to the database", least=2, most=1000)
    database_statement_cache: int = setting(100, "prepared statements a connection; 0 behind pgbouncer", least=0)
    object_cache_size: int = setting(16_384, "objects kept in memory", least=0)

    # What service-info says
    service_id: str = setting("local.drs-service", "in reverse domain name form")
    service_name: str = setting("DRS service", "for people")
    organization_name: str = setting("Unnamed organization", "who runs it")
    organization_url: str = setting("https://example.org", "where that organization is found")

    # Who knows where the objects of compact identifiers are
    identifiers_org_url: str = setting("https://registry.api.identifiers.org", "the registry API of identifiers.org")
    n2t_url: str = setting("https://n2t.net", "n2t.net")
    resolver_timeout_seconds: int = setting(10, "how long each of them may take to answer", least=1)

    # `put`, `get` and `sessions`
    url: str | None = setting(None, "the service that `drs-service put` and `sessions` talk to")
    session_secret: Secret | None = setting(
        None, "of the session that `drs-service sessions show` and `stop` are about"
    )
    join_token: Secret | None = setting(None, "of the session whose agent `drs-service agent` is")
    xdg_state_home: Path | None = setting(
        None, "where `put`, `get` and `agent` remember what is under way; default ~/.local/state"
    )

    log_level: str = setting("info", "debug, info, warning or error")

    @classmethod
    def from_env(cls, env: Mapping[str, str], **overrides: object) -> Self:
        """Read env; overrides that are not None win. SettingsInvalid names every fault."""
        values: dict[str, object] = {}
        faults: list[str] = []
        for one in fields(cls):
            try:
                text = said(one, env)
                if overrides.get(one.name) is not None:
                    values[one.name] = checked(one.metadata, overrides[one.name])
                elif text:
                    values[one.name] = checked(one.metadata, parse(one.type, text))
            except ValueError as error:
                faults.append(f"{variable(one.name)}: {error}")
        if not faults:
            settings = cls(**values)  # type: ignore[arg-type]  # each was parsed by its field's own type
            faults = settings.faults()
        if faults:
            raise SettingsInvalid("The settings are not usable:\n  " + "\n  ".join(faults))
        return settings

    def faults(self) -> list[str]:
        """What is wrong with settings that are each well formed."""
        found = []
        if self.public_url is not None and not usable_url(self.public_url):
            found.append("PUBLIC_URL: must be http(s)://host.name[:port][/path], in ASCII and no more than that")
        if self.drs_1_2_prefix is not None and not re.fullmatch(r"/[A-Za-z0-9][A-Za-z0-9._~-]*", self.drs_1_2_prefix):
            found.append("DRS_1_2_PREFIX: must be a slash and a name of A-Z a-z 0-9 . _ ~ -, such as /1.2")
        for name in ("identifiers_org_url", "n2t_url"):
            if not is_http_url(getattr(self, name)):
                found.append(f"{variable(name)}: must be an http(s) URL")
        for origin in self.cors_origins:
            if origin != ANY_ORIGIN and not is_origin(origin):
                found.append(
                    f"DRS_CORS_ORIGINS: {origin!r} is not as browsers say it: scheme://host[:port] in lower case, "
                    "in ASCII, without a path, a final slash, or the scheme's own port"
                )
        for protocol in self.fsspec_protocols:
            try:
                check_protocol(protocol)
            except ValueError as error:
                found.append(f"DRS_FSSPEC_PROTOCOLS: {error}")
        if self.is_foreign:
            try:
                _ = self.primary
            except ValueError as error:
                found.append(f"DRS_STORAGE_URL: {error}")
        elif self.storage_url is not None and not re.match(
            r"(file:///|memory:|(s3|gs|az|abfs)://[A-Za-z0-9][A-Za-z0-9._-]+(/[ -~]*)?$)", self.storage_url
        ):
            found.append(
                "DRS_STORAGE_URL: must be file:///absolute/path, s3://bucket/prefix, gs://bucket/prefix, "
                "az://container/prefix, memory:, or of one of DRS_FSSPEC_PROTOCOLS"
            )
        for name in ("s3_endpoint_url", "azure_endpoint_url", "gcs_endpoint_url"):
            if (url := getattr(self, name)) is not None and not is_http_url(url):
                found.append(f"{variable(name)}: must be an http(s) URL")
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            found.append("DRS_S3_ACCESS_KEY_ID: goes with DRS_S3_SECRET_ACCESS_KEY; set both or neither")
        if self.azure_connection_string is not None and (self.azure_account or self.azure_account_key):
            found.append("DRS_AZURE_CONNECTION_STRING: says the account and its key; set it or them")
        if re.match("(az|abfs):", self.storage_url or "") and not (self.azure_account or self.azure_connection_string):
            found.append("DRS_STORAGE_URL: az:// needs DRS_AZURE_CONNECTION_STRING or DRS_AZURE_ACCOUNT")
        if self.azure_account_key is not None and self.azure_account is None:
            found.append("DRS_AZURE_ACCOUNT_KEY: goes with DRS_AZURE_ACCOUNT")
        if (self.storage_url or "").startswith("memory:") and self.processes > 1:
            found.append("DRS_STORAGE_URL: memory: is one process's own; DRS_PROCESSES must be 1")
        found += self._faults_of_places()
        for algorithm in self.checksums:
            if algorithm not in COMPUTABLE:
                found.append(f"DRS_CHECKSUMS: {algorithm!r} is not one of {', '.join(sorted(COMPUTABLE))}")
        for host in self.verify_external_hosts:
            try:
                network(host)
            except ValueError as error:
                found.append(f"DRS_VERIFY_EXTERNAL_HOSTS: must be addresses or networks, not names: {error}")
        if self.url is not None and not is_http_url(self.url):
            found.append("DRS_URL: must be an http(s) URL")
        if self.alert_webhook is not None and not is_http_url(self.alert_webhook.reveal()):
            found.append("DRS_ALERT_WEBHOOK: must be an http(s) URL")
        if self.thaw_tier not in set(Tier):
            found.append("DRS_THAW_TIER: must be expedited, standard or bulk")
        if self.log_level not in {"debug", "info", "warning", "error"}:
            found.append("DRS_LOG_LEVEL: must be debug, info, warning or error")
        return found

    def _faults_of_places(self) -> list[str]:
        found = []
        names = {self.storage_name}
        try:
            check_name(self.storage_name)
        except ValueError as error:
            found.append(f"DRS_STORAGE_NAME: {error}")
        try:
            others = self.other_places
        except ValueError as error:
            found.append(f"DRS_PLACES: {error}")
            return found
        names |= {one.name for one in others}
        try:
            secrets = parse_secrets(self.place_secrets.reveal()) if self.place_secrets is not None else {}
        except ValueError as error:
            found.append(f"DRS_PLACE_SECRETS: {error}")
            return found
        for name in secrets.keys() - names:
            found.append(f"DRS_PLACE_SECRETS: there is no place {name!r}")
        for one in others:
            if not one.foreign and ("access_key_id" in one.options) != (one.name in secrets):
                found.append(
                    f"DRS_PLACE_SECRETS: {one.name} has an access_key_id or a secret; it needs both or neither"
                )
            if not one.foreign and not is_http_url(one.options.get("endpoint_url", "http://default")):
                found.append(f"DRS_PLACES: {one.name}: endpoint_url must be an http(s) URL")
            if one.url.startswith("memory:") and self.processes > 1:
                found.append("DRS_PLACES: memory: is one process's own; DRS_PROCESSES must be 1")
        try:
            parse_shown(self.shown_places, self.place_urls)
        except ValueError as error:
            found.append(f"DRS_SHOWN_PLACES: {error}")
        for name in self.signed_places:
            try:
                check_bucket(name, self.place_urls)
            except ValueError as error:
                found.append(f"DRS_SIGNED_PLACES: {error}")
        external = {one.name for one in self.other_places if one.external}
        found += self._faults_of_external(external)
        try:
            for rule in parse_rules(self.replicas):
                if rule.place not in names - {self.storage_name}:
                    found.append(f"DRS_REPLICAS: {rule.place!r} is not one of DRS_PLACES")
                elif rule.place in external:
                    found.append(f"DRS_REPLICAS: {rule.place} is external: nothing is written there")
        except ValueError as error:
            found.append(f"DRS_REPLICAS: {error}")
        return found

    def _faults_of_external(self, external: Collection[str]) -> list[str]:
        # Also when the bytes are elsewhere: it may have the database.
        urls = self.place_urls | {"DRS_DATA_DIR": self.data_dir.absolute().as_uri()}
        if not self.storage_url:
            del urls[self.storage_name]  # it is below that
        said = self.other_places
        endpoints = {one.name: one.options.get("endpoint_url", self.s3_endpoint_url) for one in said}
        endpoints[self.storage_name] = self.s3_endpoint_url
        return [
            f"DRS_PLACES: {name} is external, and overlaps with {other}"
            for name in sorted(external)
            for other, url in urls.items()
            if other != name and endpoints.get(other, endpoints[name]) == endpoints[name] and overlap(urls[name], url)
        ]

    def to_env(self) -> dict[str, str]:
        """What from_env reads: how a process of ours hands its settings to another."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        env = {variable(name): written(value) for name, value in values.items() if value is not None}
        # Read already: that process may have the variable that names the file from us as well.
        return env | {f"{variable(one.name)}_FILE": "" for one in fields(self) if one.type == Secret | None}

    @property
    def place_urls(self) -> dict[str, str]:
        """Of all places, by name."""
        return {self.storage_name: self.storage_url or ""} | {one.name: one.url for one in self.other_places}

    @property
    def other_places(self) -> tuple[PlaceSaid, ...]:
        """All but the primary. ValueError."""
        return parse_places(self.places, primary=self.storage_name, protocols=self.fsspec_protocols)

    @property
    def is_foreign(self) -> bool:
        """Whether we have no driver of our own for the primary place."""
        return (self.storage_url or "").partition("://")[0] in self.fsspec_protocols

    @property
    def primary(self) -> PlaceSaid:
        """The primary place. ValueError."""
        if self.is_foreign:
            return parse_place(f"{self.storage_name}={self.storage_url}", self.fsspec_protocols)
        return PlaceSaid(name=self.storage_name, url=self.storage_url or "")

    @property
    def state_dir(self) -> Path:
        """Where `put` and `get` remember what is under way."""
        return (self.xdg_state_home or Path.home() / ".local" / "state") / "drs-service"

    def check_bind(self) -> None:
        """BindRefused unless the address is one that only this machine reaches."""
        if not is_loopback(self.host):
            raise BindRefused(
                f"The service does not listen on {self.host}: no identities are configured, so whoever reached it "
                "could read and write everything. Use 127.0.0.1, ::1 or localhost."
            )


def variable(name: str) -> str:
    """The environment variable of a field. Some go by names that every platform gives them, one says DRS already."""
    own = {"database_url", "public_url", "xdg_state_home", "drs_1_2_prefix"}
    return name.upper() if name in own else f"DRS_{name.upper()}"


def said(one: "Field[Any]", env: Mapping[str, str]) -> str:
    """What env says of a field; of a secret perhaps only the file that holds it. ValueError."""
    name = variable(one.name)
    path = env.get(f"{name}_FILE", "") if one.type == Secret | None else ""
    if not path:
        return env.get(name, "")
    if env.get(name):
        raise ValueError(f"{name}_FILE is set as well: which is it?")
    try:
        return Path(path).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}_FILE: {error}") from error


def parse(kind: object, text: str) -> object:
    if kind in (int, int | None):
        if not re.fullmatch(r"[+-]?\d{1,18}", text):
            raise ValueError(f"{text!r} is not a whole number")
        return int(text)
    if kind is bool:
        if text not in {"true", "false"}:
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    if kind in (Path, Path | None):
        return Path(text)
    if kind == Secret | None:
        return Secret(text)
    if kind == tuple[str, ...]:
        return tuple(re.findall(r"[^\s,]+", text))
    return text


def written(value: object) -> str:
    """What parse reads back."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(value) if isinstance(value, tuple) else str(value)


def checked(limits: Mapping[str, Any], value: object) -> object:
    if isinstance(value, int) and not limits.get("least", value) <= value <= limits.get("most", value):
        raise ValueError(f"{value} is not between {limits.get('least')} and {limits.get('most', 'any')}")
    return value


def usable_url(text: str) -> bool:
    """Whether a DRS URI can name the host: no IPv6 literal, whose colons would make it a compact identifier."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # ValueError for what is no port
    except ValueError:
        return False
    plain = parts.scheme in {"http", "https"} and not (parts.query or parts.fragment or "@" in parts.netloc)
    return plain and re.fullmatch(r"[A-Za-z0-9._-]+", parts.hostname or "") is not None and text.isprintable()


def is_http_url(text: str) -> bool:
    return re.fullmatch(r"https?://[!-~]+", text) is not None


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
