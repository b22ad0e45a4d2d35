"""No secret reaches a file, however it is dressed; nothing else changes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from msgspec import Raw

from masfire.errors import UsageError
from masfire.trace.io import TraceWriter, read_trace
from masfire.trace.model import Action, Decision, End, Header, Injection, Message, Observation, Step
from masfire.trace.payload import pack
from masfire.trace.redact import Redactor

VALUE = "Zq9" + "x7K2m" * 8
SECRETS = {
    "openai": f"sk-{VALUE}",
    "openai project": f"sk-proj-{VALUE}",
    "anthropic": f"sk-ant-api03-{VALUE}",
    "aws": "AKIA" + "Q7" * 8,
    "github": f"ghp_{VALUE}",
    "github fine-grained": f"github_pat_{VALUE}",
    "gitlab": f"glpat-{VALUE}",
    "slack": f"xoxb-123456789012-{VALUE}",
    "google": f"AIza{VALUE}",
    "huggingface": f"hf_{VALUE}",
    "stripe": f"sk_live_{VALUE}",
    "jwt": f"eyJhbGciOiJIUzI1NiJ9.eyJ{VALUE}.{VALUE}",
    "bearer": f"Authorization: Bearer {VALUE}",
    "basic": f"Authorization: Basic {VALUE}==",
    "url": f"postgres://admin:{VALUE}@db.internal/x",
    "private key": f"-----BEGIN RSA PRIVATE KEY-----\n{VALUE}\n{VALUE}\n-----END RSA PRIVATE KEY-----",
    "cut private key": f"-----BEGIN PRIVATE KEY-----\n{VALUE}",
    "code": f"client = Client(api_key='{VALUE} with space')",
    "json in prose": f'call it with {{"password": "{VALUE}"}} please',
    "environment": f"export OPENAI_API_KEY={VALUE}",
    "query": f"https://x.org/?access_token={VALUE}&page=2",
}


def dress(secret: str) -> dict[str, object]:
    """Return the same secret in the clothes that agents, tools and frameworks put it in."""
    return {
        "plain": secret,
        "in text": f"Here you go:\n\t{secret}\nbye",
        "after a quote": f'he said "{secret}" twice',
        "after a backslash": f"C:\\{secret}",
        "key": {secret: 1},
        "deep": {"a": [[{"b": ["c", {"d": secret}]}]]},
        "json text": json.dumps({"q": secret, "note": 'line\n"two"'}),
        "json text twice": json.dumps({"arguments": json.dumps({"q": [f"\n{secret}"]})}),
        "escaped json text": '{"q": "' + "".join(f"\\u{ord(c):04x}" for c in secret) + '"}',
        "fenced": f"```json\n{json.dumps({'q': secret})}\n```",
        "with a surrogate": ["\ud800", secret],
        "with infinity": [float("inf"), secret],
        "with unicode": f"naïve \u2028 {secret} \U0001f600",
    }


@pytest.mark.parametrize("kind", SECRETS)
def test_no_dress_hides_a_secret(kind: str, tmp_path: Path) -> None:
    with TraceWriter(tmp_path / "t", Header(run="r"), redactor=Redactor()) as writer:
        for index, value in enumerate(dress(SECRETS[kind]).values()):
            writer.write(Step(index, 1.0, "a", Message(("b",), pack(value))))
    written = (tmp_path / "t").read_text("utf-8")
    core = SECRETS[kind].split(VALUE)[0][-4:] + VALUE if VALUE in SECRETS[kind] else SECRETS[kind]
    for name, step in zip(dress(SECRETS[kind]), read_trace(tmp_path / "t").steps, strict=True):
        shown = json.dumps(step.value) + str(step.value)
        assert VALUE not in shown, name
        assert "[redacted:" in shown, name
    assert core not in written


def test_every_field_of_every_record_is_redacted(tmp_path: Path) -> None:
    key = SECRETS["openai"]
    raw = pack(f"x {key}")
    bodies = [
        Message((key,), raw),
        Action("tool_call", key, raw, raw, key),
        Observation("tool_result", key, 0, raw),
        Decision("block", key, key, 0, raw),
        Injection("f", f"f@{key}", "injected", key, raw, raw),
    ]
    header = Header(
        run="r", task=raw, launch={"env": {"k": key}}, faults=(f"f@{key}",), settings={"api_key": "abc"}
    )
    writer = TraceWriter(tmp_path / "t", header, redactor=Redactor())
    for index, body in enumerate(bodies):
        stored = writer.write(Step(index, 1.0, f"agent {key}", body, f"role {key}"))
        assert key not in repr(stored)
    writer.close(End("error", f"bad key {key}", raw))
    text = (tmp_path / "t").read_text("utf-8")
    assert VALUE not in text
    assert '"api_key":"[redacted:api-key]"' in text
    assert len(read_trace(tmp_path / "t").steps) == 4


@pytest.mark.parametrize(
    ("key", "hidden"),
    [
        ("api_key", True), ("OPENAI_API_KEY", True), ("X-Api-Key", True), ("apiKey", True),
        ("password", True), ("db_password", True), ("authorization", True), ("client_secret", True),
        ("aws_secret_access_key", True), ("token", True), ("access_token", True), ("sessionToken", True),
        ("Cookie", True), ("max_tokens", False), ("tokens", False), ("next_page_token", False),
        ("author", False), ("secretary", False), ("keyboard", False), ("passwords_changed_at", False),
    ],
)  # fmt: skip
def test_values_are_hidden_by_the_name_of_their_key(key: str, hidden: bool) -> None:
    given = {key: "tulips", "n": {key: ["tulips", "tulips"]}, "arguments": json.dumps({key: "tulips"})}
    clean = json.dumps(Redactor().step(Step(0, 1.0, "a", Message(("b",), pack(given)))).value)
    assert ("tulips" not in clean) is hidden
    assert Redactor().suspects(bytes(pack(given))) or not hidden


@pytest.mark.parametrize(
    "text",
    [
        "The risk-averse task-force asked about the desk-lamp.",
        "Basic responsibilities: token economy, secret garden, password policy, bearer of news.",
        "max_tokens: 256, sku-1234567890, SKIASKIASKIASKIA1",
        "see https://example.org:8080/a@b and mailto:x@y.z, 12:30:00",
        "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----",
        '{"required": ["password"], "properties": {"password": {"type": "string"}}}',
        "esc \x1b]0;title\x07 and \\u0041 and C:\\users\\n",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    step = Step(0, 1.0, "a", Message(("b",), pack({"x": text, "max_tokens": 5, "token": 7})))
    assert Redactor().step(step) == step


def test_references_and_refusals_survive() -> None:
    odd = pack({"messages": [{"$ref": [0, "messages", 1]}], "secret": "x"})
    assert Redactor().payload(odd) == pack(
        {"messages": [{"$ref": [0, "messages", 1]}], "secret": "[redacted:secret]"}
    )
    broken = Redactor().payload(Raw(b'{"password": "x", "n": 1e999}'))
    assert b'"x"' not in bytes(broken)


def test_user_patterns_are_linear_and_named() -> None:
    redactor = Redactor(["ticket=T-[0-9]{4}", r"\bproject \w+", "(a+)+$"])
    assert redactor.text("see T-1234 of project apollo") == "see [redacted:ticket] of [redacted:custom]"
    step = Step(0, 1.0, "a", Message(("b",), pack({"x": json.dumps({"y": "\nT-9999"})})))
    assert "9999" not in str(Redactor(["T-[0-9]{4}"]).step(step).value)
    assert Redactor(["T-[0-9]{4}"]).suspects(bytes(step.payload))
    began = time.perf_counter()
    redactor.text("a" * 5000 + "!")
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize("pattern", ["(?=look)ahead", r"(a)\1", "(", "x*"])
def test_a_pattern_that_cannot_be_used_is_named(pattern: str) -> None:
    with pytest.raises(UsageError) as caught:
        Redactor([pattern])
    assert repr(pattern) in str(caught.value)


def test_levels() -> None:
    step = Step(
        0,
        1.0,
        "planner",
        Action("tool_call", "stock", pack({"args": {"sku": "pen", "n": 3, "k": "sk-" + VALUE}})),
    )
    assert Redactor(level="full").step(step) is step
    off = Redactor(level="content-off", key=b"k").step(step)
    assert (off.agent, off.kind, off.body.name) == ("planner", "tool_call", "stock")  # type: ignore[union-attr]
    shown = off.value["args"]
    assert set(shown) == {"sku", "n", "k"}
    assert shown["sku"]["$off"]["len"] == 3
    assert "pen" not in str(off.value)
    assert VALUE not in str(off.value)
    same = Redactor(level="content-off", key=b"k").value("pen")
    assert same == shown["sku"]
    assert Redactor(level="content-off").value("pen") != same
    assert Redactor(level="content-off").value({"role": "user", "$ref": 1})["role"] == "user"
    with pytest.raises(UsageError, match="'secret' is unknown"):
        Redactor(level="secret")


def test_content_off_writes_no_content_at_all(tmp_path: Path) -> None:
    redactor = Redactor(level="content-off")
    writer = TraceWriter(tmp_path / "t", Header(run="r", task=pack("tulips")), redactor=redactor)
    writer.write(
        Step(0, 1.0, "a", Message(("b",), pack({"messages": [{"role": "user", "content": "tulips"}]})))
    )
    writer.write(Step(1, 1.0, "a", Decision("block", "r", "tulips", 0, pack(["tulips"]))))
    writer.close(End("error", "tulips", pack("tulips")))
    assert "tulips" not in (tmp_path / "t").read_text("utf-8")
    assert read_trace(tmp_path / "t").steps[0].value["messages"][0]["role"] == "user"
