"""Builds the configuration in force: one frozen value, made from the settings in one place.

Parts hold a ``Current[InForce]`` and read its value once when they begin something. A reload
replaces the value by one assignment, so nothing ever sees half of a change.
"""

from dataclasses import dataclass, field

from reconciler.config.access_rules import AccessRules, access_rules
from reconciler.config.models import Settings
from reconciler.config.rules import rules
from reconciler.config.secrets import Secrets
from reconciler.ledger import Rules

EXCHANGES = 4
"""Exchanges that one call about a process can take: token, call, new token, call."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The settings with what is derived from them. Durations are milliseconds."""

    settings: Settings
    secrets: Secrets = field(repr=False)
    rules: Rules
    """The rules by which the ledger decides."""
    access: AccessRules
    """The rules by which the public listener admits a caller."""

    @property
    def call_lease(self) -> int:
        """How long a process is leased for one call to Assure."""
        return EXCHANGES * self.settings.assure.timeout


def in_force(settings: Settings, secrets: Secrets) -> InForce:
    """Return the value that holds for ``settings`` and ``secrets``."""
    return InForce(settings, secrets, rules(settings), access_rules(settings, secrets))
