"""Defines the sections of the file, their keys and their defaults. Durations are milliseconds.

``config/reconciler.toml`` says the same to the operator; a test holds the two together.
"""

from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from reconciler.config import urls, values
from reconciler.config.addresses import Cidr, ListenAddress, Network, dns_name, hostname
from reconciler.config.sources import (
    CallbackAuthorization,
    HeaderSecret,
    PingUrl,
    ProxyUrl,
    Secret,
    SigningSecret,
    StoreUrl,
    TokenSecret,
)
from reconciler.config.urls import Url
from reconciler.config.values import (
    Duration,
    NeedsRestart,
    above_zero,
    between,
    format_duration,
)
from reconciler.ledger.policy import DAY, HOUR, MINUTE, SECOND, Verb

_LIST = Strict(strict=False)
"""TOML has lists where frozen models have tuples; what is in them stays strict."""

Text = Annotated[str, AfterValidator(values.filled)]
Statuses = Annotated[
    tuple[Annotated[str, AfterValidator(values.status)], ...],
    _LIST,
    AfterValidator(values.not_empty),
]
Backing = Annotated[int, Duration(1, 30 * DAY)]
Concurrency = Annotated[int, between(1, 1000)]
Timeout = Annotated[int, Duration(1, 10 * MINUTE)]
Keeping = Annotated[int, Duration(1, 3650 * DAY)]


class Section(BaseModel):
    """A table of the file: unknown keys are errors, and nothing is converted silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Tls(Section):
    """``[listener] tls``: both files in PEM."""

    certificate: Text
    """Path of the certificate with its chain. No default."""
    key: Text
    """Path of the private key. No default."""


class Listener(Section):
    """``[listener]``: the public listener, which Assure calls."""

    host: Annotated[str, AfterValidator(hostname), NeedsRestart()] = "127.0.0.1"
    """Address to accept on. Loopback, because TLS usually ends at a proxy on the same machine."""
    port: Annotated[int, between(0, 65535), NeedsRestart()] = 8080
    """TCP port. 0 is any free one, told in the ``ready`` event."""
    path: Annotated[str, AfterValidator(values.route)] = "/callbacks/assure"
    """The one path that takes callbacks: the path of the ``notificationUrl``."""
    authorization: Annotated[tuple[CallbackAuthorization, ...], _LIST] = ()
    """Accepted values of the Authorization header; several while rotating. Empty: none checked."""
    allow_from: Annotated[tuple[Annotated[Network, Cidr()], ...], _LIST] = ()
    """Networks that may call. Empty: any, because Assure's addresses are not published."""
    trusted_proxies: Annotated[tuple[Annotated[Network, Cidr()], ...], _LIST] = ()
    """Networks of proxies whose ``X-Forwarded-For`` is trusted. Empty: none."""
    max_body: Annotated[int, between(1024, 16 * 1024 * 1024, "bytes")] = 65536
    """Longest body in bytes. A callback has some 150; the rest is room for unknown members."""
    keepalive: Annotated[int, Duration(SECOND, HOUR)] = 75 * SECOND
    """How long an idle connection is kept, as each answer announces."""
    tls: Tls | None = None
    """Certificate and key, where no proxy terminates TLS. None: plain HTTP."""
    unknown_process: Literal["adopt", "ignore"] = "adopt"
    """Whether a callback for an unregistered process adopts it, or waits for a registration."""


class Admin(Section):
    """``[admin]``: API, metrics, health and status page, for the operator only."""

    listen: Annotated[ListenAddress, NeedsRestart()] = ListenAddress("127.0.0.1", 9180)
    """Host and port, or a Unix socket. Empty turns it off."""
    token: Annotated[TokenSecret | None, Field(validate_default=True)] = None
    """Bearer token. None: not required, which only a loopback or Unix address allows."""
    hosts: Annotated[tuple[Annotated[str, AfterValidator(dns_name)], ...], _LIST] = ()
    """DNS names under which it may be asked without a token, besides addresses and its own."""

    @field_validator("token")
    @classmethod
    def _needed_beyond_this_machine(
        cls, token: TokenSecret | None, info: ValidationInfo
    ) -> TokenSecret | None:
        listen = info.data.get("listen")
        if token is None and listen is not None and not listen.private:
            raise ValueError(
                f"is missing; admin.listen ({listen}) can be reached from other machines"
            )
        return token


class Assure(Section):
    """``[assure]``: the Assure API."""

    base_url: Annotated[Url, AfterValidator(urls.base_url)] = Url("https://api.signicat.com")
    """URL to which the paths are appended."""
    token_url: Annotated[Url, AfterValidator(urls.secure_url)] = Url(
        "https://api.signicat.com/auth/open/connect/token"
    )
    """OAuth 2.0 token endpoint, for the client credentials grant."""
    client_id: Annotated[str, AfterValidator(values.exact)] = ""
    """Id of the API client. Only the daemon needs it, so it is checked with the secrets."""
    client_secret: Secret | None = None
    """Secret of the API client."""
    scope: Text = "signicat-api"
    """Scope of the token; several with spaces between. Older environments have others."""
    process_path: Annotated[str, AfterValidator(values.call_path)] = (
        "/assure/dossiers/{dossierId}/processes/{processId}"
    )
    """Path of Get process."""
    notify_path: Annotated[str, AfterValidator(values.call_path)] = (
        "/assure/dossiers/{dossierId}/processes/{processId}/notify"
    )
    """Path of Notify. Assumed, so a setting."""
    notify_method: Literal["POST", "PUT", "GET"] = "POST"
    """Method of Notify. Assumed, so a setting."""
    timeout: Timeout = 10 * SECOND
    """Longest time for one call, connecting included. A lease is four times this."""
    max_concurrency: Concurrency = 16
    """Concurrent calls of one daemon."""
    requests_per_second: Annotated[float, above_zero(10_000)] = 20.0
    """Calls a second; the burst is a tenth of it, at least 1. Token requests are outside. Shared
    by all daemons on one store."""
    proxy: ProxyUrl = ProxyUrl("value", "")
    """Egress proxy. Empty: none; the environment's ``HTTPS_PROXY`` is not read."""
    ca_file: Annotated[str, AfterValidator(values.exact)] = ""
    """PEM file of a private certificate authority. Empty: the system's."""
    final_statuses: Statuses = (
        "accepted",
        "rejected",
        "inconclusive",
        "canceled",
        "failed",
        "not_matched",
    )
    """Statuses that end a process."""
    pending_statuses: Annotated[Statuses, Field(validate_default=True)] = ("pending", "processing")
    """Statuses of a process that has not ended."""

    @field_validator("pending_statuses")
    @classmethod
    def _not_final_as_well(cls, pending: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        final = {status.lower() for status in info.data.get("final_statuses", ())}
        both = sorted(status for status in pending if status.lower() in final)
        if both:
            raise ValueError(f"has {both[0]!r} in it, which is in assure.final_statuses too")
        return pending


class BackoffKeys(Section):
    """``backoff``: waits that grow from ``initial`` to ``max``."""

    initial: Backing = 5 * MINUTE
    """The first wait."""
    factor: Annotated[float, between(1, 100)] = 2.0
    """Factor from one wait to the next."""
    max: Backing = HOUR
    """The longest wait, before jitter."""
    jitter: Annotated[float, between(0, 1)] = 0.1
    """Largest fraction of a wait that is added to it, never subtracted."""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.max < self.initial:
            problem = PydanticCustomError(
                "order",
                'is shorter than initial, which is "{initial}"',
                {"initial": format_duration(self.initial)},
            )
            at = InitErrorDetails(type=problem, loc=("max",), input=format_duration(self.max))
            raise ValidationError.from_exception_data("BackoffKeys", [at])
        return self


class DeliveryBackoffKeys(BackoffKeys):
    """``[delivery] backoff``: shorter, because an application is rarely down for hours."""

    initial: Backing = 5 * SECOND
    """The first wait."""
    max: Backing = 6 * HOUR
    """The longest wait, before jitter."""


class PolicyKeys(Section):
    """The keys of ``[reconcile]`` that ``[reconcile.providers.NAME]`` may change."""

    callback_timeout: Annotated[int, Duration(1, 365 * DAY)] = 15 * MINUTE
    """Time after ``createdAt``, else registration, without a callback until overdue."""
    sweep_interval: Annotated[int, Duration(10, HOUR)] = 5 * SECOND
    """Longest time between two sweeps."""
    ladder: Annotated[
        tuple[Annotated[Verb, Strict(strict=False)], ...],
        _LIST,
        AfterValidator(values.not_empty),
        AfterValidator(values.at_most(10)),
    ] = (Verb.NOTIFY, Verb.FETCH)
    """Calls for an overdue process, in this order; one pass is a round."""
    notify_grace: Annotated[int, Duration(0, 7 * DAY)] = 2 * MINUTE
    """Time for the callback after a Notify. Zero: the next rung follows at once."""
    confirm_callbacks: bool = True
    """Whether Get process must confirm the status of a callback, which is not signed."""
    backoff: BackoffKeys = BackoffKeys()
    """Waits between rounds, and (a tenth of ``initial``) after a failed call."""
    give_up_after: Keeping = 14 * DAY
    """Time from registration until a process expires, at the earliest after one round."""


class Reconcile(PolicyKeys):
    """``[reconcile]``: when a callback is missing, and which calls follow."""

    providers: dict[str, PolicyKeys] = Field(default_factory=dict)
    """By provider name in lower case; keys that one does not set are filled in on load."""

    @property
    def shortest_sweep(self) -> int:
        """Interval of the sweep in ms: one sweep serves all providers, so the shortest."""
        return min(keys.sweep_interval for keys in (self, *self.providers.values()))


class Store(Section):
    """``[store]``: the ledger's database, and the spool for the time that it is down."""

    url: Annotated[StoreUrl, NeedsRestart()] = StoreUrl("value", "sqlite:///var/reconciler.db")
    """SQLite file or PostgreSQL database. A relative path starts at the working directory."""
    spool: Annotated[Text, NeedsRestart()] = "var/spool"
    """Directory where callbacks wait, fsynced, while the store cannot take them."""
    migrate_on_start: Annotated[bool, NeedsRestart()] = True
    """Whether the daemon brings the schema up to date. False: ``init-db`` does."""


class Delivery(Section):
    """``[delivery]``: sends results to your application."""

    url: Annotated[Url, AfterValidator(urls.http_url_or_none)] = Url("")
    """URL to which each result is posted. Empty: deliveries are off."""
    secret: Annotated[tuple[SigningSecret, ...], _LIST, BeforeValidator(values.one_or_more)] = ()
    """Standard Webhooks signing secrets; two while rotating. Empty: not signed."""
    headers: Annotated[dict[str, HeaderSecret], BeforeValidator(values.header_names)] = Field(
        default_factory=dict
    )
    """Static request headers."""
    timeout: Timeout = 15 * SECOND
    """Longest time for one delivery, connecting included."""
    max_concurrency: Concurrency = 8
    """Concurrent deliveries."""
    backoff: DeliveryBackoffKeys = DeliveryBackoffKeys()
    """Waits between attempts."""
    give_up_after: Keeping = 3 * DAY
    """Time until a delivery is dead; ``reconciler redeliver`` revives it."""
    proxy: ProxyUrl = ProxyUrl("value", "")
    """Egress proxy. Empty: none."""
    ca_file: Annotated[str, AfterValidator(values.exact)] = ""
    """PEM file of a private certificate authority. Empty: the system's."""

    @field_validator("headers")
    @classmethod
    def _one_authorization(
        cls, headers: dict[str, HeaderSecret], info: ValidationInfo
    ) -> dict[str, HeaderSecret]:
        url = info.data.get("url", "")
        if urls.has_user(url) and "authorization" in map(str.lower, headers):
            raise ValueError(
                "has Authorization in it, and delivery.url has a user; only one can be sent"
            )
        return headers


class Heartbeat(Section):
    """``[heartbeat]``: pings to a dead-man service, which notices their absence."""

    url: PingUrl = PingUrl("value", "")
    """URL that is fetched after a healthy summary. Empty: none."""
    interval: Annotated[int, Duration(SECOND, DAY)] = MINUTE
    """Shortest time between two pings, give or take a tenth. A summary is made every minute."""


class Retention(Section):
    """``[retention]``: how long finished rows are kept."""

    settled: Keeping = 90 * DAY
    """Time from the end of a process to its removal, with timeline and deliveries."""
    callbacks: Keeping = 90 * DAY
    """Time from the arrival of a callback to its removal from the inbox."""


class Log(Section):
    """``[log]``: the log on stdout."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is written."""
    format: Annotated[Literal["auto", "json", "console"], NeedsRestart()] = "auto"
    """``auto`` is console on a terminal and JSON otherwise."""


class Settings(Section):
    """The whole file. ``delivery`` and ``heartbeat`` are None when they have no ``url``."""

    listener: Listener = Listener()
    admin: Admin = Admin()
    assure: Assure = Assure()
    reconcile: Reconcile = Reconcile()
    store: Store = Store()
    delivery: Delivery | None = None
    heartbeat: Heartbeat | None = None
    retention: Retention = Retention()
    log: Log = Log()

    @field_validator("delivery")
    @classmethod
    def _delivery_is_off_without_url(cls, section: Delivery | None) -> Delivery | None:
        return section if section and section.url else None

    @field_validator("heartbeat")
    @classmethod
    def _heartbeat_is_off_without_url(cls, section: Heartbeat | None) -> Heartbeat | None:
        return section if section and section.url.text else None
