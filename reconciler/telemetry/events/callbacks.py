"""Callbacks and the connections that they come by."""

from typing import Final

from reconciler.telemetry.events import BUG, PROCESS, Event

# fmt: off
CALLBACKS: Final[tuple[Event, ...]] = (
    Event("callbacks_unauthenticated", "warning", (),
          "Neither `listener.authorization` nor `listener.allow_from` is set: anybody who "
          "reaches the listener can claim a status. Claims are still confirmed by Get process, "
          "and nothing unknown is adopted.",
          "Set `listener.authorization` to what your application passes as "
          "`authorizationHeader`."),
    Event("callback_received", "info", (*PROCESS, "status", "receipt_id"),
          "A callback is durable and was answered 200. Its `status` is a claim, until "
          "`process_settled`.",
          "Nothing."),
    Event("callbacks_committed", "debug", ("count", "seconds"),
          "`count` callbacks were committed to the store together, in `seconds`.",
          "Nothing."),
    Event("callback_acknowledged", "debug", ("seconds",),
          "A callback was answered 200, `seconds` after its last byte.",
          "Nothing."),
    Event("callback_spooled", "info", (*PROCESS, "status", "receipt_id"),
          "The store did not take a callback in time. It is durable in the spool and was answered "
          "200.",
          "See `store_unavailable`."),
    Event("callback_not_durable", "error", ("count", "error"),
          "Neither the store nor the spool took these callbacks. They were answered 503, and "
          "Assure does not send them again. The sweep finds their processes.",
          "Act now: most likely the disk is full or gone; `error` says which (`ENOSPC`)."),
    Event("callback_not_applied", "error", ("process_id", "receipt_id", "error"),
          "A callback is stored but could not be applied to its process. It is tried again at the "
          "next sweep and at the next start.",
          "If it repeats for the same `receipt_id`, keep this line for a bug report."),
    Event("request_failed", "error", ("path", *BUG),
          "A bug while a request was answered, by the listener or the admin API. It got 500.",
          "Keep this line for a bug report. If it was a callback, the sweep finds its process."),
    Event("callback_rejected", "warning",
          ("reason", "http_status", "detail", "path", "remote", "total"),
          "A request to the listener was refused, and nothing of it was kept. When there are many, "
          "`total` counts those that are not logged. `path` is without its query.",
          "`authorization_wrong`: the secret here and the `authorizationHeader` of your "
          "application differ; `authorization_missing`: it passes none. Callbacks are being lost, "
          "so fix it now. 400 and 404: a wrong `notificationUrl`, or a stranger. "
          "`proxy_protocol`: see [proxy.md](proxy.md)."),
    Event("tls_handshake_failed", "info", ("reason", "remote", "total"),
          "A client began to connect, and TLS could not be agreed on. `total` counts those with "
          "this `reason` that are not logged too.",
          "If callbacks stay away: `unknown_ca`, `certificate_unknown`, `bad_certificate` and "
          "`certificate_expired` say that the client does not trust `listener.tls`: is the chain "
          "whole? `http_request`: plain HTTP to a port with TLS. The rest is mostly strangers."),
    Event("callback_applied", "debug", (*PROCESS, "status"),
          "A stored callback was applied to its process.",
          "Nothing."),
    Event("callback_unmatched", "warning", (*PROCESS, "status"),
          "A callback for a process that nobody has registered was kept. It is applied when the "
          "registration comes.",
          "Find out why your application does not register its processes, or does so late."),
    Event("callback_mismatch", "warning", (*PROCESS, "status"),
          "A callback names a known process under another dossier. It is kept and never applied.",
          "A mix-up in your application or a forged callback: compare the dossiers "
          "(`reconciler show`)."),
    Event("callback_poisoned", "error", ("receipt_id", "error"),
          "The store takes other callbacks but not this one. It is set aside.",
          "Keep this line for a bug report. The process is found by the sweep all the same."),
    Event("callback_path_suspect", "warning", ("settled_by_fetch",),
          "`settled_by_fetch` processes in a row were settled by our own Get process, and no "
          "callback came in between: the way to the listener may be broken. Statuses still come, "
          "late.",
          "Check the whitelisting of the `notificationUrl`, the load balancer, TLS and the "
          "firewall."),
    Event("connections_full", "warning", ("open", "error"),
          "As many connections are open as may be (or, with `error`, as the system allows), and "
          "none is idle. Further ones wait in the kernel until one ends; `/ready` says so.",
          "Is somebody holding connections open? Limit it at the load balancer. With `error`: "
          "raise LimitNOFILE."),
    Event("connection_failed", "debug", ("error",),
          "A client hung up at once, or its TLS handshake failed.",
          "Nothing. If callbacks stay away: does Assure trust the certificate?"),
    Event("connection_timeout", "debug", (),
          "A client opened a connection and sent no whole request in time. It was closed.",
          "Nothing."),
)
