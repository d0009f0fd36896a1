"""A rule of the server fires, and a real Alertmanager that its configuration names lists the alert.

Started by `cargo xtask test-senders` with the server's program and Alertmanager's. Prints a line that
says how it went.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

SERVER, ALERTMANAGER = sys.argv[1], sys.argv[2]
PATIENCE_S = 30

RULES = """
groups:
- name: shop
  interval: 1s
  rules:
  - alert: OrdersHigh
    expr: orders > 10
    labels: {severity: page}
    annotations: {summary: "{{ $value }} orders"}
"""


def fetch(url, body=None):
    with urllib.request.urlopen(url, data=body, timeout=20) as answer:
        return answer.read().decode()


def patiently(what, found):
    began = time.monotonic()
    while not found(said := what()):
        assert time.monotonic() - began < PATIENCE_S, f"waited in vain; last: {said}"
        time.sleep(0.2)
    return said


def begin(folder, running):
    (folder / "am.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    options = [f"--config.file={folder}/am.yml", f"--storage.path={folder}/am"]
    options += ["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="]
    log = subprocess.PIPE
    alertmanager = subprocess.Popen([ALERTMANAGER, *options], stderr=log, text=True)
    running.append(alertmanager)
    # Port 0: it says which one it has.
    address = next(
        found[1]
        for line in alertmanager.stderr
        if (found := re.search(r"[Ll]istening on\D*(127\.0\.0\.1:\d+)", line))
    )
    (folder / "rules.yml").write_text(RULES)
    (folder / "prometheus.yml").write_text(
        "global: {external_labels: {site: senders}}\nrule_files: [rules.yml]\n"
        f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}\n"
    )
    options = ["--bind", "127.0.0.1:0", "--data-dir", "memory", "--source", "none"]
    options += ["--prometheus-config", f"{folder}/prometheus.yml"]
    server = subprocess.Popen([SERVER, *options], stdout=subprocess.PIPE, text=True)
    running.append(server)
    url = re.search(r"http://[^/\s]+", server.stdout.readline())[0]
    return url, f"http://{address}/api/v2/alerts"


def check(url, alerts):
    def orders(value):
        fetch(f"{url}/push", f"orders {value}\n".encode())
        return json.loads(fetch(alerts))

    (alert,) = patiently(lambda: orders(20), bool)
    labels = {"alertname": "OrdersHigh", "severity": "page", "site": "senders"}
    assert alert["labels"] == labels, alert
    assert alert["annotations"] == {"summary": "20 orders"}, alert
    assert alert["status"]["state"] == "active", alert
    assert alert["generatorURL"].endswith("g0.expr=orders+%3E+10&g0.tab=1"), alert
    # What is over is listed no more.
    patiently(lambda: orders(1), lambda listed: not listed)


def main():
    running = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            check(*begin(Path(folder), running))
    except Exception as error:
        print(f"FAILED alertmanager: {error!r}")
        sys.exit(1)
    finally:
        for process in running:
            process.kill()
            process.wait()
    print("ok alertmanager")


main()
