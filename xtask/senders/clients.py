"""Real clients of Prometheus' API at the server: promtool, a Prometheus that federates, one that reads
remotely, one that writes and is scraped, and the clients from PyPI and npm. What they say of the server
is what they say of a real Prometheus with the same samples; a second tenant has others.

Started by `cargo xtask test-senders` with the server's program. Prints a line for each client.
"""

import datetime
import http.server
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

import api

SERVER = sys.argv[1]
END_S = int(time.time()) // 60 * 60 - 60
ADMIN, RED, BLUE = "clients-admin-token-1", "clients-red-token-22", "clients-blue-token-3"


def series(factor):
    """Half an hour of a few series; a tenant's are those of the other times a factor."""
    times = [END_S * 1000 - 1_800_000 + number * 15_000 + 150 for number in range(120)]

    def one(value, **labels):
        return labels, [(at, value(number) * factor) for number, at in enumerate(times)]

    made = [one(lambda n, m=m: float(n * m), __name__="hits_total", job="web", code=c) for c, m in [("200", 3), ("500", 1)]]
    made += [one(lambda n: 1 + n % 8 / 4, __name__="load", instance=name, job="host") for name in ["a:1", "b:1"]]
    for le, share in [("0.1", 1), ("1", 3), ("+Inf", 4)]:
        made.append(one(lambda n, share=share: float(n * share), __name__="took_seconds_bucket", le=le))
    return made


class Both:
    """The server with two tenants, and a Prometheus that has what the red one has."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.theirs = api.prometheus(
            f"{self.folder.name}/theirs", {"global": {"scrape_interval": "15s"}}, "--web.enable-remote-write-receiver"
        )
        self.ours = api.pulseboard(
            SERVER,
            f"{self.folder.name}/ours",
            AUTH_TOKENS=f"{ADMIN}=admin,{RED}=admin@red,{BLUE}=admin@blue",
            ANONYMOUS_ROLE="none",
        )
        self.theirs.write(series(1))
        self.ours.write(series(1), bearer(RED))
        self.ours.write(series(100), bearer(BLUE))
        return self

    def __exit__(self, *_):
        self.ours.__exit__()
        self.theirs.__exit__()
        self.folder.cleanup()

    def with_token(self, token):
        """Our address as one that cannot set headers is told it."""
        return self.ours.url.replace("http://", f"http://any:{token}@")


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **more)
    return done.returncode, done.stdout, done.stderr


def promtool(both):
    """`query` in all its forms says of both the same, but for what it asked."""
    tool = api.program("promtool")
    at, start = str(END_S - 60), str(END_S - 660)
    questions = [
        ["instant", "--time", at, "{}", "load"],
        ["instant", "--time", at, "{}", "sum by (code) (rate(hits_total[5m]))"],
        ["instant", "--time", at, "{}", "histogram_quantile(0.9, rate(took_seconds_bucket[5m]))"],
        ["instant", "--time", at, "{}", "1+1"],
        ["instant", "--time", at, "{}", "load[1m]"],
        ["instant", "--time", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(END_S - 60)), "{}", "load"],
        ["instant", "--time", at, "{}", "missing"],
        ["instant", "--time", at, "{}", "sum("],
        ["range", "--start", start, "--end", at, "--step", "1m", "{}", "hits_total"],
        ["range", "--start", start, "--end", at, "--step", "30s", "{}", 'max_over_time(load{job="host"}[2m])'],
        ["range", "--start", start, "--end", at, "{}", "avg(load)"],
        ["range", "--start", start, "--end", at, "--step", "1m", "{}", "load[5m]"],
        ["series", "--match", "load", "{}"],
        ["series", "--match", "load", "--match", '{code="500"}', "--start", start, "--end", at, "{}"],
        ["series", "--match", "{", "{}"],
        ["labels", "{}", "job"],
        ["labels", "{}", "__name__"],
        ["labels", "--match", "load", "--start", start, "--end", at, "{}", "instance"],
        ["labels", "{}", "missing"],
    ]
    for question in questions:
        for form in ["promql", "json"]:
            said = []
            for url in [both.theirs.url, both.with_token(RED), both.with_token(BLUE)]:
                command = [tool, "query", *question[:1], "-o", form, *question[1:]]
                said.append(run([word.replace("{}", url, 1) if word == "{}" else word for word in command]))
            theirs, red, blue = said
            assert theirs[:2] == red[:2], (question, form, theirs, red)
            # What is wrong is said in other words by 2.42, at the same place of the expression.
            assert bool(theirs[2]) == bool(red[2]), (question, theirs, red)
            wants_values = question[0] in ("instant", "range") and theirs[0] == 0
            if wants_values and "load" in question[-1]:
                assert blue[0] == 0 and blue[1] != red[1], (question, blue)
            else:
                assert blue[0] == red[0], (question, blue)


# Files, and whether both take them (`!` where neither does). Where they differ is in README.md.
CONFIGS = {
    "nothing": "",
    "a job": "scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: ['a:1']\n    labels: {x: y}\n",
    "all of global": "global:\n  scrape_interval: 10s\n  scrape_timeout: 5s\n  evaluation_interval: 1m\n  external_labels: {a: b}\n",
    "relabelling": "scrape_configs:\n- job_name: a\n  relabel_configs:\n"
    "  - {source_labels: [__address__], regex: '(.*):\\d+', target_label: host, replacement: '$1'}\n"
    "  - {action: labelmap, regex: __meta_(.+)}\n  - {action: drop, source_labels: [host], regex: x}\n"
    "  - {action: hashmod, source_labels: [host], modulus: 4, target_label: shard}\n"
    "  - {action: labeldrop, regex: tmp}\n  - {action: lowercase, source_labels: [host], target_label: host}\n",
    "how it is asked": "scrape_configs:\n- job_name: a\n  metrics_path: /m\n  scheme: https\n  params: {module: [http_2xx]}\n"
    "  basic_auth: {username: u, password: p}\n  honor_labels: true\n  honor_timestamps: false\n"
    "  tls_config: {insecure_skip_verify: true}\n  sample_limit: 10\n  follow_redirects: false\n",
    "files and urls": "scrape_configs:\n- job_name: a\n  file_sd_configs: [{files: ['t/*.json']}]\n"
    "- job_name: b\n  http_sd_configs: [{url: 'http://a/b', refresh_interval: 5s}]\n"
    "- job_name: c\n  dns_sd_configs: [{names: [a.example], type: A, port: 80}]\n",
    "rules and alerting": "rule_files: ['rules/*.yml']\nalerting:\n  alertmanagers:\n  - static_configs: [{targets: ['am:9093']}]\n",
    "remote": "remote_write: [{url: 'http://a/write'}]\nremote_read: [{url: 'http://a/read', read_recent: true}]\n",
    "a comment": "# nothing else\n",
    "an anchor": "scrape_configs:\n- &a {job_name: a, scrape_interval: 5s}\n",
    "!unknown at the top": "scrapes: []\n",
    "!unknown in global": "global: {scrape_every: 1s}\n",
    "!unknown in a job": "scrape_configs: [{job_name: a, targets: [b]}]\n",
    "!no name": "scrape_configs: [{scrape_interval: 1s}]\n",
    "!twice": "scrape_configs: [{job_name: a}, {job_name: a}]\n",
    "!no duration": "global: {scrape_interval: soon}\n",
    "!a duration without a unit": "global: {scrape_interval: 15}\n",
    "!a timeout that is longer": "scrape_configs: [{job_name: a, scrape_interval: 1s, scrape_timeout: 2s}]\n",
    "!no pattern": "scrape_configs: [{job_name: a, relabel_configs: [{source_labels: [b], regex: '(', target_label: c}]}]\n",
    "!no action": "scrape_configs: [{job_name: a, relabel_configs: [{action: move}]}]\n",
    "!nowhere to": "scrape_configs: [{job_name: a, relabel_configs: [{source_labels: [b]}]}]\n",
    "!no modulus": "scrape_configs: [{job_name: a, relabel_configs: [{action: hashmod, source_labels: [b], target_label: c}]}]\n",
    "!two passwords": "scrape_configs: [{job_name: a, basic_auth: {username: b, password: c, password_file: d}}]\n",
    "!two credentials": "scrape_configs: [{job_name: a, bearer_token: b, basic_auth: {username: b, password: c}}]\n",
    "!a target with a path": "scrape_configs: [{job_name: a, static_configs: [{targets: ['http://a/b']}]}]\n",
    "!a file that is none": "scrape_configs: [{job_name: a, file_sd_configs: [{files: [a.txt]}]}]\n",
    "!a list where there is none": "global: [1]\n",
    "!no YAML": "a: [\n",
    "!a tabulator": "global:\n\tscrape_interval: 1s\n",
    "!twice a key": "global: {}\nglobal: {}\n",
    "!no url": "scrape_configs: [{job_name: a, http_sd_configs: [{}]}]\n",
    "!remote without a url": "remote_write: [{name: a}]\n",
    "!no names": "scrape_configs: [{job_name: a, dns_sd_configs: [{names: []}]}]\n",
    "!no port": "scrape_configs: [{job_name: a, dns_sd_configs: [{names: [b], type: A}]}]\n",
    "!an address without a scheme": "scrape_configs: [{job_name: a, http_sd_configs: [{url: b/c}]}]\n",
    "!an address of another scheme": "scrape_configs: [{job_name: a, http_sd_configs: [{url: 'ftp://b/c'}]}]\n",
    "!no files": "scrape_configs: [{job_name: a, file_sd_configs: [{files: []}]}]\n",
    "!a wildcard for folders": "scrape_configs: [{job_name: a, file_sd_configs: [{files: ['b/*/c.json']}]}]\n",
    "!a wildcard for folders of rules": "rule_files: ['a/*/b.yml']\n",
    "!a limit below nothing": "scrape_configs: [{job_name: a, sample_limit: -1}]\n",
    "!no size": "scrape_configs: [{job_name: a, body_size_limit: 10XB}]\n",
    "!a key alone": "scrape_configs: [{job_name: a, tls_config: {cert_file: b}}]\n",
    "!more than labelkeep takes": "scrape_configs: [{job_name: a, relabel_configs: [{action: labelkeep, source_labels: [b], regex: c}]}]\n",
    "!lowercase to nowhere": "scrape_configs: [{job_name: a, relabel_configs: [{action: lowercase, source_labels: [b]}]}]\n",
    "pages as targets": "scrape_configs:\n- job_name: a\n  metrics_path: /probe\n  static_configs: [{targets: ['b:1']}]\n"
    "  relabel_configs:\n  - {source_labels: [__address__], target_label: __param_target}\n"
    "  - {target_label: __address__, replacement: 'c:9115'}\n",
    "durations": "global: {scrape_interval: 1m30s, evaluation_interval: 1h, scrape_timeout: 500ms}\n",
    "numbers for texts": "scrape_configs: [{job_name: 5, static_configs: [{targets: [a], labels: {x: 5, y: true}}]}]\n",
    "!two jobs of null": "scrape_configs: [null]\n",
}


def check_config(both):
    """What `promtool check config` takes the server takes, and what it refuses the server refuses."""
    tool = api.program("promtool")
    file = f"{both.folder.name}/check.yml"
    wrong = []
    for name, content in CONFIGS.items():
        with open(file, "w", encoding="utf-8") as config:
            config.write(content)
        environment = {**os.environ, "PROMETHEUS_CONFIG": file, "DATA_DIR": both.folder.name}
        theirs = run([tool, "check", "config", "--syntax-only", file])
        ours = run([SERVER, "check-config"], env=environment)
        is_refused = name.startswith("!")
        if (theirs[0] != 0) != is_refused or (ours[0] != 0) != is_refused:
            wrong.append(f"{name}: promtool {theirs[0]} {theirs[2][:200]!r}, ours {ours[0]} {ours[2][:200]!r}")
        elif is_refused and "check.yml" not in ours[2]:
            wrong.append(f"{name}: the file is not named: {ours[2][:200]!r}")
    assert not wrong, "\n".join(wrong)


def federation(both):
    """A Prometheus that scrapes `/federate` has our newest values, labels and times; one a tenant."""
    now_ms = int(time.time() * 1000)
    for token, factor in [(RED, 1), (BLUE, 2)]:
        both.ours.write(
            [
                ({"__name__": "federated", "job": "a", "instance": "b", "n": str(n)}, [(now_ms, n * factor / 8)])
                for n in range(20)
            ],
            bearer(token),
        )
        # Names that a Prometheus before 3 cannot read must not cost it the others.
        odd = f'{{"disk.used",job="a",instance="b"}} {factor}\n'.encode()
        status, _, said = both.ours.ask("/push", body=odd, headers={**bearer(token), "Content-Type": "text/plain"})
        assert status in (200, 202, 204), (status, said)
    jobs = [
        {
            "job_name": name,
            "scrape_interval": "1s",
            "honor_labels": True,
            "metrics_path": "/federate",
            "params": {"match[]": ['{__name__=~"federated|disk.*"}', "federated"]},
            "authorization": {"credentials": token},
            "static_configs": [{"targets": [both.ours.url.removeprefix("http://")]}],
            "metric_relabel_configs": [{"target_label": "tenant", "replacement": name}],
        }
        for name, token in [("red", RED), ("blue", BLUE)]
    ]
    with api.prometheus(f"{both.folder.name}/federating", {"scrape_configs": jobs}) as federating:
        for tenant, token, factor in [("red", RED, 1), ("blue", BLUE, 2)]:
            asked = f'federated{{tenant="{tenant}"}}'
            theirs = api.patiently(lambda asked=asked: federating.result(asked), "nothing was federated")
            ours = both.ours.result("federated", headers=bearer(token))
            assert len(theirs) == 20, theirs
            plain = {tuple(one for one in labels if one[0] != "tenant"): value for labels, value in theirs.items()}
            assert plain == ours, (plain, ours)
            times = federating.result(f"max(timestamp({asked}))")
            assert abs(times[()] * 1000 - now_ms) < 1, times
            odd = federating.result(f'disk_used{{tenant="{tenant}"}}')
            assert list(odd.values()) == [factor], odd
        # Which is 1 only where the whole answer could be read.
        assert set(federating.result("min_over_time(up[1m])").values()) == {1.0}


def remote_read(both):
    """A Prometheus that has nothing itself answers from what it reads here, in frames."""
    for token, name in [(RED, "red"), (BLUE, "blue")]:
        remote = {"url": f"{both.ours.url}/api/v1/read", "read_recent": True, "authorization": {"credentials": token}}
        with api.prometheus(f"{both.folder.name}/reading-{name}", {"remote_read": [remote]}) as reading:
            for text in [
                "load",
                "sum by (code) (rate(hits_total[5m]))",
                'max_over_time(load{instance=~"a.*"}[10m])',
                "count({__name__=~\".+\",job!=\"host\"})",
                "histogram_quantile(0.9, rate(took_seconds_bucket[5m]))",
            ]:
                at = END_S - 60
                theirs = reading.result(text, at)
                ours = both.ours.result(text, at, bearer(token))
                assert theirs and theirs.keys() == ours.keys(), (text, theirs, ours)
                assert all(abs(theirs[one] - ours[one]) < 1e-9 * abs(ours[one]) for one in ours), (text, theirs, ours)
            names = reading.data("/api/v1/query", {"query": "missing", "time": END_S})
            assert names["result"] == [], names


class Figures(http.server.BaseHTTPRequestHandler):
    """What is scraped twice: some figures that stand still."""

    def do_GET(self):
        said = "".join(f'still{{n="{n}"}} {n / 7}\n' for n in range(50))
        said = f"# TYPE still gauge\n{said}# TYPE took histogram\n"
        said += 'took_bucket{le="1"} 2\ntook_bucket{le="+Inf"} 3\ntook_sum 4.5\ntook_count 3\n'
        said += "# TYPE odd gauge\nodd{kind=\"inf\"} +Inf\nodd{kind=\"nan\"} NaN\nodd{kind=\"tiny\"} 5e-324\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, *_):
        pass


def written_and_scraped(both):
    """One target that a Prometheus scrapes and writes to us, and that we scrape: the same figures."""
    target = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Figures)
    threading.Thread(target=target.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{target.server_port}"
    folder = f"{both.folder.name}/scraping"
    os.makedirs(folder)
    jobs = [{"job_name": "app", "scrape_interval": "1s", "static_configs": [{"targets": [address]}]}]
    try:
        with api.prometheus(
            f"{folder}/theirs",
            {
                "global": {"external_labels": {"via": "prometheus"}},
                "scrape_configs": jobs,
                "remote_write": [
                    {
                        "url": f"{both.ours.url}/api/v1/write",
                        "authorization": {"credentials": RED},
                        "queue_config": {"batch_send_deadline": "300ms"},
                    }
                ],
            },
        ) as writing:
            # And we scrape that Prometheus too.
            port = writing.url.rpartition(":")[2]
            jobs = [*jobs, {**jobs[0], "job_name": "theirs", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]
            with open(f"{folder}/ours.yml", "w", encoding="utf-8") as file:
                json.dump({"scrape_configs": jobs}, file)
            with api.pulseboard(SERVER, f"{folder}/ours", "--prometheus-config", f"{folder}/ours.yml") as scraping:
                up = lambda: scraping.result("up == 1").keys() or None
                api.patiently(lambda: len(up() or ()) == 2, "the targets are not up")

                def plain(found, *names):
                    return {tuple(one for one in labels if one[0] not in names): str(value) for labels, value in found.items()}

                def written():
                    found = both.ours.result('{job="app",via="prometheus"}', headers=bearer(RED))
                    return found if any(("__name__", "took_count") in labels for labels in found) else None

                found = plain(api.patiently(written, "nothing was written"), "via")
                scraped = plain(scraping.result('{job="app"}'))
                # How long it took is of each its own, and so is what was new.
                moving = ("scrape_duration_seconds", "scrape_series_added")
                steady = lambda all_found: {
                    labels: value for labels, value in all_found.items() if dict(labels)["__name__"] not in moving
                }
                assert len(found) >= 60 and found.keys() == scraped.keys(), found.keys() ^ scraped.keys()
                assert steady(found) == steady(scraped), (found, scraped)
                assert not both.ours.result('{via="prometheus"}', headers=bearer(BLUE)), "the other tenant's"
                # What it says of itself is here as it is there.
                for name in ["prometheus_build_info", "process_max_fds", "prometheus_config_last_reload_successful"]:
                    assert plain(scraping.result(f'{name}{{job="theirs"}}')), name
    finally:
        target.shutdown()
        target.server_close()


def pypi(both):
    """prometheus-api-client: its methods return of both the same."""
    try:
        client = importlib.import_module("prometheus_api_client")
    except ImportError as error:
        raise api.LeftOut(str(error)) from error
    theirs = client.PrometheusConnect(url=both.theirs.url)
    red, blue = (client.PrometheusConnect(url=both.ours.url, headers=bearer(token)) for token in (RED, BLUE))
    end = datetime.datetime.fromtimestamp(END_S - 60)
    start = end - datetime.timedelta(minutes=20)
    params = {"time": END_S - 60}

    def told(one):
        """Lists in one order; a label's dictionary cannot be sorted by itself."""
        if isinstance(one, list) and one and not isinstance(one[0], (str, float, int)):
            return sorted((told(part) for part in one), key=json.dumps)
        return one

    for what in [
        lambda one: one.all_metrics(),
        lambda one: one.get_label_names(),
        lambda one: one.get_label_values("job"),
        lambda one: one.get_series(start, end, {"match[]": "load"}),
        lambda one: one.get_current_metric_value("load", {"instance": "a:1"}, params=params),
        lambda one: one.get_metric_range_data("hits_total", {"code": "500"}, start_time=start, end_time=end),
        lambda one: one.get_metric_range_data("load", start_time=start, end_time=end, chunk_size=datetime.timedelta(minutes=5)),
        lambda one: one.custom_query("sum(rate(hits_total[5m]))", params=params),
        lambda one: one.custom_query_range("avg(load)", start, end, "60"),
        lambda one: one.get_scrape_pools(),
        lambda one: one.get_targets(),
        lambda one: one.get_targets(state="active"),
        lambda one: one.get_target_metadata({"job": "none"}),
        lambda one: one.get_metric_metadata("nobody_has_this"),
        lambda one: one.get_metric_metadata("nobody_has_this", limit=1, limit_per_metric=1),
    ]:
        said = [told(what(one)) for one in (theirs, red, blue)]
        without = [{name: value for name, value in one.items() if name != "droppedTargetCounts"} if isinstance(one, dict) else one for one in said]
        assert without[0] == without[1], (without[0], without[1])
    current = [one.custom_query("load", params=params) for one in (red, blue)]
    assert current[0] != current[1], "the other tenant has others"
    # It asks for the page, which a Prometheus that is unpacked and not installed does not find.
    assert red.check_prometheus_connection(), "it is not there"
    for one in (theirs, red):
        try:
            one.custom_query("sum(")
            raise AssertionError("it is no expression")
        except client.exceptions.PrometheusApiClientException as error:
            assert "400" in str(error) and "parse error" in str(error), error


def npm(both):
    """prometheus-query: a program in JavaScript prints what its methods return."""
    node = api.program("node")
    package = os.environ.get("PROMETHEUS_QUERY", "")
    if not os.path.isdir(package):
        raise api.LeftOut("there is no prometheus-query here")
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clients.cjs")
    said = []
    for url, token in [(both.theirs.url, ""), (both.ours.url, RED), (both.ours.url, BLUE)]:
        status, out, error = run([node, program, package, url, token, str(END_S - 60)])
        assert status == 0, error
        said.append(json.loads(out))
    theirs, red, blue = said
    assert theirs.keys() == red.keys() == blue.keys()
    for name, found in theirs.items():
        assert found == red[name], (name, found, red[name])
    assert red["instantQuery"] != blue["instantQuery"], "the other tenant has others"
    assert red["labelNames"] == blue["labelNames"]


def main():
    failed = 0
    try:
        api.program("prometheus")
    except api.LeftOut as reason:
        print(f"-- clients are left out: {reason}")
        return
    with Both() as both:
        for client in (promtool, pypi, npm, check_config, remote_read, federation, written_and_scraped):
            try:
                client(both)
                print(f"ok {client.__name__}", flush=True)
            except api.LeftOut as reason:
                print(f"-- {client.__name__} is left out: {reason}", flush=True)
            except Exception as error:  # whatever a client throws is a failure of that one
                failed += 1
                print(f"FAILED {client.__name__}: {type(error).__name__}: {error}", flush=True)
    sys.exit(1 if failed else 0)


main()
