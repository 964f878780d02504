"""Reads the configuration: a TOML file, overrides from the environment, and the secrets.

``find_config`` and ``load`` return the ``Settings`` or raise a ``ConfigError`` with every problem;
``resolve_secrets`` then reads the secrets. ``config/reconciler.toml`` documents each key.

The reasons: docs/decisions/025.
"""

from reconciler.config.addresses import ListenAddress, Network
from reconciler.config.changes import Change, Configuration, compare
from reconciler.config.dump import effective, to_toml
from reconciler.config.errors import ConfigError
from reconciler.config.in_force import AccessRules, InForce, in_force, rules
from reconciler.config.load import find_config, load
from reconciler.config.models import Settings
from reconciler.config.secrets import Secrets, resolve_secrets
from reconciler.config.sources import Secret
from reconciler.config.urls import redacted
from reconciler.config.values import format_duration, parse_duration

__all__ = [
    "AccessRules",
    "Change",
    "ConfigError",
    "Configuration",
    "InForce",
    "ListenAddress",
    "Network",
    "Secret",
    "Secrets",
    "Settings",
    "compare",
    "effective",
    "find_config",
    "format_duration",
    "in_force",
    "load",
    "parse_duration",
    "redacted",
    "resolve_secrets",
    "rules",
    "to_toml",
]
