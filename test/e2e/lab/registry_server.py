# SPDX-License-Identifier: Apache-2.0
"""A web server in a namespace that has a registry, and ways of not giving it out."""

import contextlib
import http.server
import json
import socket
import ssl
import subprocess
import threading

ADDRESS = "127.0.0.1"
HUGE = 3 << 20


def registry(**experiments):
    """The text of a registry: name=(number, {activity: number})."""
    return json.dumps({"experiments": [
        {"expName": name.replace("_", " "), "expId": number,
         "activities": [{"activityName": its, "activityId": activity} for its, activity in activities.items()]}
        for name, (number, activities) in experiments.items()]})


def certificate(directory, name=f"IP:{ADDRESS}"):
    """A certificate that vouches for itself, and its key. Returns their path."""
    path = directory / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=registry", "-addext", f"subjectAltName={name}", "-days", "2", "-keyout", str(path),
         "-out", str(path) + ".crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + (directory / "certificate.pem.crt").read_text())
    path.chmod(0o644)
    return path


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def do_GET(self):
        server = self.server.owner
        server.requests.append({**self.headers, "path": self.path})
        mode, body = server.mode, server.body.encode()
        if mode == "never":
            server.closing.wait()
        elif mode == "drip":
            self.send_response(200)
            self.send_header("Content-Length", str(HUGE))
            self.end_headers()
            with contextlib.suppress(OSError):
                while not server.closing.wait(0.05):
                    self.wfile.write(b" ")
        elif mode == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + 100))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True
        elif mode == "loop":
            self._answer(302, Location=self.path)
        elif isinstance(mode, str) and mode.startswith("http"):
            self._answer(301, Location=mode)
        elif isinstance(mode, int):
            self._answer(mode, b"no registry")
        elif server.etag and self.headers.get("If-None-Match") == server.etag:
            self._answer(304, ETag=server.etag)
        elif server.modified and self.headers.get("If-Modified-Since") == server.modified:
            self._answer(304)
        else:
            headers = {"ETag": server.etag, "Last_Modified": server.modified}
            self._answer(200, body, **{name: value for name, value in headers.items() if value})


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Who hangs up in the middle is what some tests are about."""


class RegistryServer:
    """
    `mode`: "ok", "never", "drip", "cut", "loop", a URL to redirect to, or a status. Body, ETag and
    Last-Modified may change at any time. It answers for every path, and as a proxy too.
    """

    def __init__(self, namespace, body, certificate=None, port=0, host=ADDRESS):
        self.mode, self.body, self.etag, self.modified, self.requests = "ok", body, None, None, []
        self.closing = threading.Event()
        listener = namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        listener.listen(16)
        self.port = listener.getsockname()[1]
        self.url = f"http{'s' if certificate else ''}://{host}:{self.port}/api.json"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            listener = context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)
        self._server = _Server((ADDRESS, self.port), _Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self):
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
