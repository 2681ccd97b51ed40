# SPDX-License-Identifier: Apache-2.0
"""
nginx before StoRM WebDAV: StoRM writes the line of the start and has nginx send the file, and nginx
writes the line of the end as its access log. In that line, as StoRM's manual has it, the two numbers
are the wrong way round: the end is the flow's all the same.
"""

import http.server
import os
import re
import socket
import subprocess
import threading

import pytest

from lab.api_client import Api
from lab.collector import Collector
from lab.daemon_config import base_config
from lab.netns import Pair
from lab.programs import program
from lab.waiting import until

PORT, STORM_PORT = 8443, 8086
EXPERIMENT, ACTIVITY = 2, 17
SIZE = 64 << 20
CONFIG = """
daemon off;
error_log {place}/error.log info;
pid {place}/pid;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  access_log off;
  log_format flowd 'end tcp $server_addr $server_port $remote_addr $remote_port '
                   '$upstream_http_x_scitag_actid $upstream_http_x_scitag_expid';
  upstream storm-webdav {{ keepalive 2; server 127.0.0.1:{storm}; }}
  server {{
    listen [::]:{port};
    location /.storm-webdav/internal/get {{
      internal;
      alias /;
      sendfile on;
      if ($upstream_http_x_scitag_actid) {{ access_log {fifo} flowd; }}
    }}
    location / {{
      proxy_pass http://storm-webdav;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Forwarded 'by="[$server_addr]:$server_port";for="[$remote_addr]:$remote_port"';
    }}
  }}
}}
"""


class Storm:
    """What StoRM WebDAV does for a GET: the line of the start where a tag is given, and nginx's redirection."""

    def __init__(self, space, fifo, file):
        storm = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # pylint: disable=invalid-name
                self.send_response(200)
                if "SciTag" in self.headers:
                    experiment, activity = divmod(int(self.headers["SciTag"]), 64)
                    storm.start(self.headers["Forwarded"], experiment, activity)
                    self.send_header("X-SciTag-actId", str(activity))
                    self.send_header("X-SciTag-expId", str(experiment))
                self.send_header("X-Accel-Redirect", f"/.storm-webdav/internal/get{file}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):  # pylint: disable=arguments-differ
                pass

        self.fifo, self.keys = fifo, []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", STORM_PORT), Handler, bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = space.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.server.daemon_threads = True
        self.server.server_bind()
        self.server.server_activate()
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def start(self, forwarded, experiment, activity):
        (near, port), (far, far_port) = re.findall(r"\[([^]]+)\]:(\d+)", forwarded)
        self.keys.append(("tcp", near, int(port), far, int(far_port)))
        pipe = os.open(self.fifo, os.O_RDWR)
        try:
            os.write(pipe, f"start tcp {near} {port} {far} {far_port} {experiment} {activity}\n".encode())
        finally:
            os.close(pipe)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def storage(make_flowd, pair, directory):
    """flowd, the part of StoRM, and nginx on the near side. Nothing but lines ends a flow."""
    server = program("nginx")
    config = base_config(directory)
    config["flows"] = {"endOnClose": False}
    config["backends"] = {"firefly": {}}
    daemon = make_flowd(pair.near, config).start()
    daemon.api = Api(pair.near)
    place = directory / "nginx"
    place.mkdir()
    place.chmod(0o755)
    file = place / "file"
    file.write_bytes(os.urandom(SIZE))
    (place / "nginx.conf").write_text(
        CONFIG.format(place=place, storm=STORM_PORT, port=PORT, fifo=daemon.fifo_path))
    with Storm(pair.near, daemon.fifo_path, file) as daemon.storm:
        process = pair.near.popen([server, "-p", place, "-e", place / "error.log", "-c", place / "nginx.conf"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def listens():
            assert process.poll() is None, (place / "error.log").read_text()
            return f":{PORT}" in pair.near.run("ss", "-Hltn").stdout

        try:
            until(listens, "nginx listens")
            yield daemon
        finally:
            process.terminate()
            process.wait()


def curl(*arguments):
    return ["curl", "-6", "--interface", Pair.FAR, "-sS", "--fail", "-o", "/dev/null", *arguments]


TAG = ("-H", f"SciTag: {EXPERIMENT * 64 + ACTIVITY}")
URL = f"http://[{Pair.NEAR}]:{PORT}/file"


def ended(daemon):
    return daemon.api.status()["events"]["namedPipe"]["end"]


def test_a_flow_lives_as_long_as_its_request(storage, pair):
    """A client that is in no hurry: the flow is there while the file is sent, and is over with it."""
    with Collector(pair.far, Pair.FAR) as collector:
        client = pair.far.popen(curl("--limit-rate", "1M", *TAG, URL))
        try:
            until(lambda: storage.api.live() == 1, "the flow of the request")
            flow = storage.api.flows()[0]
            assert (flow["protocol"], flow["src"], flow["srcPort"], flow["dst"], flow["dstPort"]) == storage.storm.keys[0]
            assert (flow["experiment"], flow["activity"]) == (EXPERIMENT, ACTIVITY)
            assert client.poll() is None
        finally:
            client.terminate()
            client.wait()
        until(lambda: storage.api.live() == 0, "the end by nginx's line")
        start, end = collector.wait(2)
        assert (start.state, end.state) == ("start", "end")
        assert start.key == end.key == storage.storm.keys[0]
        assert start.tag == end.tag == (EXPERIMENT, ACTIVITY)
    assert ended(storage)["ended"] == 1


def test_each_request_of_a_connection(storage, pair):
    """Three requests one after the other over one connection: three flows with the same addresses and ports."""
    done = pair.far.run(*curl("-w", "%{num_connects} %{size_download}\n", *TAG, URL, "-o", "/dev/null", URL,
                              "-o", "/dev/null", URL))
    assert [one.split() for one in done.stdout.splitlines()] == [
        ["1", str(SIZE)], ["0", str(SIZE)], ["0", str(SIZE)]]
    until(lambda: ended(storage)["ended"] == 3, "three ends")
    assert len(storage.storm.keys) == 3 and len(set(storage.storm.keys)) == 1
    events = storage.api.status()["events"]["namedPipe"]
    assert events["start"]["started"] == 3 and events["malformed"] == 0
    assert storage.api.live() == 0


def test_a_request_without_a_tag_is_no_flow(storage, pair):
    pair.far.run(*curl(URL))
    pair.far.run(*curl(*TAG, URL))
    until(lambda: ended(storage)["ended"] == 1, "the end of the request with a tag")
    events = storage.api.status()["events"]["namedPipe"]
    assert events["start"]["started"] == 1 and events["malformed"] == 0
