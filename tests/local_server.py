"""A server on this machine that runs as a context, for tests."""

import threading
from http.server import ThreadingHTTPServer


class LocalServer:
    """Serves in a thread of its own while the context lasts.

    Args:
        handler: subclass of `BaseHTTPRequestHandler`; its `owner` becomes this object.

    Attributes:
        url: of the root.
    """

    def __init__(self, handler):
        handler = type("Handler", (handler,), {"owner": self})
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
