"""The deliberate breaks, each with the commands that must notice it.

An edit names text that stands in its file exactly once, so that a break cannot rot.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in one file of the project."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Break:
    """One deliberate bug. Every command of ``caught_by`` must fail with it, and pass without it."""

    name: str
    edits: tuple[Edit, ...]
    caught_by: tuple[str, ...]
    """The words after ``python``. Exit code 1 says that a test failed, or a promise was broken."""


def tests(*names: str) -> str:
    """Return the words that run these tests up to the first that fails."""
    return " ".join(("-m pytest -n0 -q -x -p no:cacheprovider", *names))


def crash(where: str, seed: int) -> str:
    """Return the words that kill one daemon, at a moment which this break does not survive."""
    return f"-m tests.torture --rounds 1 --seed {seed} {where}"


def simulation(seeds: int) -> str:
    """Return the words that simulate so many months, of which one must go wrong."""
    return f"-m tests.simulation --seeds {seeds}"


ALL = (
    Break(
        "acknowledge before commit",
        (
            Edit(
                "reconciler/inbound/group_commit.py",
                "            lost = await self._keep(",
                "            for _, durable, _ in group:\n"
                "                durable.done() or durable.set_result(None)\n"
                "            lost = await self._keep(",
            ),
        ),
        (crash("sqlite-power", 12), tests("tests/inbound/test_intake_store.py")),
    ),
    Break(
        "spool not fsynced",
        (
            Edit(
                "reconciler/inbound/spool.py",
                "                os.fsync(file.fd)\n",
                "",
            ),
        ),
        (crash("sqlite-power", 13),),
    ),
    Break(
        "spool's directory not fsynced",
        (
            Edit(
                "reconciler/inbound/spool.py",
                "            new.rename(path)\n            sync_directory(self.directory)\n",
                "            new.rename(path)\n",
            ),
        ),
        (crash("sqlite-power", 13),),
    ),
    Break(
        "acknowledge, and deliver, before the commit is durable",
        (
            Edit(
                "reconciler/store/sqlite/database.py",
                '"synchronous=FULL"',
                '"synchronous=NORMAL"',
            ),
        ),
        (crash("sqlite-power", 12),),
    ),
    Break(
        "a delivery is done before it is posted",
        (
            Edit(
                "reconciler/store/outbox.py",
                "        attempts=_D.attempts + 1,\n",
                "        attempts=_D.attempts + 1,\n"
                "        state=DeliveryState.DELIVERED.value,\n"
                "        next_attempt_at=None,\n"
                '        delivered_at=bindparam("until"),\n',
            ),
        ),
        (crash("sqlite", 10),),
    ),
    Break(
        "an applied callback is not marked",
        (
            Edit(
                "reconciler/store/inbox.py",
                'await connection.execute(_MARK, {"ids": sorted(ids), "result": result})',
                "pass",
            ),
        ),
        (crash("sqlite", 4),),
    ),
    Break(
        "no lease",
        (
            Edit(
                "reconciler/store/work_queue.py",
                '_FREE = or_(_C.lease_until.is_(None), _C.lease_until <= bindparam("now"))',
                "_FREE = _C.process_id.is_not(None)",
            ),
            Edit(
                "reconciler/ledger/next_call.py",
                "(process.lease and process.lease.until > now)",
                "False",
            ),
        ),
        (simulation(1),),
    ),
    Break(
        "a final status regresses",
        (
            Edit(
                "reconciler/ledger/call_results.py",
                "    if not process.state.is_open:\n"
                '        done = end_verification(process, "pending")\n',
                '    if False:\n        done = end_verification(process, "pending")\n',
            ),
        ),
        (tests("tests/ledger/test_ledger_verification.py"),),
    ),
    Break(
        "status compared by letter case",
        (
            Edit(
                "reconciler/ledger/policy.py",
                "return one == other or one.lower() == other.lower()",
                "return one == other",
            ),
        ),
        (tests("tests/ledger/test_ledger_words.py"),),
    ),
    Break(
        "no budget",
        (
            Edit(
                "reconciler/outbound/budget.py",
                "while (delay := self._delay()) > 0.0:",
                "while (delay := 0.0) > 0.0:",
            ),
            Edit(
                "reconciler/outbound/budget.py",
                "int(self._level), int(self._portion.burst), self._window_left()",
                "most",
            ),
            Edit(
                "reconciler/outbound/budget.py",
                "if len(self._left) >= self._portion.most:",
                "if not self._portion.most:",
            ),
        ),
        (tests("tests/outbound/test_budget.py"),),
    ),
)
