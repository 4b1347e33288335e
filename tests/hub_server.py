"""A hub on this machine, for tests: what huggingface_hub asks of Hugging Face's, in memory.

It takes uploads, plain and through Git LFS, and gives them out again. Xet, a third way to upload, is
switched off by `HF_HUB_DISABLE_XET`.
"""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from local_server import LocalServer

REPO = "([^/]+/[^/]+)"
TREE = re.compile(f"/api/models/{REPO}/tree/[^/]+")
INFO = re.compile(f"/api/models/{REPO}(?:/revision/[^/]+)?")
FILE = re.compile(f"/{REPO}/resolve/[^/]+/(.+)")
PREUPLOAD = re.compile(f"/api/models/{REPO}/preupload/main")
COMMIT = re.compile(f"/api/models/{REPO}/commit/main")
BATCH = re.compile(f"/{REPO}.git/info/lfs/objects/batch")


class HubServer(LocalServer):
    """A context in which the hub runs.

    Attributes:
        repos: `{"user/name": {file name: bytes}}`.
        url: for `HF_ENDPOINT`.
        token: the only one that may upload.
        listed: `{"user/name": names}` that listings have beside those of the files.
    """

    def __init__(self, token="x"):
        self.repos, self.listed, self.objects = {}, {}, {}
        self.token = token
        super().__init__(Handler)

    def commit_of(self, repo):
        """40 hexadecimal digits that change with the files."""
        return hashlib.sha1(repr(sorted(self.repos[repo].items())).encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner = None

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if matched := FILE.fullmatch(path):
            repo, name = matched.groups()
            files = self.owner.repos.get(repo, {})
            if name not in files:
                return self.fail(404, "EntryNotFound")
            etag = hashlib.sha256(files[name]).hexdigest()
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": self.owner.commit_of(repo)}
            return self.reply(200, files[name], headers)
        matched = TREE.fullmatch(path) or INFO.fullmatch(path)
        if not matched or matched[1] not in self.owner.repos:
            return self.fail(404, "RepoNotFound")
        return self.reply(200, self.tree(matched[1]) if "/tree/" in path else self.info(matched[1]))

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        if self.headers.get("Authorization") != f"Bearer {self.owner.token}":
            return self.fail(401, None, "Invalid username or password.")
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            self.owner.repos.setdefault(repo, {})
            return self.reply(200, {"url": f"{self.owner.url}/{repo}", "id": repo, "name": repo})
        if path == "/api/validate-yaml":
            return self.reply(200, {"errors": [], "warnings": []})
        if PREUPLOAD.fullmatch(path):
            names = [file["path"] for file in json.loads(body)["files"]]
            return self.reply(200, {"files": [self.way_up(name) for name in names]})
        if BATCH.fullmatch(path):
            objects = json.loads(body)["objects"]
            for one in objects:
                one["actions"] = {"upload": {"href": f"{self.owner.url}/lfs/{one['oid']}"}}
            return self.reply(200, {"transfer": "basic", "objects": objects})
        if matched := COMMIT.fullmatch(path):
            return self.commit(matched[1], [json.loads(line) for line in body.splitlines()])
        return self.fail(404, "RepoNotFound")

    def do_PUT(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.owner.objects[self.path.rpartition("/")[2]] = data
        return self.reply(200, b"")

    def way_up(self, name):
        mode = "lfs" if name.endswith(".keras") else "regular"
        return {"path": name, "uploadMode": mode, "shouldIgnore": False}

    def commit(self, repo, lines):
        files = self.owner.repos[repo]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.owner.objects[value["oid"]]
        commit = self.owner.commit_of(repo)
        url = f"{self.owner.url}/{repo}/commit/{commit}"
        return self.reply(200, {"success": True, "commitOid": commit, "commitUrl": url})

    def names(self, repo):
        return [*self.owner.repos[repo], *self.owner.listed.get(repo, ())]

    def info(self, repo):
        files = [{"rfilename": name} for name in self.names(repo)]
        return {"id": repo, "sha": self.owner.commit_of(repo), "siblings": files}

    def tree(self, repo):
        rows = []
        for name in self.names(repo):
            data = self.owner.repos[repo].get(name, b"")
            oid = hashlib.sha1(data).hexdigest()
            rows.append({"type": "file", "path": name, "size": len(data), "oid": oid})
        return rows

    def fail(self, code, kind, message=""):
        self.reply(code, {"error": message or kind}, {"X-Error-Code": kind} if kind else {})

    def reply(self, code, content, headers=()):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass
