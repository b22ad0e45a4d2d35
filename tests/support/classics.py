"""Properties of the runtime-verification literature, as contract files and by definition.

Most are in the papers on DejaVu (Havelund, Peled, Ulus, FMCAD 2017 and FMSD 2020), MonPoly (Basin, Klaedtke,
Müller, Zălinescu, J. ACM 2015) and the competitions of the RV conferences; the contracts are written anew.
"""

from __future__ import annotations

from tests.support.eventlogs import (
    Event,
    Log,
    Property,
    ever,
    is_open,
    latest,
    one,
    pattern,
    said,
    several,
    values,
)

# -- accesses, files, sessions --------------------------------------------------------------------


def access(log: Log, e: Event) -> bool:
    if e.name != "access":
        return False
    u, f = e.args
    return not (is_open(log, ("login", u), ("logout", u)) and is_open(log, ("open", f), ("close", f)))


def close_unopened(log: Log, e: Event) -> bool:
    before = log[:-1]
    return e.name == "close" and not is_open(before, ("open", e.args[0]), ("close", e.args[0]))


def session(log: Log, e: Event) -> bool:
    """The user's session, refreshed by each act, has been silent for over 20 s or is not there."""
    if e.name != "act":
        return False
    before = log[:-1]
    touched = max(latest(before, "login", e.args[0]), latest(before, "act", e.args[0]))
    if touched < 0 or latest(before, "logout", e.args[0]) > touched:
        return True
    return e.time - log[touched].time > 20


def lockout(log: Log, e: Event) -> bool:
    recent = [f for f in said(log, "fail", *e.args[:1]) if e.time - f.time <= 30]
    return e.name == "login" and len(recent) >= 3


# -- locks ----------------------------------------------------------------------------------------


def basic_locks(log: Log, e: Event) -> bool:
    before = log[:-1]
    if e.name == "sleep":
        return any(is_open(log, ("acq", e.args[0], m), ("rel", e.args[0], m)) for m in values(log, "acq", 1))
    if e.name == "acq":
        return any(
            is_open(before, ("acq", t, e.args[1]), ("rel", t, e.args[1])) for t in values(log, "acq", 0)
        )
    return e.name == "rel" and not is_open(before, ("acq", *e.args), ("rel", *e.args))


def cycle(log: Log, e: Event) -> bool:
    if e.name != "acq":
        return False
    t, wanted = e.args
    for mine in values(log[:-1], "acq", 1):
        if not is_open(log[:-1], ("acq", t, mine), ("rel", t, mine)):
            continue
        for other in said(log[:-1], "acq", None, mine):
            earlier = log[: other.at]
            if is_open(earlier, ("acq", other.args[0], wanted), ("rel", other.args[0], wanted)):
                return True
    return False


def reentrant(log: Log, e: Event) -> bool:
    if e.name != "rel":
        return False
    return len(list(said(log, "acq", *e.args))) < len(list(said(log, "rel", *e.args)))


def conflict(log: Log, e: Event) -> bool:
    if e.name != "acq":
        return False
    k = e.args[1]
    for s in values(log, "acq", 0):
        for other in values(log, "acq", 1):
            declared = ever(log, "conflict", k, other) or ever(log, "conflict", other, k)
            if declared and is_open(log[:-1], ("acq", s, other), ("rel", s, other)):
                return True
    return False


# -- Java -----------------------------------------------------------------------------------------


def unsafe_map(log: Log, e: Event) -> bool:
    if e.name != "next":
        return False
    for made in said(log, "iterator", None, e.args[0]):
        for created in said(log[: made.at], "create", None, made.args[0]):
            m = created.args[0]
            if latest(log, "update", m) > latest(log, "iterator", made.args[0], e.args[0]):
                return True
    return False


def unsafe_iterator(log: Log, e: Event) -> bool:
    if e.name != "next":
        return False
    return any(latest(log, "update", made.args[0]) > made.at for made in said(log, "iter", None, e.args[0]))


def has_next(log: Log, e: Event) -> bool:
    return e.name == "next" and latest(log, "hasnext", e.args[0]) <= latest(log[:-1], "next", e.args[0])


# -- auctions, queues, publishing, money ----------------------------------------------------------


def bids(log: Log, e: Event) -> bool:
    return e.name == "bid" and any(e.args[1] <= b.args[1] for b in said(log[:-1], "bid", e.args[0]))


def sold_cheap(log: Log, e: Event) -> bool:
    if e.name != "sell":
        return False
    best = max((b.args[1] for b in said(log, "bid", *e.args)), default=-1)
    return any(best < listed.args[1] for listed in said(log, "list", *e.args))


def in_auction(log: Log, e: Event) -> bool:
    i = e.args[0]
    return e.name in ("bid", "sell") and not is_open(log[:-1], ("list", i), ("sell", i))


def fifo(log: Log, e: Event) -> bool:
    before, x = log[:-1], e.args[0]
    if e.name == "enter":
        return ever(before, "enter", x)
    if e.name != "exit":
        return False
    if ever(before, "exit", x) or not ever(before, "enter", x):
        return True
    for mine in said(before, "enter", x):
        for earlier in said(log[: mine.at], "enter"):
            if not ever(before, "exit", earlier.args[0]):
                return True
    return False


def unapproved(log: Log, e: Event) -> bool:
    if e.name != "publish":
        return False
    author, report = e.args
    for approval in said(log, "approve", None, report):
        m = approval.args[0]
        then = log[: approval.at + 1]
        if e.time - approval.time <= 10 and is_open(then, ("mgr_s", m, author), ("mgr_f", m, author)):
            return False
    return True


def withdrawals(log: Log, e: Event) -> bool:
    mine = [w.args[1] for w in said(log, "withdraw", *e.args[:1]) if e.time - w.time <= 30]
    return e.name == "withdraw" and sum(mine) > 120


def deleted(log: Log, e: Event) -> bool:
    """A datum is used after it was deleted, or after what it was copied from was."""
    if e.name != "use":
        return False
    origins = {c.args[0] for c in said(log, "copy", None, *e.args)}
    return any(ever(log, "delete", d) for d in {*e.args, *origins})


def spawned(log: Log, e: Event) -> bool:
    return e.name == "report" and not ever(log, "spawn", e.args[1], e.args[0])


def telecommand(log: Log, e: Event) -> bool:
    if e.name != "suc":
        return False
    started = [d for d in said(log, "dis", *e.args) if e.time - d.time <= 15]
    return not any(latest(log, "fail", *e.args) < d.at for d in started)


def error_in_command(log: Log, e: Event) -> bool:
    return e.name == "error" and any(is_open(log, ("dispatch", c), ("complete", c)) for c in ("c0", "c1"))


def all_in(log: Log, e: Event) -> bool:
    """Not one session has all users who ever logged in logged into it."""
    users = values(log, "login", 0)
    return not any(
        all(latest(log, "login", u, s) > latest(log, "logout", u) for u in users)
        for s in values(log, "login", 1)
    )


def warm(log: Log, e: Event) -> bool:
    """A temperature is over 40 above that sensor's previous one."""
    before = list(said(log[:-1], "temp", *e.args[:1]))
    return e.name == "temp" and bool(before) and e.args[1] - before[-1].args[1] > 40


def unlocked_commit(log: Log, e: Event) -> bool:
    if e.name != "commit":
        return False
    t = e.args[0]
    return any(not ever(log, "unlock", t, taken.args[1]) for taken in said(log, "lock", t))


def total(log: Log, e: Event) -> bool:
    return e.name == "order" and e.args[0] * e.args[1] != e.args[2]


def cold_miss(log: Log, e: Event) -> bool:
    if e.name != "cache-miss":
        return False
    return any(e.at - fill.at <= 3 for fill in said(log, "cache-fill", *e.args))


def disconnected(log: Log, e: Event) -> bool:
    c = e.args[0]
    return e.name.startswith("db_") and not is_open(log, ("connect", c), ("disconnect", c))


def twice(log: Log, e: Event) -> bool:
    return e.name == "issue" and ever(log[:-1], "issue", *e.args)


def turns(log: Log, e: Event) -> bool:
    waiting = latest(log[:-1], "start", *e.args) > latest(log[:-1], "stop", *e.args)
    return waiting if e.name == "start" else e.name == "stop" and not waiting


def storm(log: Log, e: Event) -> bool:
    return e.name == "ping" and len([p for p in said(log, "ping", *e.args) if e.time - p.time <= 10]) > 2


def right_before(log: Log, e: Event) -> bool:
    mine = [other for other in log[:-1] if other.args[:1] == e.args[:1]]
    return e.name == "commit" and not (mine and mine[-1].name == "prepare")


def quiet(log: Log, e: Event) -> bool:
    return e.name == "enable" and any(e.time - alarm.time <= 12 for alarm in said(log, "alarm"))


def toggled(log: Log, e: Event) -> bool:
    return e.name == "telem" and len(list(said(log, "toggle", *e.args))) % 2 == 0


FILES = {"login": "u", "logout": "u", "open": "f", "close": "f", "access": "uf"}
LOCKS = {"acq": "tl", "rel": "tl", "sleep": "t"}
MAPS = {"create": "mc", "iterator": "ci", "update": "m", "next": "i"}
AUCTION = {"list": "in", "bid": "in", "sell": "i"}
MONEY = {"withdraw": "un", "look": "u"}
UPDATE = "not event('update', m) since event('iterator', c, i)"
HELD = "[event('acq', t, l), event('rel', t, l))"
TAKEN = "event('acq', t, l) -> not exists s. prev [event('acq', s, l), event('rel', s, l))"
FREED = "event('rel', t, l) -> prev [event('acq', t, l), event('rel', t, l))"

CLASSICS: dict[str, Property] = {
    "access": Property(
        "A user who is logged in accesses a file that is open.",
        one("event('access', u, f) -> [event('login', u), event('logout', u)) "
            "and [event('open', f), event('close', f))"),
        access, FILES),
    "access, defined": Property(
        "The same with named sub-formulas, in YAML's flow style.",
        one("event('access', u, f) -> both(u, f)",
            define="{in(u): \"[event('login', u), event('logout', u))\", "
                   "both(x, y): \"in(x) and [event('open', y), event('close', y))\"}"),
        access, FILES),
    "access, since": Property(
        "The same with since, and quantifiers written out.",
        one("forall u. forall f. (event('access', u, f) -> (not event('logout', u) since event('login', u)) "
            "and (not event('close', f) since event('open', f)))"),
        access, FILES),
    "close": Property(
        "A file is closed only when it was open, whatever its mode.",
        one("event('close', f) -> exists m. prev [event('open', f, m), event('close', f))"),
        close_unopened, {"open": "fm", "close": "f"}),
    "close, keyed": Property(
        "The same by slices.",
        one("event('close') -> prev [event('open'), event('close'))", key="args.0"),
        close_unopened, {"open": "fm", "close": "f"}),
    "session": Property(
        "An act within 20 s of the session's last sign of life.",
        one("event('act') -> prev [event('login') or event('act'), event('logout')) "
            "and time - last(time, when event('login') or event('act')) <= 20", key="args.0"),
        session, {"login": "s", "act": "s", "logout": "s"}, True),
    "lockout": Property(
        "No login after three failures within 30 seconds.",
        one("event('login', u) -> count(event('fail', u) within 30 seconds) < 3"),
        lockout, {"login": "u", "fail": "u"}, True),
    "basic locks": Property(
        "Who sleeps holds no lock; a lock has one holder; only the holder releases it.",
        several(f"event('sleep', t) -> not {HELD}", TAKEN, FREED), basic_locks, LOCKS),
    "basic locks, one": Property(
        "The same as one conjunction.",
        one(f"(event('sleep', t) -> not {HELD}) and ({TAKEN}) and ({FREED})"), basic_locks, LOCKS),
    "lock order": Property(
        "Two locks are never taken in both orders.",
        one("prev [event('acq', t1, l1), event('rel', t1, l1)) and event('acq', t1, l2) -> "
            "not prev once (prev [event('acq', t2, l2), event('rel', t2, l2)) and event('acq', t2, l1))"),
        cycle, LOCKS),
    "reentrant": Property(
        "A reentrant lock is released at most as often as it was taken.",
        one("event('rel', t, l) -> count(event('acq', t, l)) >= count(event('rel', t, l))"),
        reentrant, LOCKS),
    "reentrant, keyed": Property(
        "The same by slices of two fields.",
        one("event('rel') -> count(event('acq')) >= count(event('rel'))", key="[args.0, args.1]"),
        reentrant, LOCKS),
    "conflicts": Property(
        "What is declared to be in conflict is not held together.",
        one("event('acq', s1, k1) -> not (exists s2. exists k2. "
            "prev [event('acq', s2, k2), event('rel', s2, k2)) and "
            "once (event('conflict', k1, k2) or event('conflict', k2, k1)))"),
        conflict, {"acq": "tl", "rel": "tl", "conflict": "ll"}),
    "map iterator": Property(
        "No iterator of a map's view goes on after the map was updated.",
        one(f"event('next', i) and once(event('iterator', c, i) and once event('create', m, c)) -> {UPDATE}"),
        unsafe_map, MAPS),
    "map iterator, defined": Property(
        "The same as in the specification.",
        one(f"event('next', i) and once(event('iterator', c, i) and live(c, m)) -> {UPDATE}",
            define="{live(c, m): \"once event('create', m, c)\"}"),
        unsafe_map, MAPS),
    "iterator": Property(
        "No iterator goes on after its collection was updated.",
        one("event('next', i) -> not exists c. once (event('update', c) and once event('iter', c, i))"),
        unsafe_iterator, {"iter": "ci", "update": "c", "next": "i"}),
    "hasnext": Property(
        "Each next follows a hasnext of its own.",
        one("event('next', i) -> prev [event('hasnext', i), event('next', i))"),
        has_next, {"hasnext": "i", "next": "i"}),
    "bids": Property(
        "Bids rise.", one("prev once event('bid', i, a1) and event('bid', i, a2) -> a1 < a2"), bids, AUCTION),
    "sell": Property(
        "What is sold had a bid as high as its price.",
        one("once event('list', i, r) and event('sell', i) -> exists a. once event('bid', i, a) and a >= r"),
        sold_cheap, AUCTION),
    "sell, within once": Property(
        "The same, comparing under the operator.",
        one("event('sell', i) and once event('list', i, r) "
            "-> exists a. once (event('bid', i, a) and a >= r)"),
        sold_cheap, AUCTION),
    "auction": Property(
        "Bids and sales only of what is on sale; the bid's amount does not matter.",
        one("event('bid', i, a) or event('sell', i) "
            "-> exists r. prev [event('list', i, r), event('sell', i))"),
        in_auction, AUCTION),
    "fifo": Property(
        "A queue gives out what was put in, once, in order.",
        several("event('enter', x) -> not prev once event('enter', x)",
                "event('exit', x) -> not prev once event('exit', x)",
                "event('exit', x) -> prev once event('enter', x)",
                "event('exit', y) and once (event('enter', y) and prev once event('enter', x)) "
                "-> prev once event('exit', x)"),
        fifo, {"enter": "x", "exit": "x"}),
    "publish": Property(
        "A report is published within 10 s of the approval by one who managed its author then.",
        one("event('publish', a, f) -> exists m. once within 10 seconds "
            "([event('mgr_s', m, a), event('mgr_f', m, a)) and event('approve', m, f))"),
        unapproved, {"publish": "af", "approve": "mf", "mgr_s": "ma", "mgr_f": "ma"}, True),
    "withdrawals": Property(
        "At most 120 are withdrawn within 30 seconds.",
        one("event('withdraw', u) -> sum(args.1, when event('withdraw', u) within 30 seconds) <= 120"),
        withdrawals, MONEY, True),
    "withdrawals, pattern": Property(
        "The same as a pattern.",
        pattern("cumulative_at_most", key="args.0", when="{kind: event, name: withdraw}", field="args.1",
                limit="120", within="30 seconds"),
        withdrawals, MONEY, True),
    "deletion": Property(
        "What was deleted, and what was copied from it, is not used.",
        one("event('use', x) -> not once event('delete', x) and "
            "not exists d. once event('copy', d, x) and once event('delete', d)"),
        deleted, {"delete": "d", "copy": "dd", "use": "d"}),
    "reports": Property(
        "A task reports to the one that spawned it.",
        one("event('report', y, x) -> once event('spawn', x, y)"),
        spawned, {"spawn": "tt", "report": "tt"}),
    "telecommand": Property(
        "A success within 15 s of the dispatch, without a failure in between.",
        one("event('suc', m) -> exists p. (not event('fail', m) since within 15 seconds event('dis', m, p))"),
        telecommand, {"suc": "m", "fail": "m", "dis": "mp"}, True),
    "error": Property(
        "No error during one of two commands.",
        one("[event('dispatch', c), event('complete', c)) and c in ['c0', 'c1'] -> not event('error')"),
        error_in_command, {"dispatch": "c", "complete": "c", "error": ""}),
    "one session": Property(
        "There is a session that everybody is in.",
        one("exists s. once event('login', _, s) and (forall u. once event('login', u, _) -> "
            "(not event('logout', u) since event('login', u, s)))"),
        all_in, {"login": "us", "logout": "u"}),
    "temperature": Property(
        "A sensor does not rise by over 40 at once.",
        one("event('temp', s, v) and prev once event('temp', s) -> "
            "v - last(args.1, when event('temp', s)) <= 40"),
        warm, {"temp": "sn", "tick": ""}),
    "temperature, keyed": Property(
        "The same by slices.",
        one("event('temp') and prev once event('temp') -> args.1 - last(args.1) <= 40", key="args.0"),
        warm, {"temp": "sn", "tick": ""}),
    "commit": Property(
        "Who commits has given back each lock at least once.",
        one("event('commit', t) -> forall k. (once event('lock', t, k) -> once event('unlock', t, k))"),
        unlocked_commit, {"lock": "tk", "unlock": "tk", "commit": "t"}),
    "order": Property(
        "A total is the product.", one("event('order', q, p, sum) -> sum == q * p"), total,
        {"order": "QPQ", "look": "Q"}),
    "cache": Property(
        "Names with dashes: nothing is missed within three events of its being filled.",
        one("event('cache-miss', k) -> not once within 3 steps event('cache-fill', k)"), cold_miss,
        {"cache-miss": "k", "cache-fill": "k"}),
    "database": Property(
        "Names with a star: queries go through an open connection.",
        one("event('db_*', c) -> [event('connect', c), event('disconnect', c))"), disconnected,
        {"connect": "c", "disconnect": "c", "db_get": "c", "db_put": "cn"}),
    "quoted numbers": Property(
        "A number in quotes is that number in a log.",
        one("event('open', '1', f) -> not prev once event('open', 1, f)"),
        lambda log, e: e.name == "open" and e.args[0] == 1 and ever(log[:-1], "open", *e.args),
        {"open": "Af", "shut": "A"}),
    "unique": Property(
        "No number is issued twice.", pattern("unique", when="{kind: event, name: issue}", by="args.0"),
        twice, {"issue": "x", "look": "x"}),
    "turns": Property(
        "Start and stop take turns.",
        pattern("alternates", key="args.0", first="\"event('start')\"", second="\"event('stop')\""),
        turns, {"start": "x", "stop": "x"}),
    "storm": Property(
        "At most two pings of one in 10 seconds.",
        pattern("at_most", key="args.0", when="{kind: event, name: ping}", n="2", within="10 seconds"),
        storm, {"ping": "x", "pong": "x"}, True),
    "prepared": Property(
        "A commit right after its prepare.",
        pattern("requires_immediately_before", key="args.0", when="{kind: event, name: commit}",
                before="{kind: event, name: prepare}"),
        right_before, {"prepare": "x", "commit": "x", "other": "x"}),
    "quiet": Property(
        "Enabled only after 12 quiet seconds.",
        one("event('enable') -> historically within 12 seconds not event('alarm')"), quiet,
        {"enable": "", "alarm": "", "tick": ""}, True),
    "telemetry": Property(
        "Telemetry only through a radio that was toggled an odd number of times.",
        one("event('telem', x) -> count(event('toggle', x)) % 2 == 1"), toggled,
        {"toggle": "x", "telem": "x"}),
}  # fmt: skip
