"""Where the images of Label Studio's tasks are taken from, and from nowhere else."""

import io
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from keras_cmsa.utils.extras import require
from keras_cmsa.utils.names import path_inside

MAX_FILE = 50 * 2**20  # bytes
TIMEOUT = 30  # seconds, of each step of a download
UPLOADS, LOCAL_FILES = "/data/upload/", "/data/local-files/"


class Images:
    """The one place that images of tasks are taken from: a folder or Label Studio itself.

    Args:
        folder: `Path` of the tool's folder of uploads (`media/upload`) or of its local files.
        address: of the tool instead, such as `"http://localhost:8080"`.
        token: the tool's access token, which goes to the address alone.

    Raises:
        ModuleNotFoundError: if a library is missing.
        ValueError: if there is not one place, or no token for an address.
    """

    def __init__(self, folder=None, address=None, token=None):
        if (folder is None) == (address is None):
            raise ValueError(
                "wanted one place of images: `images`, a folder, or `label_studio`, the tool's "
                f"address. Received: {'neither' if folder is None else 'both'}"
            )
        if folder is not None and not Path(folder).is_dir():
            raise ValueError(f"`images` must be a folder. Received: {folder}")
        self.folder, self.origin, self.token = folder, None, token
        if address is not None:
            parts = urlsplit(address)
            if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
                raise ValueError(
                    "`label_studio` must be an address such as http://localhost:8080. Received: "
                    f"{address}"
                )
            if not token:
                raise ValueError(
                    "`label_studio` gives images to those with a token only: give `token`, the "
                    "legacy token of Account & Settings there"
                )
            self.origin = f"{parts.scheme}://{parts.netloc}"
            self.httpx = require("httpx", "demo", "The server for Label Studio")

    def read(self, source):
        """The file of an image as an open binary file; `source` is the address in a task.

        Raises:
            FileNotFoundError, ValueError: if it lies elsewhere, is too large or cannot be had.
        """
        parts = urlsplit(source)
        origin = f"{parts.scheme}://{parts.netloc}"
        if (parts.scheme or parts.netloc) and origin != self.origin:
            raise ValueError(
                f"wanted an image of {self.origin or self.folder}. Received: {source!r:.200}"
            )
        file = io.BytesIO(self._download(parts) if self.origin else self._content(parts))
        file.name = source  # in errors
        return file

    def _content(self, parts):
        name = ""
        if parts.path.startswith(UPLOADS):
            name = unquote(parts.path.removeprefix(UPLOADS))
        elif parts.path.rstrip("/") == LOCAL_FILES.rstrip("/"):
            name = parse_qs(parts.query).get("d", [""])[0]
        with open(path_inside(self.folder, name, f"image {parts.geturl()!r:.200}"), "rb") as file:
            content = file.read(MAX_FILE + 1)
        return check_bytes(content, parts)

    def _download(self, parts):
        url = f"{self.origin}/{parts.path.lstrip('/')}?{parts.query}"
        headers, content = {"Authorization": f"Token {self.token}"}, bytearray()
        try:  # no redirect is followed, since it may lead elsewhere
            with self.httpx.stream("GET", url, headers=headers, timeout=TIMEOUT) as answer:
                if answer.status_code != 200:
                    raise ValueError(
                        f"wanted the image {url} with this token. Received: status "
                        f"{answer.status_code} of Label Studio"
                    )
                for part in answer.iter_bytes():
                    content += part
                    check_bytes(content, parts)
        except (self.httpx.HTTPError, self.httpx.InvalidURL) as error:
            raise ValueError(f"wanted the image {url}. Received: {error}") from error
        return content


def check_bytes(content, parts):
    """The bytes of an image, which must be at most `MAX_FILE`."""
    if len(content) > MAX_FILE:
        raise ValueError(
            f"wanted an image of at most {MAX_FILE:,} bytes. Received: more, {parts.path!r:.200}"
        )
    return content
