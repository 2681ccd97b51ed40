# SPDX-License-Identifier: Apache-2.0
"""A Prometheus of this test's own, in a namespace, that scrapes flowd there."""

import json
import pathlib
import signal
import subprocess
import urllib.parse

from lab.api_client import Api
from lab.programs import program
from lab.waiting import DEADLINE_S, until

PORT = 9090


def check_metrics(text):
    """What promtool has to say of an exposition; "" if nothing."""
    done = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True,
                          text=True, timeout=DEADLINE_S, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0 or said, f"promtool ends with {done.returncode}"
    return said


class Prometheus:
    def __init__(self, namespace, directory, target, rules=()):
        place = pathlib.Path(directory)
        self._log_path = place / "prometheus.log"
        config = place / "prometheus.json"  # JSON is YAML
        config.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(one) for one in rules],
            "scrape_configs": [{"job_name": "flowd", "static_configs": [{"targets": [target]}]}],
        }))
        self._log = open(self._log_path, "wb")
        self._process = namespace.popen(
            [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={place}/data",
             f"--web.listen-address=127.0.0.1:{PORT}"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._namespace = namespace

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def log(self):
        return self._log_path.read_text(errors="replace")

    def get(self, target):
        """The data of an answer; None while it does not answer."""
        assert self._process.poll() is None, self.log()
        api = Api(self._namespace, port=PORT)
        try:
            answer = api.get(target)
            return answer.json["data"] if answer.status == 200 else None
        except OSError:
            return None
        finally:
            api.close()

    def query(self, expression):
        """The result of an instant query as {labels: value}; labels in a frozenset."""
        found = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        if found is None:
            return None
        return {frozenset(one["metric"].items()): float(one["value"][1]) for one in found["result"]}

    def wait(self, expression, check, what):
        """Waits until the result of the query, which must be a proper one, passes the check."""
        def passes():
            found = self.query(expression)
            return (found,) if found is not None and check(found) else None

        return until(passes, lambda: f"{what}\n{self.log()[-3000:]}", interval=0.1)[0]
