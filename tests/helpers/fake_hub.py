"""A stand-in for the Hugging Face hub: what `huggingface_hub` asks of its API, from folders.

Repositories are folders `USER/NAME`. One commit stands for what lies in them now.
"""

import base64
import hashlib
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit


@contextmanager
def fake_hub(root):
    """Serves the repositories in a folder; gives the address for `HF_ENDPOINT`."""

    class Handler(_Handler):
        folder = Path(root)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".private"
    }


def _digest(content):
    return hashlib.sha1(content).hexdigest()


def _commit(folder):
    return _digest(b"".join(name.encode() + content for name, content in _files(folder).items()))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self):
        parts = [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]
        if parts[:2] == ["api", "models"]:
            return self._about("/".join(parts[2:4]), parts[4:])
        folder = self.folder.joinpath(*parts[:2])
        content = _files(folder).get("/".join(parts[4:])) if folder.is_dir() else None
        if content is None:
            return self._refuse("EntryNotFound")
        headers = {"X-Repo-Commit": _commit(folder), "ETag": f'"{_digest(content)}"'}
        self._send(content, 200, headers)

    do_HEAD = do_GET

    def _about(self, name, rest):
        folder = self.folder / name
        if not folder.is_dir():
            return self._refuse("RepoNotFound")
        if rest[:1] == ["tree"]:
            return self._answer(
                [
                    {"type": "file", "path": path, "size": len(data), "oid": _digest(data)}
                    for path, data in _files(folder).items()
                ]
            )
        private = (folder / ".private").exists()
        files = [{"rfilename": path} for path in _files(folder)]
        self._answer(
            {"id": name, "sha": _commit(folder), "private": private, "siblings": files, "tags": []}
        )

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = urlsplit(self.path).path.split("/")[1:]
        if self.headers.get("Authorization") != "Bearer hf_right":
            return self._answer({"error": "Invalid credentials"}, 401)
        if parts[-2:] == ["repos", "create"]:
            return self._create(json.loads(body))
        if "preupload" in parts:  # all are small enough to come with the commit
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self._answer({"files": files})
        if "commit" in parts:
            return self._take("/".join(parts[2:4]), map(json.loads, body.splitlines()))
        self._answer({"errors": [], "warnings": []})  # of the head of the card

    def _create(self, about):
        name = f"{about.get('organization') or 'someone'}/{about['name']}"
        folder, url = self.folder / name, f"{self.headers['Host']}/{name}"
        if folder.is_dir():
            return self._answer({"url": f"http://{url}", "error": "exists"}, 409)
        folder.mkdir(parents=True)
        if about.get("private") or about.get("visibility") == "private":
            (folder / ".private").touch()
        self._answer({"url": f"http://{url}", "id": name})

    def _take(self, name, operations):
        folder = self.folder / name
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                path = folder / value["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(base64.b64decode(value["content"]))
        commit = _commit(folder)
        url = f"http://{self.headers['Host']}/{name}/commit/{commit}"
        self._answer({"success": True, "commitOid": commit, "commitUrl": url})

    def _refuse(self, code):
        self._answer({"error": code}, 404, {"X-Error-Code": code})

    def _answer(self, content, status=200, headers=None):
        headers = {"Content-Type": "application/json", **(headers or {})}
        self._send(json.dumps(content).encode(), status, headers)

    def _send(self, content, status, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(content)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        pass
