"""A stand-in for a model on loopback: it misreads every number until a note in its prompt warns it."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Careless(BaseHTTPRequestHandler):
    """Answers chat requests in the form of OpenAI's."""

    seen: tuple[str, ...] = ()
    """The system prompts of the last request."""

    def do_POST(self) -> None:
        """Copy quantity and city of the last message; ten times the quantity when nothing was noted."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).seen = tuple(one["content"] for one in body["messages"] if one["role"] == "system")
        quantity, city = re.findall(r"(\d+) .* to (\w+)", body["messages"][-1]["content"])[0]
        told = any("Records of earlier mistakes" in prompt for prompt in self.seen)
        order = {"quantity": int(quantity) * (1 if told else 10), "city": city}
        message = {"role": "assistant", "content": json.dumps(order)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "careless",
            "choices": [choice],
        }
        text = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def endpoint() -> Iterator[str]:
    """Yield the base URL of the model while it runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Careless)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
