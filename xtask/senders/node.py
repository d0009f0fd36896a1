"""This machine as node_exporter tells it and as the server does: the same series, types and values.

Started by `cargo xtask test-senders` with the server's program and node_exporter's. Prints a line
that says how it went, and one for each series that is missing or differs.
"""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

SERVER, EXPORTER = sys.argv[1], sys.argv[2]
PATIENCE_S = 30

# About the exporter itself, or by a system call for the clock's discipline.
LEFT_OUT = re.compile(
    r"node_(scrape_collector_.*|exporter_.*|textfile_.*|timex_.*|time_zone_offset_seconds)$"
)
# What stands still between two looks.
STEADY = re.compile(
    r"node_(boot_time_seconds|uname_info|os_.*|memory_(MemTotal|SwapTotal|CommitLimit)_bytes"
    r"|filesystem_(size_bytes|files|readonly|device_error)|network_(mtu_bytes|up|info|flags|carrier"
    r"|iface_id|protocol_type|speed_bytes|transmit_queue_length)|disk_info|filefd_maximum"
    r"|entropy_pool_size_bits|nf_conntrack_entries_limit|selinux_enabled)$"
)
# Counters differ by what happened meanwhile; a wrong unit is off by more.
NEAR = re.compile(
    r"node_(cpu_seconds_total|disk_.*_total|network_.*_total|vmstat_.*|netstat_.*_(In|Out)Octets"
    r"|intr_total|context_switches_total|forks_total|time_seconds|pressure_.*)$"
)


def fetch(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def patiently(what):
    began = time.monotonic()
    while True:
        try:
            found = what()
            if found:
                return found
        except OSError:
            pass
        assert time.monotonic() - began < PATIENCE_S, "nothing answers"
        time.sleep(0.1)


def exported(text):
    """Series and types of an exposition."""
    series, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE node_"):
            _, _, name, kind = line.split()
            types[name] = kind
        elif line.startswith("node_"):
            key, value = line.rsplit(" ", 1)
            name, _, labels = key.partition("{")
            labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)
            labels = frozenset((label, text) for label, text in labels if text)
            series[name, labels] = float(value)
    return series, types


def told(url):
    query = urllib.parse.urlencode({"query": '{__name__=~"node_.*"}'})
    found = json.loads(fetch(f"{url}/api/v1/query?{query}"))["data"]["result"]
    series = {}
    for one in found:
        labels = one["metric"]
        name = labels.pop("__name__")
        assert labels.pop("instance") == "here" and labels.pop("job") == "node", labels
        series[name, frozenset(labels.items())] = float(one["value"][1])
    # File systems are asked by a thread of their own.
    return series if any(name == "node_filesystem_size_bytes" for name, _ in series) else None


def compare(exporter, url):
    expected, types = exported(exporter)
    found = patiently(lambda: told(url))
    described = json.loads(fetch(f"{url}/api/v1/metadata"))["data"]
    wrong = []
    for (name, labels), value in expected.items():
        if LEFT_OUT.match(name):
            continue
        shown = f"{name}{dict(labels)}"
        if (name, labels) not in found:
            wrong.append(f"missing: {shown}")
            continue
        own = found[name, labels]
        if STEADY.match(name) and own != value:
            wrong.append(f"{shown}: {own} and not {value}")
        if NEAR.match(name) and abs(own - value) > max(abs(value) * 0.2, 2000):
            wrong.append(f"{shown}: {own} and not about {value}")
        kind = {"untyped": "unknown"}.get(types[name], types[name])
        if described[name][0]["type"] != kind or not described[name][0]["help"]:
            wrong.append(f"{name}: {described[name]} and not {kind}")
    further = {name for name, _ in found} - {name for name, _ in expected}
    print(f"{len(expected)} series of node_exporter, {len(found)} of ours; further: {sorted(further)}")
    return sorted(set(wrong))


def main():
    options = ["--bind", "127.0.0.1:0", "--data-dir", "memory", "--instance", "here"]
    server = subprocess.Popen([SERVER, *options], stdout=subprocess.PIPE, text=True)
    # Port 0: it says which one it has.
    exporter = subprocess.Popen(
        [EXPORTER, "--web.listen-address=127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    )
    try:
        url = re.search(r"http://[^/\s]+", server.stdout.readline())[0]
        address = next(
            found[1]
            for line in exporter.stderr
            if (found := re.search(r"[Ll]istening on\D*(127\.0\.0\.1:\d+)", line))
        )
        wrong = compare(patiently(lambda: fetch(f"http://{address}/metrics")), url)
    finally:
        for process in (server, exporter):
            process.kill()
            process.wait()
    for line in wrong:
        print(f"  {line}")
    if wrong:
        print(f"FAILED node_exporter: {len(wrong)} series differ")
        sys.exit(1)
    print("ok node_exporter")


main()
