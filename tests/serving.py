"""A server of made-up archives on this machine, with the faults that real ones have."""

import hashlib
import io
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """The files of a server by path, its faults, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)  # by path and query, for interfaces
    redirects: dict[str, str] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)  # bytes after which the next answers of a path break off
    statuses: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    validators: bool = True
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)  # method, path, headers
    address: str = ""

    def paths(self):
        return [path for _, path, _ in self.asked]

    def add(self, path, content):
        self.files[path] = content
        return f"{self.address}{path}"


@contextmanager
def serving():
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            served.asked.append(("GET", self.path, dict(self.headers)))
            path = self.path.partition("?")[0]
            if self.path in served.answers:
                return self.answer(served.answers[self.path])
            if path in served.redirects:
                return self.empty(302, Location=served.redirects[path])
            if path in served.statuses:
                return self.empty(served.statuses[path])
            if path not in served.files:
                return self.empty(404)
            return self.send_file(path, served.files[path])

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            served.asked.append(("POST", self.path, {"body": body.decode()} | dict(self.headers)))
            if b"password=secret" in body:
                return self.empty(302, Location="/", **{"Set-Cookie": "session=known; Path=/"})
            return self.empty(200)

        def empty(self, status, **headers):
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def answer(self, content):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def send_file(self, path, content):
            begin, etag = 0, f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            wanted = self.headers.get("Range", "")
            same = self.headers.get("If-Range", etag) == etag
            if wanted and served.ranges and same:
                begin = int(wanted.removeprefix("bytes=").rstrip("-"))
                if begin >= len(content):
                    return self.empty(416, **{"Content-Range": f"bytes */{len(content)}"})
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(content) - begin))
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            if served.validators:
                self.send_header("ETag", etag)
            self.end_headers()
            cuts = served.cut.get(path)
            if cuts:
                self.wfile.write(content[begin : begin + cuts.pop(0)])
                self.close_connection = True
                return None
            self.wfile.write(content[begin:])
            return None

        def log_message(self, *_):
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            """Say nothing of clients that hang up: some of these tests do."""

    server = Quiet(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def packed(members, name="a.zip"):
    """The bytes of an archive, of a kind that its name says, with these members."""
    written = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(written, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
    else:
        with tarfile.open(fileobj=written, mode="w:gz" if name.endswith("gz") else "w") as archive:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return written.getvalue()
