"""Reads each secret from where the settings say it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.config.errors import ConfigError, dotted
from reconciler.config.models import Settings
from reconciler.config.sources import Secret, UrlSecret
from reconciler.config.urls import has_user, secret_parts
from reconciler.config.values import without_newline
from reconciler.telemetry.redact import SHORTEST_SECRET

CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"

_SIGNING_PREFIX = "whsec_"


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """Secret values, ready to use. ``attribute_of`` names them; no ``repr`` shows them.

    ``unchecked`` has the dotted paths of credentials that only the unit can read; their values
    are then missing here.
    """

    store_url: str
    listener_authorization: tuple[str, ...] = ()
    admin_token: str | None = None
    assure_client_secret: str | None = None
    delivery_secret: tuple[str, ...] = ()
    delivery_headers: Mapping[str, str] = field(default_factory=dict)
    heartbeat_url: str | None = None
    assure_proxy: str | None = None
    delivery_proxy: str | None = None
    in_urls: tuple[str, ...] = ()
    """Passwords and queries of all URLs of the configuration, for ``all_values``."""
    unchecked: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    """Dotted paths of secrets that are easy to guess, and too short to be masked in a log."""
    credentials: Mapping[str, str] = field(default_factory=dict)
    """Systemd credentials by name, which stay the same until the next start."""

    def __repr__(self) -> str:
        return "Secrets([redacted])"

    def all_values(self) -> tuple[str, ...]:
        """Return every text that must not appear in a log, the longest first."""
        return tuple(sorted({text for text in self._values() if text}, key=len, reverse=True))

    def _values(self) -> Iterator[str]:
        yield from (
            self.assure_client_secret or "",
            self.admin_token or "",
            self.heartbeat_url or "",
        )
        # The path of a dead-man service's URL is its secret; a short part is a plain word.
        yield from (part for part in (self.heartbeat_url or "").split("/")[3:] if len(part) >= 16)
        for value in (
            *self.listener_authorization,
            *self.delivery_headers.values(),
            *self.delivery_secret,
        ):
            yield value
            yield _essence(value)
        yield from self.in_urls


def _essence(value: str) -> str:
    """Return a secret without what everybody knows of it: "Bearer", "Basic", "whsec_"."""
    return value.rsplit(maxsplit=1)[-1].removeprefix(_SIGNING_PREFIX) if value else value


def attribute_of(path: Sequence[str]) -> str:
    """Return the attribute of ``Secrets`` for a key: ``store_url`` for ``store.url``."""
    return "_".join(path)


def resolve_secrets(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    only_store: bool = False,
    unchecked_credentials: bool = False,
    held: Mapping[str, str] | None = None,
) -> Secrets:
    """Return the values of all secrets, or of the store's alone.

    With ``unchecked_credentials`` a systemd credential is passed over when this process has no
    credentials directory. ``held`` are the credentials that a running daemon has: they are not
    read again, and one that is neither held nor there is passed over too. Raises ``ConfigError``
    with all problems.
    """
    read = _Reader(environ, unchecked_credentials, held)
    store_url = read.one(("store", "url"), settings.store.url) or ""
    if only_store:
        read.finish()
        return Secrets(store_url, in_urls=secret_parts(store_url), unchecked=tuple(read.unchecked))
    assure, delivery, heartbeat = settings.assure, settings.delivery, settings.heartbeat
    client_secret = read.one(("assure", "client_secret"), assure.client_secret)
    for key, given in (("client_id", assure.client_id), ("client_secret", assure.client_secret)):
        if not given:
            read.problems.append(
                f"assure.{key}: is missing; write it in [assure], "
                f"or set RECONCILER_ASSURE__{key.upper()}"
            )
    assure_proxy = read.one(("assure", "proxy"), assure.proxy)
    delivery_proxy = read.one(("delivery", "proxy"), delivery.proxy) if delivery else None
    if delivery_proxy and delivery and has_user(delivery_proxy):
        for name in delivery.headers:
            if name.lower() == "proxy-authorization":
                read.problems.append(
                    f"delivery.headers.{name}: delivery.proxy has a user; only one can be sent"
                )
    urls = (store_url, assure_proxy, delivery_proxy, assure.token_url, delivery and delivery.url)
    secrets = Secrets(
        store_url=store_url,
        listener_authorization=read.many(
            ("listener", "authorization"), settings.listener.authorization
        ),
        admin_token=read.one(("admin", "token"), settings.admin.token),
        assure_client_secret=client_secret,
        delivery_secret=read.many(("delivery", "secret"), delivery.secret) if delivery else (),
        delivery_headers=read.table(("delivery", "headers"), delivery.headers) if delivery else {},
        heartbeat_url=read.one(("heartbeat", "url"), heartbeat.url) if heartbeat else None,
        assure_proxy=assure_proxy,
        delivery_proxy=delivery_proxy,
        in_urls=tuple(part for url in urls if url for part in secret_parts(url)),
        unchecked=tuple(read.unchecked),
        short=tuple(read.short),
        credentials=read.credentials,
    )
    read.finish()
    return secrets


class _Reader:
    """Reads secrets one by one and collects the problems."""

    def __init__(
        self,
        environ: Mapping[str, str],
        unchecked_credentials: bool,
        held: Mapping[str, str] | None,
    ) -> None:
        self.problems: list[str] = []
        self.unchecked: list[str] = []
        self.short: list[str] = []
        self.credentials: dict[str, str] = {}
        self._held = held
        self._environ = environ
        self._skip_credentials = unchecked_credentials and CREDENTIALS_DIRECTORY not in environ

    def one(self, path: Sequence[str | int], secret: Secret | None) -> str | None:
        """Return the value; None when there is none, or when it is a problem or unchecked."""
        if secret is None:
            return None
        if secret.kind == "credential" and self._is_out_of_reach(secret.text):
            self.unchecked.append(dotted(path))
            return None
        try:
            value = self._value(secret)
        except ValueError as error:
            self.problems.append(f"{dotted(path)}: {error}")
            return None
        if not isinstance(secret, UrlSecret) and len(_essence(value)) < SHORTEST_SECRET:
            self.short.append(dotted(path))
        return value or None

    def many(self, path: tuple[str, ...], secrets: Sequence[Secret]) -> tuple[str, ...]:
        """Return the values of a list."""
        alone = len(secrets) == 1  # then the file may hold it without a list
        values = [
            self.one(path if alone else (*path, place), secret)
            for place, secret in enumerate(secrets)
        ]
        return tuple(value for value in values if value is not None)

    def table(self, path: tuple[str, ...], secrets: Mapping[str, Secret]) -> dict[str, str]:
        """Return the values of a table."""
        values = {name: self.one((*path, name), secret) for name, secret in secrets.items()}
        return {name: value for name, value in values.items() if value is not None}

    def finish(self) -> None:
        """Raise all problems that were found."""
        if self.problems:
            raise ConfigError(self.problems)

    def _value(self, secret: Secret) -> str:
        match secret.kind:
            case "env":
                source, text = f"environment variable {secret.text}", self._variable(secret.text)
            case "file":
                source = f"file {secret.text!r}"
                text = self._file(source, Path(secret.text))
            case "credential":
                source = f"credential {secret.text!r}"
                text = (self._held or {}).get(secret.text) or self._file(
                    source, self._credential(secret.text)
                )
                self.credentials[secret.text] = text
            case "value":
                return secret.text
        if not text:
            raise ValueError(f"{source} is empty")
        try:
            return secret.taken(text)
        except ValueError as error:
            raise ValueError(f"{source} {error}") from None

    def _is_out_of_reach(self, name: str) -> bool:
        if self._held is None:
            return self._skip_credentials
        directory = self._environ.get(CREDENTIALS_DIRECTORY)
        return name not in self._held and not (directory and Path(directory, name).exists())

    def _variable(self, name: str) -> str:
        if name not in self._environ:
            raise ValueError(f"environment variable {name} is not set")
        return without_newline(self._environ[name])

    def _credential(self, name: str) -> Path:
        directory = self._environ.get(CREDENTIALS_DIRECTORY)
        if not directory:
            raise ValueError(
                f"credential {name!r} is only there in a systemd unit: ${CREDENTIALS_DIRECTORY} "
                f"is set by LoadCredential={name}:PATH"
            )
        return Path(directory, name)

    @staticmethod
    def _file(source: str, path: Path) -> str:
        """Return the text of ``path`` without one newline at its end, as editors add it."""
        try:
            text = path.read_bytes().decode()
        except OSError as error:
            raise ValueError(f"{source} cannot be read: {error.strerror}") from None
        except ValueError:
            raise ValueError(f"{source} is not UTF-8 text") from None
        return without_newline(text)
