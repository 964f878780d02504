"""A wrong configuration is refused with the key, its value and what is allowed."""

from collections.abc import Callable

import pytest

Problems = Callable[..., list[str]]

DURATION = 'write one such as "30s", "15m", "1h30m" or "7d"'
FORMS = '{ env = "NAME" }, { file = "PATH" } or { credential = "NAME" }'
STORES = (
    'write "sqlite:///relative/path.db", "sqlite:////absolute/path.db" '
    'or "postgresql://host/database"'
)
LISTEN = 'write "127.0.0.1:9180", "[::1]:9180", "unix:/run/reconciler/admin.sock", or "" for none'
URL = 'is not a URL; write "https://" or "http://", a host, and what follows'
ASCII = "must be printable ASCII"
CONTROL = "has a line break or another control character in it"
BLANK = "has a blank before or after it, which is read as a part of it"
NEWLINE = "has a newline before or after it, which is read as a part of it"
QUOTES = "has quotes around it, which are read as a part of it; leave them out"
MARK = "has a byte order mark in it; save it without one"
HOST = 'is not a host; write one such as "127.0.0.1", "0.0.0.0" or "::1"'

WRONG = {
    "reconcile": {
        'callback_timeout = "15 parrots"': (
            f"callback_timeout: '15 parrots' is not a duration; {DURATION}"
        ),
        "callback_timeout = 900": f"callback_timeout: 900 is a number without a unit; {DURATION}",
        "callback_timeout = 1.5": f"callback_timeout: 1.5 is a number without a unit; {DURATION}",
        "callback_timeout = true": f"callback_timeout: true is not a duration; {DURATION}",
        'callback_timeout = "0s"': "callback_timeout: '0s' is too short; allowed is 1ms to 365d",
        'callback_timeout = "366d"': "callback_timeout: '366d' is too long; allowed is 1ms to 365d",
        'notify_grace = "8d"': "notify_grace: '8d' is too long; allowed is 0s to 7d",
        'give_up_after = "0s"': "give_up_after: '0s' is too short; allowed is 1ms to 3650d",
        'sweep_interval = "0s"': "sweep_interval: '0s' is too short; allowed is 10ms to 1h",
        "ladder = []": "ladder: must not be empty",
        'ladder = ["notify", "notfy"]': (
            "ladder[1]: 'notfy' is not allowed; write 'notify' or 'fetch'"
        ),
        'ladder = "notify"': "ladder: 'notify' is not a list",
        "ladder = [" + '"fetch", ' * 11 + "]": "ladder: has 11 members; at most 10 are allowed",
        'confirm_callbacks = "yes"': "confirm_callbacks: 'yes' is not true or false",
        'backoff = "5m"': "backoff: is not a table",
        "backoff = { factor = 0.9 }": "backoff.factor: 0.9 must be from 1 to 100",
        "backoff = { factor = nan }": "backoff.factor: nan must be from 1 to 100",
        "backoff = { jitter = 1.1 }": "backoff.jitter: 1.1 must be from 0 to 1",
        'backoff = { initial = "0s" }': "backoff.initial: '0s' is too short; allowed is 1ms to 30d",
        'backoff = { initial = "2h" }': (
            "backoff.max: '1h' is shorter than initial, which is \"2h\""
        ),
        "calback_timeout = 1": (
            "calback_timeout: unknown key; did you mean reconcile.callback_timeout?"
        ),
        "Callback_Timeout = 1": (
            "Callback_Timeout: unknown key; did you mean reconcile.callback_timeout?"
        ),
        "max_concurency = 1": "max_concurency: unknown key; did you mean assure.max_concurrency?",
        "backoff = { inital = 1 }": (
            "backoff.inital: unknown key; did you mean reconcile.backoff.initial?"
        ),
        "providers = 5": "providers: 5 is not a table",
        "providers.readid = 5": "providers.readid: is not a table",
        'providers.readid = { ladder = ["x"] }': (
            "providers.readid.ladder[0]: 'x' is not allowed; write 'notify' or 'fetch'"
        ),
        'providers.readid = { sweep_interval = "1ms" }': (
            "providers.readid.sweep_interval: '1ms' is too short; allowed is 10ms to 1h"
        ),
        'providers.readid = { backoff = { initial = "2h" } }': (
            "providers.readid.backoff.max: '1h' is shorter than initial, which is \"2h\""
        ),
        "providers = { ReadID = {}, readid = {} }": (
            "providers.ReadID: is there twice; capital letters make no other provider"
        ),
    },
    "listener": {
        'host = ""': f"host: '' {HOST}",
        'host = "[::1]"': f"host: '[::1]' {HOST}",
        'host = "127.0.0.1:80"': (
            "host: '127.0.0.1:80' is not a host; the port is a key of its own"
        ),
        "port = 65536": "port: 65536 must be from 0 to 65535",
        "port = -1": "port: -1 must be from 0 to 65535",
        'port = "8080"': "port: '8080' is not a whole number",
        "port = true": "port: true is not a whole number",
        "port = 8080.0": "port: 8080.0 is not a whole number",
        'path = "callbacks"': "path: 'callbacks' must start with \"/\"",
        'path = "/a?b"': "path: '/a?b' must be a plain path, such as \"/callbacks/assure\"",
        'authorization = "Bearer a"': "authorization: is not a list",
        'authorization = ["Bearer a", ""]': "authorization[1]: must not be empty",
        'authorization = ["a\\nb"]': f"authorization[0]: {CONTROL}",
        'authorization = ["Bearer a "]': f"authorization[0]: {BLANK}",
        'authorization = ["Bearer a\\n"]': f"authorization[0]: {NEWLINE}",
        "authorization = ['\"Bearer a\"']": f"authorization[0]: {QUOTES}",
        'authorization = ["\\uFEFFBearer a"]': f"authorization[0]: {MARK}",
        'authorization = ["Bearer ä"]': f"authorization[0]: {ASCII}",
        'authorization = ["Authorization: Bearer a"]': (
            "authorization[0]: begins with the name of the header; write its value alone"
        ),
        'authorization = ["authorization:Bearer a"]': (
            "authorization[0]: begins with the name of the header; write its value alone"
        ),
        'authorization = ["bearer"]': (
            "authorization[0]: is a scheme alone; what follows it in the header is missing"
        ),
        'authorization = ["Basic "]': f"authorization[0]: {BLANK}",
        "authorization = [5]": f"authorization[0]: is not a string, {FORMS}",
        'allow_from = ["10.0.0.1/8"]': (
            "allow_from[0]: '10.0.0.1/8' has bits beyond its prefix; write \"10.0.0.0/8\""
        ),
        'trusted_proxies = ["proxy"]': (
            "trusted_proxies[0]: 'proxy' is not a network; "
            'write one such as "10.0.0.0/8" or "2001:db8::/32"'
        ),
        "max_body = 1023": "max_body: 1023 must be from 1024 to 16777216 bytes",
        "max_body = 16777217": "max_body: 16777217 must be from 1024 to 16777216 bytes",
        'tls = { certificate = "c.pem" }': "tls.key: is missing",
        'tls = "cert.pem"': "tls: is not a table",
        'unknown_process = "drop"': (
            "unknown_process: 'drop' is not allowed; write 'adopt' or 'ignore'"
        ),
    },
    "admin": {
        'hosts = ["http://reconciler.internal"]': (
            "hosts[0]: 'http://reconciler.internal' is not a DNS name; write one such as "
            '"reconciler.internal", without port'
        ),
        'hosts = ["reconciler:9180"]': (
            "hosts[0]: 'reconciler:9180' is not a DNS name; write one such as "
            '"reconciler.internal", without port'
        ),
        'listen = "9180"': f"listen: '9180' has no port from 0 to 65535; {LISTEN}",
        'listen = "a:70000"': f"listen: 'a:70000' has no port from 0 to 65535; {LISTEN}",
        'listen = ":9180"': f"listen: ':9180' has no host; {LISTEN}",
        'listen = "::1:9180"': f"listen: '::1:9180' is an IPv6 address without brackets; {LISTEN}",
        'listen = "unix:a.sock"': f"listen: 'unix:a.sock' has no absolute path; {LISTEN}",
        "listen = 9180": f"listen: 9180 is not an address; {LISTEN}",
        'listen = "0.0.0.0:9180"': (
            "token: is missing; admin.listen (0.0.0.0:9180) can be reached from other machines"
        ),
        'token = ""': "token: must not be empty",
        'token = "Bearer abc"': (
            'token: has a blank in it; write the token alone, without "Bearer"'
        ),
        'token = { env = "" }': f"token: is not a string, {FORMS}",
        'token = { env = "A", file = "b" }': f"token: is not a string, {FORMS}",
        'token = { credential = "a/b" }': f"token: is not a string, {FORMS}",
    },
    "assure": {
        'base_url = "api.example"': f"base_url: 'api.example' {URL}",
        'base_url = "https://h:port"': f"base_url: 'https://h:port' {URL}",
        'base_url = "https://a b"': (
            "base_url: 'https://a b' has a space or a control character in it"
        ),
        'base_url = "http://api.example"': (
            "base_url: 'http://api.example' must begin with https://; "
            "http is for a loopback address only"
        ),
        'base_url = "https://h/x#y"': (
            "base_url: 'https://h/x#[redacted]' must not have a \"#\" in it"
        ),
        'base_url = "https://h/?x"': (
            "base_url: 'https://h/?[redacted]' must not have a \"?\" in it; "
            "paths are appended to it"
        ),
        'token_url = "https://u:p@h"': (
            "token_url: 'https://[redacted]@h' must hold no user and no password"
        ),
        "client_id = 5": "client_id: 5 is not a string",
        'client_id = "id\\n"': f"client_id: 'id\\n' {NEWLINE}",
        "client_id = '\"id\"'": f"client_id: '\"id\"' {QUOTES}",
        'client_id = " id"': f"client_id: ' id' {BLANK}",
        'client_secret = "secret\\n"': f"client_secret: {NEWLINE}",
        'client_secret = "secret "': f"client_secret: {BLANK}",
        "client_secret = \"'secret'\"": f"client_secret: {QUOTES}",
        'client_secret = "\\uFEFFsecret"': f"client_secret: {MARK}",
        'client_secret = "sec\\u200Bret"': f"client_secret: {CONTROL}",
        'scope = "signicat-api "': f"scope: 'signicat-api ' {BLANK}",
        'scope = ""': "scope: '' must not be empty",
        'process_path = "x"': "process_path: 'x' must start with \"/\"",
        'process_path = "/{dossierId}"': "process_path: '/{dossierId}' lacks {processId}",
        'notify_path = "/{dossierId}/{processId}/{x}"': (
            "notify_path: '/{dossierId}/{processId}/{x}' has {x}; "
            "known are {dossierId} and {processId}"
        ),
        'notify_path = "/{dossierId}/{processId}/{"': (
            "notify_path: '/{dossierId}/{processId}/{' must be a plain path, "
            'such as "/dossiers/{dossierId}/{processId}"'
        ),
        'notify_method = "PATCH"': (
            "notify_method: 'PATCH' is not allowed; write 'POST', 'PUT' or 'GET'"
        ),
        'timeout = "11m"': "timeout: '11m' is too long; allowed is 1ms to 10m",
        "max_concurrency = 0": "max_concurrency: 0 must be from 1 to 1000",
        "requests_per_second = 0": "requests_per_second: 0 must be above 0 and at most 10000",
        "requests_per_second = nan": "requests_per_second: nan must be above 0 and at most 10000",
        'requests_per_second = "20"': "requests_per_second: '20' is not a number",
        'proxy = "socks5://h:1"': f"proxy: 'socks5://…' {URL}",
        'proxy = "http://h:1/path"': (
            "proxy: 'http://…' must end after the port, such as \"http://proxy.example:3128\""
        ),
        "final_statuses = []": "final_statuses: must not be empty",
        'final_statuses = ["accepted", ""]': "final_statuses[1]: '' must not be empty",
        'final_statuses = ["accepted "]': (f"final_statuses[0]: 'accepted ' {BLANK}"),
        f'final_statuses = ["{"x" * 256}"]': (
            f"final_statuses[0]: '{'x' * 80}…' is longer than 255 characters"
        ),
        'pending_statuses = ["pending", "failed"]': (
            "pending_statuses: has 'failed' in it, which is in assure.final_statuses too"
        ),
        'final_statuses = ["accepted", "pending"]': (
            "pending_statuses: has 'pending' in it, which is in assure.final_statuses too"
        ),
    },
    "store": {
        'url = "mysql://h/d"': f"url: 'mysql://…' is no store; {STORES}",
        'url = "var/x.db"': f"url: is no store; {STORES}",
        'url = "sqlite://x.db"': f"url: 'sqlite://…' has two slashes; {STORES}",
        'url = "sqlite://"': (
            f"url: 'sqlite://…' is a database in memory, which loses everything; {STORES}"
        ),
        'url = "sqlite:///:memory:"': (
            f"url: 'sqlite://…' is a database in memory, which loses everything; {STORES}"
        ),
        'url = "sqlite:///x.db?mode=ro"': (
            f"url: 'sqlite://…' is not the path of a file; {STORES}"
        ),
        'url = "postgresql://u:p#w@h/d"': (
            "url: 'postgresql://…' must not have a \"#\" in it; in a password write it as %23"
        ),
        'spool = ""': "spool: '' must not be empty",
    },
    "delivery": {
        'url = "ftp://h"': f"url: 'ftp://h' {URL}",
        'url = "https://u:p@h/x?y#z"': (
            "url: 'https://[redacted]@h/x?[redacted]' must not have a \"#\" in it"
        ),
        'secret = "abc"': 'secret: is not a signing secret; write "whsec_" and the key in base64',
        'secret = ["whsec_YWJj", "whsec_?"]': (
            'secret[1]: is not a signing secret; write "whsec_" and the key in base64'
        ),
        'headers = { "X Y" = "v" }': (
            'headers: has a name that no header can have; write Name = "value"'
        ),
        'headers = { X = "a\\r\\nB: c" }': f"headers.X: {CONTROL}",
        'headers = { X = "a " }': f"headers.X: {BLANK}",
        'headers = { X = "Authorization: a" }': (
            "headers.X: begins with the name of the header; write its value alone"
        ),
        'url = "https://u:p@h"\nheaders = { authorization = "Bearer abc" }': (
            "headers: has Authorization in it, and delivery.url has a user; only one can be sent"
        ),
        'url = "https://u@h"\nheaders = { Authorization = "Bearer abc" }': (
            "headers: has Authorization in it, and delivery.url has a user; only one can be sent"
        ),
        'backoff = { max = "1s" }': "backoff.max: '1s' is shorter than initial, which is \"5s\"",
        "max_concurrency = 1001": "max_concurrency: 1001 must be from 1 to 1000",
    },
    "heartbeat": {
        'url = "hc.example"': f"url: {URL}",
        'interval = "999ms"': "interval: '999ms' is too short; allowed is 1s to 1d",
    },
    "retention": {
        "settled = 2030-01-01": f"settled: 2030-01-01 is not a duration; {DURATION}",
        'callbacks = "0s"': "callbacks: '0s' is too short; allowed is 1ms to 3650d",
    },
    "log": {
        'level = "INFO"': (
            "level: 'INFO' is not allowed; write 'debug', 'info', 'warning' or 'error'"
        ),
        'format = "xml"': "format: 'xml' is not allowed; write 'auto', 'json' or 'console'",
    },
}
CASES = [
    pytest.param(f"[{section}]\n{text}", f"{section}.{line}", id=f"{section}: {text[:40]}")
    for section, cases in WRONG.items()
    for text, line in cases.items()
]


@pytest.mark.parametrize(("text", "line"), CASES)
def test_a_wrong_key_is_told_in_one_line(problems_of: Problems, text: str, line: str) -> None:
    assert problems_of(text) == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[listner]", "listner: unknown key; did you mean listener?"),
        ("port = 8080", "port: unknown key; did you mean listener.port?"),
        (
            "[zzz]",
            "zzz: unknown key; known here: listener, admin, assure, reconcile, store, "
            "delivery, heartbeat, retention, log",
        ),
        ("[listener.tsl]", "listener.tsl: unknown key; did you mean listener.tls?"),
        ('"a\\nb" = 1', "'a\\nb': unknown key; known here: "),
        ('store = "x"', "store: is not a table"),
        (
            f"[listener]\nport = 0x{'f' * 5_000}",
            "listener.port: a number of very many digits must be from 0 to 65535",
        ),
        ("[[store]]", "store: a list is not a table"),
    ],
)
def test_a_wrong_table_is_told_in_one_line(problems_of: Problems, text: str, line: str) -> None:
    (problem,) = problems_of(text)
    assert problem.startswith(line)
    assert "\n" not in problem


def test_every_problem_is_told_at_once(problems_of: Problems) -> None:
    text = """
        [listener]
        port = "80"
        path = "x"
        [assure]
        base_url = "http://api.example"
        [reconcile]
        calback_timeout = "1s"
        notify_grace = 5
        [reconcile.providers.ReadID]
        [reconcile.providers.READID]
        """
    keys = [line.split(":")[0] for line in problems_of(text, {"RECONCILER_STORE__ULR": "x"})]
    assert sorted(keys) == [
        "assure.base_url",
        "listener.path",
        "listener.port",
        "reconcile.calback_timeout",
        "reconcile.notify_grace",
        "reconcile.providers.READID",
        "store.ulr (RECONCILER_STORE__ULR)",
    ]


def test_what_a_provider_inherits_is_told_once(problems_of: Problems) -> None:
    text = """
        [reconcile]
        notify_grace = 5
        backoff = { jitter = 2 }
        [reconcile.providers.readid]
        backoff = { initial = "1m" }
        """
    assert [line.split(":")[0] for line in problems_of(text)] == [
        "reconcile.notify_grace",
        "reconcile.backoff.jitter",
    ]
