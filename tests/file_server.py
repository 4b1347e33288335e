"""A server of files on this machine, for tests: it can cut connections and refuse to resume."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
    """A context in which the server runs.

    Attributes:
        files: `{path: bytes}`.
        cut: `{path: number}` of bytes after which the next answer ends, once.
        ranges: whether it answers a request for the rest with the rest.
        etags: `{path: str}`; a path without one has no ETag.
        headers: `{path: {name: text}}` to send instead of those that fit; None sends none.
        status: `{path: number}` to answer with.
        authorization: what a request must have in that header; None: anything or nothing.
        asked: list of `(path, Range header or None)`.
        url: of the root.
    """

    def __init__(self, **files):
        self.files = {f"/{name}": content for name, content in files.items()}
        self.cut, self.asked, self.ranges = {}, [], True
        self.headers, self.status, self.authorization = {}, {}, None
        self.etags = {path: f'"{len(content)}"' for path, content in self.files.items()}
        handler = type("Handler", (Handler,), {"owner": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner = None

    def do_GET(self):
        served, rest = self.owner, self.headers.get("Range")
        served.asked.append((self.path, rest))
        if served.authorization not in (None, self.headers["Authorization"]):
            return self.answer(401, b"")
        if self.path == "/page":
            return self.answer(200, b"<html>sign in</html>", {"Content-Type": "text/html"})
        if self.path not in served.files:
            return self.answer(404, b"")
        content, etag = served.files[self.path], served.etags.get(self.path)
        headers = {"ETag": etag} if etag else {}
        start = 0
        if rest and served.ranges and self.headers.get("If-Range") == etag:
            start = int(rest.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.answer(206 if start else 200, content[start:], headers)

    def answer(self, status, content, headers=None):
        # Before the answer: once it has one, a test may set the cut of its next request.
        cut = self.owner.cut.pop(self.path, None)
        self.send_response(self.owner.status.get(self.path, status))
        headers = {"Content-Length": str(len(content)), **(headers or {})}
        headers |= self.owner.headers.get(self.path, {})
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        self.close_connection |= headers["Content-Length"] is None
        with contextlib.suppress(ConnectionError):  # of a client that wants no more of it
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *_):
        pass
