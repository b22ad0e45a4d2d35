"""A scripted OpenAI-compatible server on loopback: chat and responses, JSON and SSE, tools, errors."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

Reply = dict[str, Any]
Handler = Callable[[str, dict[str, Any]], "Reply | str"]
"""(path, body) → text, or {"content", "tool_calls": [(name, arguments)], "status", "error", "gzip", …}.

Further keys: `delay` seconds, `headers`, `hang_up` (close without an answer), `usage` (in, out),
`chunk` (bytes per network write of a stream), `raw` (the body as is), `extra` (fields of the JSON).
"""


def texts_of(body: dict[str, Any]) -> list[str]:
    """Return every text of a request, in order, whatever API it uses."""
    found: list[str] = []
    items = body.get("messages") or body.get("input") or []
    if isinstance(items, str):
        items = [{"content": items}]
    for item in items:
        for key in ("content", "output"):
            content = item.get(key)
            if isinstance(content, str):
                found.append(content)
            elif isinstance(content, list):
                found += [part["text"] for part in content if isinstance(part.get("text"), str)]
    return found


def echo(path: str, body: dict[str, Any]) -> str:
    """Answer with the last text of the request."""
    return f"echo: {(texts_of(body) or [''])[-1][-200:]}"


class FakeOpenAI:
    """Guards one listening socket and what was asked over it (`requests`: path and body, in order)."""

    def __init__(self, handler: Handler = echo) -> None:
        self.handler = handler
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self._ids = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-openai", daemon=True)

    @property
    def url(self) -> str:
        """Return the base URL for an SDK."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """Return the request bodies received so far."""
        return [body for _, body in self.requests]

    def __enter__(self) -> FakeOpenAI:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _shut(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if ": " in line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        body = json.loads(raw) if raw else {}
        self.requests.append((path, body))
        self.headers.append(headers)
        reply = self.handler(path, body)
        if isinstance(reply, str):
            reply = {"content": reply}
        if reply.get("delay"):
            await asyncio.sleep(reply["delay"])
        if reply.get("hang_up"):
            return False
        await self._answer(writer, path, body, reply)
        return True

    async def _answer(
        self, writer: asyncio.StreamWriter, path: str, body: dict[str, Any], reply: Reply
    ) -> None:
        status = reply.get("status", 200)
        extra = {"content-type": "application/json", **reply.get("headers", {})}
        if status == 200 and body.get("stream"):
            extra["content-type"] = "text/event-stream"
            events = self._response_events if "responses" in path else self._chat_events
            data = b"".join(events(body, reply))
        elif "raw" in reply:
            data = reply["raw"]
        elif status != 200:
            error = {"message": "scripted error", "type": "fake", "code": None, **reply.get("error", {})}
            data = json.dumps({"error": error}).encode()
        else:
            whole = self.response(body, reply) if "responses" in path else self.chat(body, reply)
            data = json.dumps({**whole, **reply.get("extra", {})}).encode()
        if reply.get("gzip"):
            data = gzip.compress(data)
            extra["content-encoding"] = "gzip"
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(data)}"]
        lines += [f"{key}: {value}" for key, value in extra.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        size = reply.get("chunk", len(data) or 1)
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            await writer.drain()

    def _usage(self, reply: Reply) -> tuple[int, int]:
        tokens: tuple[int, int] = reply.get("usage", (10, 5))
        return tokens

    def chat(self, body: dict[str, Any], reply: Reply) -> dict[str, Any]:
        """Return a chat completion."""
        message: dict[str, Any] = {"role": "assistant", "content": reply.get("content")}
        if reply.get("tool_calls"):
            message["tool_calls"] = [
                {
                    "id": f"call_{next(self._ids)}",
                    "type": "function",
                    "function": {"name": name, "arguments": arguments},
                }
                for name, arguments in reply["tool_calls"]
            ]
        tokens_in, tokens_out = self._usage(reply)
        return {
            "id": f"chatcmpl-{next(self._ids)}",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": body.get("model", "fake"),
            "system_fingerprint": "fp_fake",
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": "tool_calls" if reply.get("tool_calls") else "stop",
                }
            ],
            "usage": {
                "prompt_tokens": tokens_in,
                "completion_tokens": tokens_out,
                "total_tokens": tokens_in + tokens_out,
            },
        }

    def _chat_events(self, body: dict[str, Any], reply: Reply) -> Iterator[bytes]:
        whole = self.chat(body, reply)
        usage, choice = whole.pop("usage"), whole.pop("choices")[0]
        whole["object"] = "chat.completion.chunk"

        def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
            choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
            return b"data: " + json.dumps({**whole, "choices": choices}).encode() + b"\n\n"

        yield event({"role": "assistant", "content": ""})
        for index, call in enumerate(choice["message"].get("tool_calls", [])):
            arguments = call["function"]["arguments"]
            begin = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
            yield event({"tool_calls": [begin]})
            for piece in (arguments[:3], arguments[3:]):
                yield event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        for word in _words(reply.get("content") or ""):
            yield event({"content": word})
        yield event({}, choice["finish_reason"])
        if (body.get("stream_options") or {}).get("include_usage"):
            yield b"data: " + json.dumps({**whole, "choices": [], "usage": usage}).encode() + b"\n\n"
        yield b"data: [DONE]\n\n"

    def response(self, body: dict[str, Any], reply: Reply) -> dict[str, Any]:
        """Return a response object of the Responses API."""
        output: list[dict[str, Any]] = []
        if reply.get("content") is not None:
            part = {"type": "output_text", "text": reply["content"], "annotations": [], "logprobs": []}
            output.append(
                {
                    "type": "message",
                    "id": f"msg_{next(self._ids)}",
                    "status": "completed",
                    "role": "assistant",
                    "content": [part],
                }
            )
        for name, arguments in reply.get("tool_calls") or []:
            number = next(self._ids)
            output.append(
                {
                    "type": "function_call",
                    "id": f"fc_{number}",
                    "call_id": f"call_{number}",
                    "name": name,
                    "arguments": arguments,
                    "status": "completed",
                }
            )
        tokens_in, tokens_out = self._usage(reply)
        return {
            "id": f"resp_{next(self._ids)}",
            "object": "response",
            "created_at": 1_700_000_000,
            "status": "completed",
            "model": body.get("model", "fake"),
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "temperature": 1.0,
            "top_p": 1.0,
            "usage": {
                "input_tokens": tokens_in,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": tokens_out,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": tokens_in + tokens_out,
            },
        }

    def _response_events(self, body: dict[str, Any], reply: Reply) -> Iterator[bytes]:
        whole = self.response(body, reply)
        numbers = itertools.count()

        def event(kind: str, **more: Any) -> bytes:
            value = json.dumps({"type": kind, "sequence_number": next(numbers), **more})
            return f"event: {kind}\ndata: {value}\n\n".encode()

        yield event(
            "response.created", response={**whole, "output": [], "status": "in_progress", "usage": None}
        )
        for index, item in enumerate(whole["output"]):
            place = {"output_index": index, "item_id": item["id"]}
            empty = {"content": []} if item["type"] == "message" else {"arguments": ""}
            yield event(
                "response.output_item.added",
                output_index=index,
                item={**item, **empty, "status": "in_progress"},
            )
            if item["type"] == "message":
                part = item["content"][0]
                here = {**place, "content_index": 0}
                yield event("response.content_part.added", **here, part={**part, "text": ""})
                for word in _words(part["text"]):
                    yield event("response.output_text.delta", **here, delta=word, logprobs=[])
                yield event("response.output_text.done", **here, text=part["text"], logprobs=[])
                yield event("response.content_part.done", **here, part=part)
            else:
                text = item["arguments"]
                yield event("response.function_call_arguments.delta", **place, delta=text)
                yield event(
                    "response.function_call_arguments.done", **place, arguments=text, name=item["name"]
                )
            yield event("response.output_item.done", output_index=index, item=item)
        yield event("response.completed", response=whole)


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + [words[-1]] if text else []
