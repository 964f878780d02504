"""The plan of one run: drawn from its seed, before anything happens.

Times are seconds from the begin of the run.
"""

from dataclasses import dataclass, field
from random import Random

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0

FAULTS_END = 20 * DAY
"""From then on nothing fails any more: whatever was lost must be found."""

END = 36 * DAY
"""The end of a run; ``give_up_after`` is two weeks."""

FINAL = ("accepted", "rejected", "inconclusive", "canceled", "failed", "not_matched")

ASSURE_FAULTS = (
    *("refused", "reset", "hang", "cut", "garbage", "html", "not_json", "redirect"),
    *("401", "403", "404", "409", "429", "500", "503", "token_401", "token_500", "token_garbage"),
)
APPLICATION_FAULTS = ("refused", "reset", "hang", "404", "409", "429", "500", "503")


@dataclass(frozen=True, slots=True)
class Callback:
    """One callback that Assure sends, whether or not anybody hears it."""

    at: float
    status: str
    dossier: str


@dataclass(slots=True)
class Subject:
    """One process in the truth of Assure."""

    process_id: str
    dossier_id: str
    registered_at: float | None
    """None: nobody registers it."""
    words: list[tuple[float, str, bool]]
    """From when on Get process says which status, and whether with a ``finalResult``."""
    deleted_at: float | None
    callbacks: list[Callback]
    provider: str | None

    def word(self, at: float) -> tuple[str, bool]:
        """Return status and ``finalResult`` at a time."""
        return next((w, f) for since, w, f in reversed(self.words) if since <= at)

    @property
    def is_over_at(self) -> float | None:
        """When the status first was final."""
        return next((since for since, _, final in self.words if final), None)


@dataclass(frozen=True, slots=True)
class Window:
    """A fault that lasts."""

    begin: float
    end: float
    fault: str


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a daemon, and how long none runs then."""

    at: float
    steps: int
    """Steps of the loop after ``at`` until it crashes."""
    is_orderly: bool
    away: float


@dataclass(slots=True)
class Plan:
    """One run."""

    environ: dict[str, str]
    """The configuration of the daemon, as environment."""
    rate: float
    confirms: bool
    adopts: bool
    subjects: list[Subject]
    assure: list[Window] = field(default_factory=list)
    application: list[Window] = field(default_factory=list)
    disk: list[Window] = field(default_factory=list)
    jumps: list[tuple[float, int]] = field(default_factory=list)
    """When the wall clock is set, and by how many milliseconds."""
    endings: list[Ending] = field(default_factory=list)
    flakiness: float = 0.0
    """The share of calls and deliveries that fail by chance."""
    notify_is_deaf: float = 0.0
    """The share of Notify calls that are answered 2xx and send nothing."""


def plan_of(seed: int) -> Plan:
    """Draw a plan."""
    draw = Random(f"plan {seed}")
    confirms, adopts = draw.random() < 0.8, draw.random() < 0.8
    rate = draw.choice((0.5, 2.0, 20.0))
    ladder = draw.choice(('["notify","fetch"]', '["notify","fetch"]', '["fetch"]'))
    timeout = draw.choice(("1m", "15m", "15m", "6h"))
    plan = Plan(
        environ={
            "RECONCILER_ASSURE__REQUESTS_PER_SECOND": str(rate),
            "RECONCILER_RECONCILE__CALLBACK_TIMEOUT": timeout,
            "RECONCILER_RECONCILE__CONFIRM_CALLBACKS": str(confirms).lower(),
            "RECONCILER_RECONCILE__LADDER": ladder,
            "RECONCILER_RECONCILE__BACKOFF__MAX": draw.choice(("12h", "1d", "1d", "1d")),
            "RECONCILER_RECONCILE__BACKOFF__FACTOR": "4.0",
            "RECONCILER_RECONCILE__GIVE_UP_AFTER": draw.choice(("5d", "5d", "14d")),
            "RECONCILER_DELIVERY__BACKOFF__FACTOR": "4.0",
            "RECONCILER_LISTENER__UNKNOWN_PROCESS": "adopt" if adopts else "ignore",
        },
        rate=rate,
        confirms=confirms,
        adopts=adopts,
        subjects=[_subject(draw, seed, number, confirms=confirms) for number in range(_few(draw))],
        flakiness=draw.choice((0.0, 0.0, 0.1, 0.4)),
        notify_is_deaf=draw.choice((0.0, 0.2, 1.0)),
    )
    moments = _moments(plan.subjects)
    for windows, faults, longest in (
        (plan.assure, ASSURE_FAULTS, 4 * HOUR),
        (plan.application, APPLICATION_FAULTS, 12 * HOUR),
        (plan.disk, ("locked", "io", "full", "slow"), 5 * MINUTE),
    ):
        for _ in range(draw.choice((0, 0, 1, 2))):
            begin = max(0.0, draw.choice(moments) - draw.expovariate(1 / (10 * MINUTE)))
            is_long = draw.random() < 0.04
            length = draw.uniform(0.1, 1.0) * longest if is_long else draw.expovariate(1 / MINUTE)
            windows.append(Window(begin, begin + length, draw.choice(faults)))
    if draw.random() < 0.3:
        by = draw.choice((MINUTE, HOUR, DAY, 100 * DAY)) * draw.choice((-1, 1))
        plan.jumps.append((draw.choice(moments) + draw.uniform(-MINUTE, HOUR), round(by * 1000)))
    for at in sorted(draw.choices(moments, k=draw.choice((0, 0, 1, 1, 2, 4)))):
        plan.endings.append(
            Ending(
                at=at + draw.choice((0.0, 0.0, 1.0, MINUTE, 20 * MINUTE)) * draw.random(),
                steps=draw.randrange(150),
                is_orderly=draw.random() < 0.25,
                away=draw.choice((2.0, 2.0, MINUTE, 10 * MINUTE, 6 * HOUR)),
            )
        )
    return plan


def _few(draw: Random) -> int:
    return draw.choice((1, 1, 1, 2, 2, 4))


def _moments(subjects: list[Subject]) -> list[float]:
    """Return the times at which a fault is likely to hit something."""
    found = [callback.at for subject in subjects for callback in subject.callbacks]
    found += [subject.words[-1][0] for subject in subjects]
    found += [(subject.registered_at or 0.0) + 16 * MINUTE for subject in subjects]
    return [min(at, FAULTS_END - DAY) for at in found]


def _subject(draw: Random, seed: int, number: int, *, confirms: bool) -> Subject:
    process_id = f"p-{seed}-{number}"
    dossier = f"d-{seed}-{number}"
    begun = draw.uniform(0.0, 3 * DAY)
    takes = draw.expovariate(1 / draw.choice((2 * MINUTE, HOUR, DAY)))
    over = begun + min(takes, 4 * DAY)
    words: list[tuple[float, str, bool]] = [(0.0, draw.choice(("pending", "PENDING")), False)]
    if draw.random() < 0.4:
        words.append((over - takes / 2, draw.choice(("processing", "in_review")), False))
    final = _final(draw)
    if draw.random() < 0.08:
        over, final = FAULTS_END, ""  # the end user never finishes
    else:
        words.append((over, final, True))
    callbacks = _callbacks(draw, over, final, dossier, lies=confirms) if final else []
    if final and draw.random() < 0.15:
        later = over + draw.uniform(MINUTE, 5 * DAY)
        other = _final(draw, but=final)
        words.append((later, other, True))
        callbacks += _callbacks(draw, later, other, dossier, lies=confirms)
    registered = begun if draw.random() < 0.85 else draw.choice((None, over + MINUTE, over + DAY))
    return Subject(
        process_id=process_id,
        dossier_id=dossier,
        registered_at=registered,
        words=words,
        deleted_at=begun + draw.expovariate(1 / DAY) if draw.random() < 0.08 else None,
        callbacks=sorted(callbacks, key=lambda callback: callback.at),
        provider=draw.choice((None, "onfido")),
    )


def _final(draw: Random, but: str = "") -> str:
    """Return a final word, mostly spelled as it is in the list."""
    word = draw.choice([each for each in FINAL if each != but.lower()])
    return draw.choice((word, word, word, word.upper(), word.capitalize()))


def _callbacks(draw: Random, at: float, word: str, dossier: str, *, lies: bool) -> list[Callback]:
    """Return the callbacks about one change: lost, late, twice, and of other words."""
    sent = []
    if draw.random() > 0.4:
        sent.append(Callback(at + _delay(draw), word, dossier))
        if draw.random() < 0.2:
            sent.append(Callback(at + _delay(draw), word, dossier))
    if draw.random() < 0.1:
        sent.append(Callback(at + _delay(draw), word, "d-other"))
    if lies and draw.random() < 0.15:
        other = draw.choice((*FINAL, "in_review", "pending", "PROCESSING"))
        sent.append(Callback(at + draw.uniform(-HOUR, HOUR), other, dossier))
    return [Callback(max(0.0, each.at), each.status, each.dossier) for each in sent]


def _delay(draw: Random) -> float:
    return draw.expovariate(1 / draw.choice((1.0, 1.0, 10 * MINUTE, DAY)))
