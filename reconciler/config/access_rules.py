"""Builds the rules by which the public listener admits callers and their requests."""

from dataclasses import dataclass, field

from reconciler.config.addresses import Network
from reconciler.config.models import Settings
from reconciler.config.secrets import Secrets


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The rules of the public listener. A reload replaces them whole."""

    path: str
    authorization: tuple[bytes, ...] = field(repr=False)
    """Accepted values of the header; empty: none is checked."""
    allow_from: tuple[Network, ...]
    trusted_proxies: tuple[Network, ...]
    max_body: int
    """Bytes."""

    @property
    def is_open(self) -> bool:
        """Whether anybody who reaches the listener may call."""
        return not self.authorization and not self.allow_from


def access_rules(settings: Settings, secrets: Secrets) -> AccessRules:
    """Return the rules for ``settings`` and ``secrets``."""
    listener = settings.listener
    return AccessRules(
        path=listener.path,
        authorization=tuple(value.encode() for value in secrets.listener_authorization),
        allow_from=listener.allow_from,
        trusted_proxies=listener.trusted_proxies,
        max_body=listener.max_body,
    )
