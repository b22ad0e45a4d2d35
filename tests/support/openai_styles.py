"""Every way to call the openai SDK, as functions of a client that return the text of the reply."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import Any

import openai

from masfire.trace.payload import pack

CHAT = {
    "model": "m",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "ORIGINAL"}],
}
RESPONSES = {"model": "m", "instructions": "Be brief.", "input": "ORIGINAL"}


def chat_text(completion: Any) -> str:
    return str(completion.choices[0].message.content)


def _chat(client: Any) -> Any:
    """Return where the stream helper lives: it left `beta` in openai 1.92."""
    chat = client.chat.completions
    return chat if hasattr(chat, "stream") else client.beta.chat.completions


def sync_create(client: Any) -> str:
    return chat_text(client.chat.completions.create(**CHAT))


def sync_stream(client: Any) -> str:
    with client.chat.completions.create(**CHAT, stream=True) as chunks:
        return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def sync_stream_helper(client: Any) -> str:
    with _chat(client).stream(**CHAT) as events:
        return chat_text(events.get_final_completion())


def sync_raw(client: Any) -> str:
    raw = client.chat.completions.with_raw_response.create(**CHAT)
    assert raw.elapsed.total_seconds() >= 0
    assert raw.headers["content-type"].startswith("application/json")
    return chat_text(raw.parse())


def sync_streaming_response(client: Any) -> str:
    with client.chat.completions.with_streaming_response.create(**CHAT) as response:
        return chat_text(response.parse())


def sync_post(client: Any) -> str:
    body = client.post("/chat/completions", body=CHAT, cast_to=object)
    return str(body["choices"][0]["message"]["content"])


def sync_responses(client: Any) -> str:
    return str(client.responses.create(**RESPONSES).output_text)


def sync_responses_stream(client: Any) -> str:
    text = ""
    with client.responses.create(**RESPONSES, stream=True) as events:
        for event in events:
            if event.type == "response.output_text.delta":
                text += event.delta
    return text


def sync_responses_helper(client: Any) -> str:
    with client.responses.stream(**RESPONSES) as events:
        return str(events.get_final_response().output_text)


async def async_create(client: Any) -> str:
    return chat_text(await client.chat.completions.create(**CHAT))


async def async_stream(client: Any) -> str:
    async with await client.chat.completions.create(**CHAT, stream=True) as chunks:
        return "".join([c.choices[0].delta.content or "" async for c in chunks if c.choices])


async def async_stream_helper(client: Any) -> str:
    async with _chat(client).stream(**CHAT) as events:
        return chat_text(await events.get_final_completion())


async def async_raw(client: Any) -> str:
    return chat_text((await client.chat.completions.with_raw_response.create(**CHAT)).parse())


async def async_streaming_response(client: Any) -> str:
    async with client.chat.completions.with_streaming_response.create(**CHAT) as response:
        return chat_text(await response.parse())


async def async_post(client: Any) -> str:
    body = await client.post("/chat/completions", body=CHAT, cast_to=object)
    return str(body["choices"][0]["message"]["content"])


async def async_responses(client: Any) -> str:
    return str((await client.responses.create(**RESPONSES)).output_text)


async def async_responses_stream(client: Any) -> str:
    text = ""
    async with await client.responses.create(**RESPONSES, stream=True) as events:
        async for event in events:
            if event.type == "response.output_text.delta":
                text += event.delta
    return text


async def async_responses_helper(client: Any) -> str:
    async with client.responses.stream(**RESPONSES) as events:
        return str((await events.get_final_response()).output_text)


SYNC = [
    sync_create, sync_stream, sync_stream_helper, sync_raw, sync_streaming_response, sync_post,
    sync_responses, sync_responses_stream, sync_responses_helper,
]  # fmt: skip
ASYNC = [
    async_create, async_stream, async_stream_helper, async_raw, async_streaming_response, async_post,
    async_responses, async_responses_stream, async_responses_helper,
]  # fmt: skip
STYLES = [*SYNC, *ASYNC]


def ask(style: Any, url: str, **options: Any) -> str:
    """Call in one style with a fresh client; return the text."""
    options = {"base_url": url, "api_key": "sk-test", "max_retries": 0, **options}
    if not inspect.iscoroutinefunction(style):
        with openai.OpenAI(**options) as client:
            return str(style(client))

    async def go() -> str:
        async with openai.AsyncOpenAI(**options) as client:
            return str(await style(client))

    return asyncio.run(go())


def rewrite_prompt(step: Any, history: Any) -> Any:
    if step.kind != "model_call":
        return (step,)
    return (step.with_payload(pack(json.loads(json.dumps(step.value).replace("ORIGINAL", "ALTERED")))),)


def rewrite_reply(step: Any, history: Any) -> Any:
    if step.kind != "model_reply":
        return (step,)
    return (step.with_payload(pack({**step.value, "content": "REPLACED"})),)
