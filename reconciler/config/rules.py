"""Builds the ledger's rules from the settings."""

from reconciler.config.models import PolicyKeys, Settings
from reconciler.ledger.policy import Backoff, Policy, Rules


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
