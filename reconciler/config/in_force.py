"""Builds the configuration in force: one frozen value, made from the settings in one place.

Parts hold a ``Current[InForce]`` and read its value once when they begin something. A reload
replaces the value by one assignment, so nothing ever sees half of a change.
"""

from dataclasses import dataclass, field

from reconciler.config.addresses import Network
from reconciler.config.models import PolicyKeys, Settings
from reconciler.config.secrets import Secrets
from reconciler.ledger.policy import Backoff, Policy, Rules

EXCHANGES = 4
"""Exchanges that one call about a process can take: token, call, new token, call."""


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The rules by which the public listener admits callers and their requests."""

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


@dataclass(frozen=True, slots=True)
class InForce:
    """The settings with what is derived from them. Durations are milliseconds."""

    settings: Settings
    secrets: Secrets = field(repr=False)
    rules: Rules
    """The rules by which the ledger decides."""
    access: AccessRules

    @property
    def call_lease(self) -> int:
        """How long a process is leased for one call to Assure."""
        return EXCHANGES * self.settings.assure.timeout


def in_force(settings: Settings, secrets: Secrets) -> InForce:
    """Return the value that holds for ``settings`` and ``secrets``."""
    return InForce(settings, secrets, rules(settings), _access(settings, secrets))


def rules(settings: Settings) -> Rules:
    """Return the ledger's rules.

    Callbacks of unknown processes are adopted only where an Authorization value or an address
    distinguishes Assure from other callers.
    """
    listener = settings.listener
    told_apart = bool(listener.authorization or listener.allow_from)
    return Rules(
        default=_policy(settings.reconcile),
        providers={name: _policy(keys) for name, keys in settings.reconcile.providers.items()},
        final_statuses=frozenset(settings.assure.final_statuses),
        pending_statuses=frozenset(settings.assure.pending_statuses),
        deliver=settings.delivery is not None,
        adopt_unknown=listener.unknown_process == "adopt" and told_apart,
    )


def _policy(keys: PolicyKeys) -> Policy:
    waits = keys.backoff
    return Policy(
        callback_timeout=keys.callback_timeout,
        ladder=keys.ladder,
        notify_grace=keys.notify_grace,
        confirm_callbacks=keys.confirm_callbacks,
        backoff=Backoff(waits.initial, waits.factor, waits.max, waits.jitter),
        give_up_after=keys.give_up_after,
    )


def _access(settings: Settings, secrets: Secrets) -> AccessRules:
    listener = settings.listener
    return AccessRules(
        path=listener.path,
        authorization=tuple(value.encode() for value in secrets.listener_authorization),
        allow_from=listener.allow_from,
        trusted_proxies=listener.trusted_proxies,
        max_body=listener.max_body,
    )
