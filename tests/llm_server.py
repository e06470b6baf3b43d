"""A small OpenAI-compatible server on loopback that answers from a script and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

KEY = "sk-loopback-5f2a91c07e"


def good_prompts(name: str, n: int) -> list[str]:
    """Return ``n`` valid prompts for a class."""
    return [f"Photo {i} shows one dark {name}." for i in range(n)]


def completion(content: str | None, finish_reason: str = "stop", **message: object) -> tuple[int, dict, bytes]:
    """Return a chat completion with this content as (status, headers, body)."""
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "tiny-llm-2026",
        "system_fingerprint": "fp_1",
        "usage": {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16},
        "choices": [
            {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": content} | message}
        ],
    }
    return 200, {}, json.dumps(answer).encode()


def answer(prompts: list[str]) -> tuple[int, dict, bytes]:
    """Return a chat completion that holds these prompts."""
    return completion(json.dumps({"prompts": prompts}))


def failure(status: int, code: str, message: str = "it failed", **headers: str) -> tuple[int, dict, bytes]:
    """Return an error as OpenAI's servers word it."""
    return status, headers, json.dumps({"error": {"message": message, "type": code, "code": code}}).encode()


HANG, DRIP = "hang", "drip"  # no answer; one byte of it each 50 ms, for as long as it is read


@contextmanager
def serve(*script: tuple | str | Callable) -> Iterator[SimpleNamespace]:
    """Answer each request by the script's next entry, and by valid prompts after its end.

    An entry is (status, headers, body), a function that makes one of the request's body, ``HANG`` or ``DRIP``.

    Yields:
        ``url``, ``requests`` (bodies received) and ``tasks`` (their user messages, parsed).
    """
    script, lock, ended = list(script), threading.Lock(), threading.Event()
    seen = SimpleNamespace(url="", requests=[], tasks=[])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            task = json.loads(body["messages"][1]["content"])
            with lock:
                seen.requests.append(body)
                seen.tasks.append(task)
                reply = script.pop(0) if script else answer(good_prompts(task["class_name"], task["n_prompts"]))
            key = self.headers["Authorization"].removeprefix("Bearer ")
            if key != KEY:
                reply = failure(401, "invalid_api_key", f"Incorrect API key provided: {key}")
            reply = reply(body) if callable(reply) else reply
            if reply == HANG:
                ended.wait(10)
                return
            if reply == DRIP:
                self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
                while not ended.wait(0.05):
                    self.wfile.write(b" ")
                return
            status, headers, content = reply
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": len(content), **headers}.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    seen.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
