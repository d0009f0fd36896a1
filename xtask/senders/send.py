"""Real senders against a running server: each sends known values, which are then read back.

Started by `cargo xtask test-senders`, in an environment that has the clients from PyPI. A sender
that is not there is left out, with the reason; a value that does not come back is a failure.
"""

import glob
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

URL, STATSD_PORT, TOKEN = sys.argv[1], int(sys.argv[2]), sys.argv[3]
HOST, PORT = urllib.parse.urlsplit(URL).hostname, urllib.parse.urlsplit(URL).port
PATIENCE_S = 40


class LeftOut(Exception):
    """Why a sender cannot be had here."""


def client(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise LeftOut(str(error)) from error


def program(name):
    """The path of a program, from the variable that has its name."""
    path = os.environ.get(name.upper(), "")
    if not os.path.exists(path):
        raise LeftOut(f"there is no {name} here")
    return path


def beside(path, folder):
    """A folder of the package that a program is from, installed or only unpacked."""
    return os.path.normpath(os.path.join(os.path.dirname(path), "..", folder))


def ask(path, **query):
    request = urllib.request.Request(f"{URL}{path}?{urllib.parse.urlencode(query)}")
    request.add_header("Authorization", f"Bearer {TOKEN}")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def last(selector):
    """The newest value of the one series of a selector, from the list and from a range alike."""
    series = ask("/api/series", match=selector)["series"]
    if len(series) != 1:
        return None
    points = ask("/api/range", match=selector, start="-10m", step="1000", agg="last")["series"]
    assert points and points[0]["points"][-1][1] == series[0]["last"], (points, series)
    return series[0]["last"]


def expect(selector, value):
    """Waits until a series is there; `value` is a number, or says whether one is right."""
    is_right = value if callable(value) else lambda found: found == value
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        found = last(selector)
        if found is not None and is_right(found):
            return
        time.sleep(0.2)
    raise AssertionError(f"{selector}: {last(selector)} is there")


def opentelemetry():
    client("opentelemetry.sdk.metrics")
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporter = OTLPMetricExporter(
        f"{URL}/v1/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    provider = MeterProvider([reader])
    meter = provider.get_meter("senders")
    meter.create_counter("otel_hits").add(3, {"route": "/a"})
    meter.create_up_down_counter("otel_queue").add(-2)
    meter.create_gauge("otel_temperature", unit="Cel").set(21.5)
    for milliseconds in (5, 30, 700):
        meter.create_histogram("otel_latency", unit="ms").record(milliseconds)
    assert provider.force_flush(), "it says that exporting failed"
    provider.shutdown()
    # Points' names and labels are as OTLP's Prometheus mapping has them.
    expect('{__name__=~"otel_hits.*", route="/a"}', 3)
    expect('{__name__=~"otel_queue.*"}', -2)
    expect('{__name__=~"otel_temperature.*"}', 21.5)
    expect('{__name__=~"otel_latency.*_count"}', 3)
    expect('{__name__=~"otel_latency.*_sum"}', 735)


def opentelemetry_grpc():
    client("opentelemetry.exporter.otlp.proto.grpc")
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    import grpc

    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        exporter = OTLPMetricExporter(
            f"http://{HOST}:{os.environ['OTLP_GRPC_PORT']}",
            insecure=True,
            headers=(("authorization", f"Bearer {TOKEN}"),),
            compression=compression,
        )
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
        provider = MeterProvider([reader])
        meter = provider.get_meter("senders")
        name = f"grpc_{compression.name.lower()}"
        meter.create_counter(f"{name}_hits").add(3, {"route": "/a"})
        meter.create_histogram(f"{name}_latency", unit="ms").record(30)
        assert provider.force_flush(), "it says that exporting failed"
        provider.shutdown()
        expect(f'{{__name__=~"{name}_hits.*", route="/a"}}', 3)
        expect(f'{{__name__=~"{name}_latency.*_sum"}}', 30)


def influx_2():
    influxdb_client = client("influxdb_client")
    from influxdb_client.client.write_api import SYNCHRONOUS

    with influxdb_client.InfluxDBClient(url=URL, token=TOKEN, org="o") as influx:
        assert influx.ping(), "nobody answers its ping"
        assert influx.health().status == "pass", influx.health()
        point = influxdb_client.Point("influx_disk").tag("path", "/").field("free", 2).field("used", 1.5)
        with influx.write_api(write_options=SYNCHRONOUS) as writer:
            writer.write(bucket="b", record=point)
        # The default one gathers and sends in the background, packed.
        with influx.write_api() as writer:
            writer.write(bucket="b", record="influx_batched,host=a value=7i")
    expect('influx_disk_free{path="/"}', 2)
    expect('influx_disk_used{path="/"}', 1.5)
    expect('influx_batched{host="a"}', 7)


def influx_1():
    influxdb = client("influxdb")
    influx = influxdb.InfluxDBClient(HOST, PORT, "any", TOKEN, "senders", gzip=True)
    assert influx.ping(), "nobody answers its ping"
    influx.create_database("senders")
    point = {"measurement": "influx1_load", "tags": {"host": "a"}, "fields": {"value": 0.25}}
    assert influx.write_points([point], time_precision="ms")
    influx.close()
    expect('influx1_load{host="a"}', 0.25)


def statsd():
    sender = client("statsd").StatsClient(HOST, STATSD_PORT, prefix="sd")
    sender.incr("hits", 4)
    sender.gauge("queue", 17)
    sender.timing("latency", 320)
    with sender.pipeline() as pipeline:
        pipeline.gauge("piped", 1)
        pipeline.gauge("piped", 2, delta=True)
    expect("sd.hits", 4)
    expect("sd.queue", 17)
    expect("sd.piped", 3)
    names = [series["name"] for series in ask("/api/series", search="sd.latency")["series"]]
    assert names, "the timer is not there"


def dogstatsd():
    client("datadog")
    from datadog.dogstatsd import DogStatsd

    sender = DogStatsd(host=HOST, port=STATSD_PORT, disable_telemetry=True)
    sender.gauge("dog.queue", 5, tags=["region:eu", "tier:1"])
    sender.increment("dog.hits", 2, tags=["region:eu"])
    sender.histogram("dog.size", 9)
    sender.flush()
    expect('dog.queue{region="eu",tier="1"}', 5)
    expect('dog.hits{region="eu"}', 2)


def pushgateway():
    prometheus_client = client("prometheus_client")
    from prometheus_client.exposition import basic_auth_handler

    def handler(url, method, timeout, headers, data):
        return basic_auth_handler(url, method, timeout, headers, data, "any", TOKEN)

    registry = prometheus_client.CollectorRegistry()
    rows = prometheus_client.Gauge("gateway_rows", "Rows.", ["table"], registry=registry)
    rows.labels("a").set(4)
    rows.labels("b").set(5)
    prometheus_client.Counter("gateway_runs", "Runs.", registry=registry).inc(2)
    group = {"registry": registry, "handler": handler, "grouping_key": {"path": "/var/tmp"}}
    prometheus_client.push_to_gateway(URL, job="nightly job", **group)
    labels = 'job="nightly job",path="/var/tmp"'
    expect(f'gateway_rows{{table="a",{labels}}}', 4)
    expect(f'gateway_runs_total{{{labels}}}', 2)
    rows.remove("b")
    prometheus_client.push_to_gateway(URL, job="nightly job", **group)
    ended = ask("/api/series", match=f'gateway_rows{{table="b",{labels}}}')["series"]
    assert ended[0]["state"] == "stopped", ended
    prometheus_client.pushadd_to_gateway(URL, job="nightly job", **group)
    del group["registry"]
    prometheus_client.delete_from_gateway(URL, job="nightly job", **group)
    ended = ask("/api/series", match=f'gateway_rows{{table="a",{labels}}}')["series"]
    assert ended[0]["state"] == "stopped", ended


def datadog():
    sender = client("datadog")
    sender.initialize(api_key=TOKEN, app_key="none", api_host=f"{URL}/datadog", mute=False, hostname_from_config=False)
    now = int(time.time())
    answer = sender.api.Metric.send(
        metric="datadog.load", points=[(now - 1, 1), (now, 2.5)], host="web1", tags=["env:prod"], type="gauge"
    )
    assert answer == {"status": "ok"}, answer
    answer = sender.api.Metric.send(metric="datadog.hits", points=(now, 3), type="count", interval=10)
    assert answer == {"status": "ok"}, answer
    answer = sender.api.ServiceCheck.check(check="datadog.ok", host_name="web1", status=1, tags=["env:prod"])
    assert answer == {"status": "ok"}, answer
    expect('{"datadog.load",host="web1",env="prod"}', 2.5)
    expect('{"datadog.hits"}', 3)
    expect('{"datadog.ok",host="web1",env="prod"}', 1)


def graphite():
    """As the protocol's own documentation sends: a program writes lines to a socket."""
    now = int(time.time())
    address = (HOST, int(os.environ["GRAPHITE_PORT"]))
    with socket.create_connection(address, timeout=20) as tcp:
        tcp.sendall(f"graphite.tcp;host=a 7 {now}\n".encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(b"graphite.udp 8 -1\n", address)
    expect('{"graphite.tcp",host="a"}', 7)
    expect('{"graphite.udp"}', 8)


def prometheus_and_collectd():
    prometheus = program("prometheus")
    try:
        collectd = program("collectd")
    except LeftOut as reason:
        print(f"-- collectd is left out: {reason}")
        collectd = None
    with tempfile.TemporaryDirectory() as folder:
        running = []
        jobs = [("pulseboard", f"{HOST}:{PORT}")]
        if collectd:
            file = f"{folder}/collectd.conf"
            port = PORT + 1 if PORT < 65_000 else PORT - 1
            with open(file, "w", encoding="utf-8") as conf:
                conf.write(
                    f'BaseDir "{folder}"\nPIDFile "{folder}/pid"\nHostname "senders"\nInterval 1\n'
                    f'PluginDir "{beside(collectd, "lib/collectd")}"\n'
                    f'TypesDB "{beside(collectd, "share/collectd/types.db")}"\n'
                    f'LoadPlugin load\nLoadPlugin write_prometheus\n<Plugin write_prometheus>\n'
                    f'  Port "{port}"\n</Plugin>\n'
                )
            process = subprocess.Popen(
                [collectd, "-f", "-C", file],
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "LD_LIBRARY_PATH": ":".join(glob.glob(beside(collectd, "lib/*-linux-gnu")))},
            )
            try:
                process.wait(2)
                why = process.stderr.read().decode(errors="replace").splitlines()
                why = next((line for line in why if "ERROR" in line or "Error" in line), why[-1:])
                print(f"-- collectd is left out: {why}")
                collectd = None
            except subprocess.TimeoutExpired:
                running.append(process)
                jobs.append(("collectd", f"{HOST}:{port}"))
        file = f"{folder}/prometheus.yml"
        with open(file, "w", encoding="utf-8") as config:
            json.dump(
                {
                    "global": {"scrape_interval": "1s", "external_labels": {"via": "prometheus"}},
                    "scrape_configs": [
                        {
                            "job_name": name,
                            "static_configs": [{"targets": [target]}],
                            "authorization": {"credentials": TOKEN},
                        }
                        for name, target in jobs
                    ],
                    "remote_write": [
                        {
                            "url": f"{URL}/api/v1/write",
                            "authorization": {"credentials": TOKEN},
                            "queue_config": {"batch_send_deadline": "500ms"},
                        }
                    ],
                },
                config,
            )
        with open(f"{folder}/log", "w+", encoding="utf-8") as log:
            running.append(
                subprocess.Popen(
                    [
                        prometheus,
                        f"--config.file={file}",
                        f"--storage.tsdb.path={folder}/data",
                        "--web.listen-address=127.0.0.1:0",
                    ],
                    stdout=log,
                    stderr=log,
                )
            )
            try:
                expect('up{job="pulseboard",via="prometheus"}', 1)
                expect('pulseboard_uptime_seconds{job="pulseboard"}', lambda value: value > 0)
                if collectd:
                    expect('collectd_load_shortterm{via="prometheus"}', lambda value: value >= 0)
                log.seek(0)
                complaints = [
                    line
                    for line in log.read().splitlines()
                    if "remote" in line and ("level=warn" in line or "level=error" in line)
                ]
                assert not complaints, "\n".join(complaints)
            finally:
                for process in running:
                    process.terminate()
                for process in running:
                    process.wait(20)


def scraped():
    """Debian's node_exporter and Prometheus as targets of the server itself."""
    node_exporter, prometheus = program("node_exporter"), program("prometheus")
    targets = os.environ["TARGETS"]
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/log", "w", encoding="utf-8") as log:
        ports = [free_port(), free_port()]
        file = f"{folder}/prometheus.yml"
        with open(file, "w", encoding="utf-8") as config:
            json.dump({"global": {"scrape_interval": "1s"}}, config)
        running = [
            subprocess.Popen(command, stdout=log, stderr=log)
            for command in (
                [node_exporter, f"--web.listen-address=127.0.0.1:{ports[0]}"],
                [
                    prometheus,
                    f"--config.file={file}",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address=127.0.0.1:{ports[1]}",
                ],
            )
        ]
        try:
            with open(f"{targets}.new", "w", encoding="utf-8") as file:
                groups = [
                    {"targets": [f"127.0.0.1:{port}"], "labels": {"program": name}}
                    for name, port in zip(("node", "prometheus"), ports)
                ]
                json.dump(groups, file)
            os.replace(f"{targets}.new", targets)
            expect('up{program="node"}', 1)
            expect('up{program="prometheus"}', 1)
            expect('node_cpu_seconds_total{program="node",cpu="0",mode="idle"}', lambda value: value > 0)
            expect('node_time_seconds{program="node"}', lambda value: abs(value - time.time()) < 60)
            expect('prometheus_ready{program="prometheus"}', 1)
            expect('scrape_samples_scraped{program="node"}', lambda value: value > 300)
            pools = ask("/api/v1/targets")["data"]["activeTargets"]
            assert [target["health"] for target in pools] == ["up", "up"], pools
            told = ask("/api/v1/targets/metadata", metric="node_time_seconds")["data"]
            assert told and told[0]["type"] == "gauge" and told[0]["help"], told
            os.remove(targets)
            began = time.monotonic()
            while ask("/api/v1/query", query='up{program!=""}')["data"]["result"]:
                assert time.monotonic() - began < PATIENCE_S, "targets that are gone are still there"
                time.sleep(0.2)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(20)


def prometheus_receives():
    """What comes in is sent on to a Prometheus, by 1.0: in order, labelled, and of one tenant."""
    prometheus, port = program("prometheus"), os.environ["RECEIVER_PORT"]
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/prometheus.yml"
        with open(file, "w", encoding="utf-8") as config:
            config.write("{}")

        def start():
            log = open(f"{folder}/log", "a", encoding="utf-8")
            return subprocess.Popen(
                [
                    prometheus,
                    f"--config.file={file}",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--web.enable-remote-write-receiver",
                ],
                stdout=log,
                stderr=log,
            )

        def values(query):
            query = urllib.parse.urlencode({"query": query})
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=20) as answer:
                return [one["values"] for one in json.load(answer)["data"]["result"]]

        def push(number, tenant="default"):
            at_ms = int(time.time() * 1000)
            request = urllib.request.Request(
                f"{URL}/push",
                data=f'sent_on{{host="a"}} {number} {at_ms}\nleft_out 1\n'.encode(),
                headers={"Authorization": f"Bearer {TOKEN}", "X-Tenant-Id": tenant},
            )
            urllib.request.urlopen(request, timeout=20).close()
            time.sleep(0.002)

        running = start()
        try:
            for number in range(1, 200):
                push(number)
                push(-1, "other")
                if number == 50:
                    running.kill()
                    running.wait(20)
                if number == 150:
                    running = start()
            deadline, found = time.time() + 60, []
            while time.time() < deadline:
                try:
                    found = values('sent_on{host="a",site="senders"}[1h]')
                    if found and [float(value) for _, value in found[0]] == list(range(1, 200)):
                        break
                except (OSError, ValueError):
                    pass
                time.sleep(0.2)
            numbers = [float(value) for _, value in found[0]] if found else []
            assert numbers == list(range(1, 200)), f"{len(numbers)} of 199 came: {numbers[:5]}…{numbers[-5:]}"
            assert not values("left_out[1h]"), "a rule drops it"
            told = ask("/api/v1/status/remote_write")["data"]["receivers"][0]
            assert told["refusedSamples"] == 0 and told["givenUpSamples"] == 0, told
        finally:
            running.kill()
            running.wait(20)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def main():
    failed = 0
    for sender in (
        opentelemetry,
        opentelemetry_grpc,
        influx_2,
        influx_1,
        statsd,
        dogstatsd,
        pushgateway,
        datadog,
        graphite,
        prometheus_and_collectd,
        scraped,
        prometheus_receives,
    ):
        try:
            sender()
            print(f"ok {sender.__name__}")
        except LeftOut as reason:
            print(f"-- {sender.__name__} is left out: {reason}")
        except Exception as error:  # whatever a client throws is a failure of that one
            failed += 1
            print(f"FAILED {sender.__name__}: {type(error).__name__}: {error}")
        sys.stdout.flush()
    sys.exit(1 if failed else 0)


main()
