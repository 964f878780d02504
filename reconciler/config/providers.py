"""Completes ``[reconcile.providers.NAME]``: folds the names, inherits keys of ``[reconcile]``.

This is done to the raw file before it is validated, so that each provider is checked with the
values it will have.
"""

from typing import Any

from reconciler.config.errors import dotted
from reconciler.config.models import BackoffKeys, PolicyKeys
from reconciler.config.schema import KeyPath


def _tables(raw: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    general = raw.get("reconcile")
    providers = general.get("providers") if isinstance(general, dict) else None
    if not isinstance(general, dict) or not isinstance(providers, dict):
        return {}, {}
    return general, providers


def fold_names(raw: dict[str, Any]) -> list[str]:
    """Write the providers' names in lower case; return a problem for each two that become one."""
    _, providers = _tables(raw)
    problems = []
    for name in list(providers):
        folded, table = name.lower(), providers.pop(name)
        if folded in providers:
            path = dotted(("reconcile", "providers", name))
            problems.append(f"{path}: is there twice; capital letters make no other provider")
        providers[folded] = table
    return problems


def inherit(raw: dict[str, Any]) -> frozenset[KeyPath]:
    """Give each provider the keys it lacks; return the paths of those."""
    general, providers = _tables(raw)
    inherited: set[KeyPath] = set()
    for name, own in providers.items():
        if isinstance(own, dict):
            at = ("reconcile", "providers", name)
            inherited |= _fill(own, general, [*PolicyKeys.model_fields], at)
            if isinstance(own.get("backoff"), dict) and isinstance(general.get("backoff"), dict):
                own["backoff"] = dict(own["backoff"])  # it may be the general one itself
                members = [*BackoffKeys.model_fields]
                inherited |= _fill(own["backoff"], general["backoff"], members, (*at, "backoff"))
    return frozenset(inherited)


def _fill(
    own: dict[str, Any], general: dict[str, Any], keys: list[str], at: KeyPath
) -> set[KeyPath]:
    lacking = [key for key in keys if key in general and key not in own]
    own.update((key, general[key]) for key in lacking)
    return {(*at, key) for key in lacking}
