"""One model request on its way out, its reply on its way back: recorded, altered, witnessed."""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

from masfire.adapters import chat_codec, dialogue, responses_codec, tee
from masfire.adapters.codec import Codec, decoded, read_events
from masfire.adapters.effects import Drain, Enter, Send, Steps, Submit
from masfire.adapters.identity import identify
from masfire.adapters.replayed import is_whole, lost_connection, response_of
from masfire.adapters.wire import Builder, decompressed, encoded, is_events, rebuilt
from masfire.errors import RefusedValue
from masfire.recorder import ACTOR
from masfire.trace.limits import exceeds_depth
from masfire.trace.model import Action, Draw, Observation, Step
from masfire.trace.payload import EMPTY, MAX_DEPTH, Payload, pack, unpack

if TYPE_CHECKING:
    from masfire.recorder import Actor, Recorder
    from masfire.trace.replay import Answer

_CODECS: tuple[tuple[bytes, Codec], ...] = (
    (b"/chat/completions", chat_codec),
    (b"/responses", responses_codec),
)
_RETRY = b"x-stainless-retry-count"
_counting = threading.Lock()


class Call(msgspec.Struct, eq=False):
    """A model request in the hands of masfire. `library` is the module (httpx, httpx2) it belongs to.

    `unread` says that the caller reads the response body itself; `attempt` counts the SDK's retries.
    """

    library: Any
    request: Any
    body: dict[str, Any]
    codec: Codec
    who: Actor
    unread: bool
    attempt: int = 0
    changed: bool = False
    door: Any = None
    started: float = 0.0

    @property
    def model(self) -> str:
        """Return the model's name as requested."""
        return str(self.body.get("model", ""))

    @property
    def build(self) -> Builder:
        """Return what makes responses to this request."""
        return Builder(self.library, self.request, self.codec, self.body, unread=self.unread)

    def without_stream(self) -> dict[str, Any]:
        """Return the request body as a cache knows it, streamed or not."""
        return {key: value for key, value in self.body.items() if key not in ("stream", "stream_options")}


def recognise(library: Any, request: Any, *, unread: bool) -> Call | None:
    """Return the call if `request` is one to a language model whose format is known, else None."""
    if request.method != "POST":
        return None
    codec = _codec(request.url.raw_path)
    if codec is None:
        return None
    try:
        body = decoded(request.content)
    except library.RequestNotRead:
        return None
    if not isinstance(body, dict) or not ("messages" in body or "input" in body):
        return None
    retries = dict(request.headers.raw).get(_RETRY, b"0")
    attempt = int(retries) if retries.isdigit() else 0
    who = ACTOR.get() or identify(codec.system(body))
    return Call(library, request, body, codec, who, unread, attempt)


@functools.lru_cache(maxsize=64)
def _codec(target: bytes) -> Codec | None:
    """Return the codec of the API whose endpoint this path (and query) names."""
    path = target.partition(b"?")[0].rstrip(b"/")
    return next((codec for suffix, codec in _CODECS if path.endswith(suffix)), None)


def exchange(run: Recorder, call: Call) -> Steps[Any]:
    """Let `call` happen under the eyes of `run`; return the response for the caller."""
    actor = call.who
    call.door = run.notes.get("model_door")
    count = _count(run, actor.agent, call.attempt)
    if call.door is not None:
        call.changed = call.door.prepare(call.body, agent=actor.agent, count=count)
    if run.replay is not None:
        yield Enter(actor.agent, call.body)
    delivery = yield from dialogue.of(run).read(call.body, call.codec, actor, call.attempt)
    call.changed = call.changed or delivery.changed
    # What is in the request, and the last thing that woke the agent even if its words are not.
    found = delivery.parents
    parents = tuple(sorted(found.union(actor.parents[-1:]) if found else actor.parents))
    proposed = _proposed(call)
    steps = yield Submit(actor.agent, Action("model_call", call.model, proposed), actor.role, parents)
    response = None
    for step in steps:
        if not isinstance(step.body, Action):
            continue
        if step.body.proposed is not proposed:
            altered = unpack(step.body.proposed)
            if isinstance(altered, dict) and altered != call.body:
                call.body, call.changed = altered, True
        response = yield from _sent(run, call, step, delivery)
    return call.build.refusal("masfire: the model call was withheld") if response is None else response


def _sent(run: Recorder, call: Call, step: Step, delivery: dialogue.Delivery) -> Steps[Any]:
    """Send what the recorded step holds (or take the door's answer); return the caller's response."""
    if call.changed:
        call.request = rebuilt(call.library, call.request, call.body)
    if run.watched:
        _witness_request(run, call, step, delivery)
    call.started = time.monotonic()
    recorded = None if run.replay is None else run.replay.answer(run.steps, step.step)
    if recorded is not None:
        return (yield from _repeated(run, call, step, recorded))
    answer = None
    if call.door is not None:
        answer = call.door.answer(str(call.request.url), call.without_stream())
    if answer is not None:
        response = call.build.answer(answer[0])
        data = decoded(answer[0])
        _keep_whole(run, call, step, data)
        return (yield from _judged(run, call, step, response, data, _draw(call, answer[1], data)))
    try:
        response = yield Send(call.request)
    except (call.library.HTTPError, OSError, RuntimeError) as error:
        problem = {"type": type(error).__name__, "message": str(error), "status": 0}
        yield _reply(call, step, _packed({"error": problem}), _draw(call), ok=False)
        raise
    events = bool(call.body.get("stream")) and is_events(response)
    if events and not (run.has_interceptors or run.watched):
        _pass_on(run, call, step, response)
        return response
    raw = bytes(response.content) if response.is_closed else (yield from _whole(call, response))
    data = call.codec.from_events(read_events(raw)) if events else decoded(raw)
    if response.status_code == 200:
        _keep(call, data, raw if not events else b"")
        _keep_whole(run, call, step, data)
    return (yield from _judged(run, call, step, response, data, _draw(call, "live", data)))


def _repeated(run: Recorder, call: Call, step: Step, recorded: Answer) -> Steps[Any]:
    """Return the response that gives the recorded answer again; raise what ended the call then."""
    response, data = response_of(call.build, call.codec, recorded)
    if recorded.whole is not None:
        _keep_whole(run, call, step, data)
    draw = _draw(call, "replay", data)
    if response is not None:
        return (yield from _judged(run, call, step, response, data, draw))
    yield _reply(call, step, _packed(recorded.outcome), draw, ok=False)
    raise lost_connection(call.library, call.request, recorded)


def _witness_request(run: Recorder, call: Call, step: Step, delivery: dialogue.Delivery) -> None:
    sent = decoded(call.request.content)
    run.received(step.step, sent, by="model")
    for index, text in dialogue.of(run).arrived(sent, call.codec, call.who.agent, delivery):
        run.received(index, text, by=call.who.agent)


def _judged(run: Recorder, call: Call, step: Step, response: Any, data: Any, draw: Draw) -> Steps[Any]:
    """Record what `response` says; return it, or the one that carries what was recorded instead."""
    outcome, ok = _said(call, response, data)
    if not ok:
        _note_overflow(run, outcome["error"])
    offered = _packed(outcome)
    steps = yield _reply(call, step, offered, draw, ok=ok)
    final = _remember(run, call, steps, offered, outcome)
    if final is None:
        return call.build.refusal("masfire: the reply was withheld")
    body = final.body
    if isinstance(body, Observation) and (body.outcome is not offered or body.ok != ok):
        said = unpack(body.outcome)
        if said != outcome or body.ok != ok:
            response, outcome = _altered(call, response, data, said, body.ok)
    if run.watched:
        run.received(final.step, outcome, by=call.who.agent)
    return response


def _altered(call: Call, response: Any, data: Any, said: Any, ok: bool) -> tuple[Any, dict[str, Any]]:
    """Return the response that says `said`, and what its reader will find in it."""
    if not ok:
        error = said.get("error") if isinstance(said, dict) else said
        error = error if isinstance(error, dict) else {"message": str(error)}
        status = error.get("status")
        response = call.build.refusal(
            str(error.get("message", "")), status if isinstance(status, int) and status >= 400 else 500
        )
        return response, {"error": {**error, "status": response.status_code}}
    base = data if isinstance(data, dict) and response.status_code < 300 else {"model": call.model}
    data = call.codec.with_outcome(base, said if isinstance(said, dict) else {"content": str(said)})
    response = call.build.altered(data, response)
    return response, call.codec.outcome(data)


def _said(call: Call, response: Any, data: Any) -> tuple[dict[str, Any], bool]:
    if isinstance(data, dict) and response.status_code < 300:
        return call.codec.outcome(data), True
    error = data.get("error") if isinstance(data, dict) else None
    if not isinstance(error, dict):
        error = {"message": str(error or response.reason_phrase)}
    return {"error": {**error, "status": response.status_code}}, False


def _reply(call: Call, step: Step, outcome: Payload, draw: Draw, *, ok: bool) -> Submit:
    observation = Observation("model_reply", call.model, step.step, outcome, ok, draw)
    return Submit(call.who.agent, observation, call.who.role, (step.step,))


def _remember(run: Recorder, call: Call, steps: Any, offered: Payload, outcome: Any) -> Step | None:
    """Return the reply among `steps` that the caller gets; remember what each says and asks for.

    `outcome` is the value of the payload `offered`, so that it need not be decoded again.
    """
    final: Step | None = None
    talk = dialogue.of(run)
    for step in steps:
        body = step.body
        if not isinstance(body, Observation):
            continue
        value = outcome if body.outcome is offered else unpack(body.outcome)
        final = step
        if not isinstance(value, dict):
            continue
        if isinstance(value.get("content"), str):
            talk.index.add(step.step, call.who.agent, value["content"])
        for asked in value.get("tool_calls") or ():
            if isinstance(asked, dict) and asked.get("id"):
                talk.tool_call_steps[str(asked["id"])] = step.step
    return final


def _pass_on(run: Recorder, call: Call, step: Step, response: Any) -> None:
    """Let the caller read the stream as it comes; record the reply when its end marker has passed."""

    def ended(raw: bytes) -> None:
        if run.finished:
            return
        data = call.codec.from_events(read_events(decompressed(call.library, response, raw)))
        outcome: dict[str, Any] = {
            "error": {"type": "stream", "message": "The stream broke off.", "status": 200}
        }
        if data is not None:
            outcome = call.codec.outcome(data)
            _keep(call, data, b"")
            _keep_whole(run, call, step, data)
        effect = _reply(call, step, _packed(outcome), _draw(call, "live", data), ok=data is not None)
        steps = run.submit(effect.agent, effect.body, role=effect.role, parents=effect.parents)
        _remember(run, call, steps, EMPTY, None)

    compressed = response.headers.get("content-encoding", "identity") != "identity"
    tee.pass_on(call.library, response, ended, None if compressed else call.codec.ended)


def _whole(call: Call, response: Any) -> Steps[bytes]:
    """Return the decoded body of an open response; a caller that reads the response itself still can."""
    raw = yield Drain(response)
    response.stream = call.library.ByteStream(raw)
    return decompressed(call.library, response, raw)


def _keep(call: Call, data: Any, raw: bytes) -> None:
    if call.door is not None and isinstance(data, dict):
        call.door.keep(str(call.request.url), call.without_stream(), raw or encoded(data))


def _keep_whole(run: Recorder, call: Call, step: Step, data: Any) -> None:
    """Keep a reply that its step cannot hold in full, so that a replay can give it again."""
    if isinstance(data, dict) and not data.get("error") and not is_whole(call.codec, data):
        run.keep(step.step, _packed(data))


def _draw(call: Call, source: str = "live", data: Any = None) -> Draw:
    tokens_in, tokens_out = call.codec.tokens(data) if isinstance(data, dict) else (0, 0)
    digest = hashlib.sha256(call.request.content).hexdigest()
    return Draw(digest, source, call.attempt, time.monotonic() - call.started, tokens_in, tokens_out)


def _note_overflow(run: Recorder, error: dict[str, Any]) -> None:
    said = f"{error.get('message', '')} {error.get('type', '')} {error.get('code', '')}".lower()
    if error.get("status") == 400 and ("context" in said or "exceed" in said):
        run.notes["overflow"] = True


def _count(run: Recorder, agent: str, attempt: int) -> int:
    """Return how many calls `agent` has made before; a retry by the SDK is the same call again."""
    with _counting:
        counts: dict[str, int] = run.notes.setdefault("http_counts", {})
        count = counts.get(agent, 0)
        if attempt == 0:
            counts[agent] = count + 1
    return count if attempt == 0 else max(count - 1, 0)


def _proposed(call: Call) -> Payload:
    """Return the request body as a payload: its own bytes where they can stand in a trace as they are."""
    if call.changed:
        return _packed(call.body)
    raw: bytes = call.request.content
    line_breaks = 0x0A in raw or 0x0D in raw  # a byte is found much faster than bytes are
    beyond_json = (
        raw.find(b"NaN") >= 0
        or raw.find(b"Infinity") >= 0
        or (0x5C in raw and b"\\u" in raw)
        or (0x24 in raw and b"$json" in raw)
    )
    return _packed(call.body) if line_breaks or beyond_json or exceeds_depth(raw, MAX_DEPTH) else Payload(raw)


def _packed(value: dict[str, Any]) -> Payload:
    try:
        return pack(value)
    except RefusedValue as refusal:
        return pack({"model": str(value.get("model", "")), "$refused": refusal.message})
