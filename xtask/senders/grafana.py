"""What Grafana and other clients of Prometheus' API ask, asked of a real Prometheus and of the server
over the same samples; each answer is compared field by field.

Started by `cargo xtask test-senders` with the server's program. Both are given the same bytes by
remote write. Prints a line that says how it went, and what differs, request by request.

What Debian's Prometheus (2.42) does not know yet and Prometheus 3 does is in `newer`, with what 3
answers. What differs by design is in `is_meant`, and README.md says so too.
"""

import json
import math
import sys
import tempfile
import time

import api

SERVER = sys.argv[1]

# Samples are every 15 s in the last hour, off whole seconds: Prometheus 2 has ranges that are closed
# to the left, and no question here has a sample at its left edge.
END_S = int(time.time()) // 60 * 60 - 60
START_S = END_S - 3600
OFF_MS = 150


def series():
    """Counters, gauges, histograms, and values that are hard to write."""
    every = [START_S * 1000 + OFF_MS + step * 15_000 for step in range(241)]
    made = []

    def add(name, value, **labels):
        made.append(({"__name__": name, **labels}, [(at, value(n)) for n, at in enumerate(every)]))

    for number, instance in enumerate(["a:9100", "b:9100", "c:9100"]):
        here = {"instance": instance, "job": "node"}
        add("up", lambda n, number=number: float(number != 2 or n % 40 > 3), **here)
        for cpu in "01":
            for mode in ["idle", "user", "system"]:
                rate = {"idle": 0.75, "user": 0.125, "system": 0.0625}[mode] * (number + 1)
                add("node_cpu_seconds_total", lambda n, rate=rate: rate * n * 15, cpu=cpu, mode=mode, **here)
        add("node_load1", lambda n, number=number: number + (n % 16) / 8, **here)
        add("node_memory_MemTotal_bytes", lambda n, number=number: float((number + 1) << 33), **here)
    for le, share in [("0.1", 1), ("0.5", 2), ("1", 3), ("+Inf", 4)]:
        add("http_request_duration_seconds_bucket", lambda n, share=share: float(n * share), le=le, job="api")
    add("http_requests_total", lambda n: float(n % 50), job="api", code="200", path='/a"b\\c')
    add("http_requests_total", lambda n: float(n), job="api", code="500", path="/ü\n")
    for kind, value in [("nan", math.nan), ("inf", math.inf), ("less", -math.inf), ("zero", -0.0)]:
        add("odd", lambda n, value=value: value, kind=kind)
    for kind, value in [("tiny", 5e-324), ("large", 1.7976931348623157e308), ("third", 1 / 3), ("e21", 1e21)]:
        add("odd", lambda n, value=value: value, kind=kind)
    return made


NOW = END_S - 60
AT = str(NOW)
SPAN = {"start": str(NOW - 600), "end": AT}
FAR = {"start": "-36000000", "end": str(NOW + 36_000_000)}


def rfc(seconds, more=""):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + more + "Z"


Q, R, E = "/api/v1/query", "/api/v1/query_range", "/api/v1/query_exemplars"
S, L = "/api/v1/series", "/api/v1/labels"


def V(name):
    return f"/api/v1/label/{name}/values"


def requests():
    """Paths with their parameters; each is asked as GET and, where there is a form, as POST."""
    up = {"query": "up"}
    rate = {"query": 'sum by (mode) (rate(node_cpu_seconds_total{job=~"node"}[1m]))'}

    # The data source's own questions.
    yield Q, {"query": "1+1", "time": "4"}
    yield R, {**rate, **SPAN, "step": "15"}
    yield R, {**up, "start": f"{NOW - 600}.000", "end": f"{NOW}.000", "step": "15.000"}
    yield Q, {**up, "time": f"{NOW}.123"}
    yield E, {"query": "test", "start": str((NOW - 600) * 1000), "end": str(NOW * 1000)}
    yield E, {"query": "up", **SPAN}
    yield E, {"query": "up"}
    yield E, {"query": "up", "start": "x", "end": AT}
    yield E, {"query": "up", "start": AT, "end": str(NOW - 1)}
    yield E, {"query": "sum(", **SPAN}
    yield E, {**SPAN}

    # Results of every type.
    for text in [
        "up",
        "odd",
        "1",
        "-1.5e3",
        "NaN",
        "Inf",
        "-Inf",
        "0x1F",
        "1e21",
        "1e-7",
        '"a text"',
        '"ü\\n\\"\\\\"',
        "up[1m]",
        "up[50s:15s]",
        "missing",
        "missing[5m]",
        "vector(1)",
        "scalar(up)",
        "time()",
        "timestamp(up)",
        "sum(up)",
        "http_requests_total",
        '{job="node"}',
        "topk(2, node_load1)",
        "sort_desc(node_load1)",
        "sort(node_load1)",
        "-up",
        "up == bool 1",
        "absent(missing)",
        'absent(missing{a="b"})',
        'count_values("value", up)',
        'label_replace(up, "host", "$1", "instance", "(.*):.*")',
        "histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
        "up offset 5m",
        f"up @ {NOW - 300}",
        "up @ end()",
        "odd + 0",
        "odd * 3",
        "rate(odd[5m])",
        "changes(up[10m])",
        "node_load1 > 2 or vector(0)",
        "predict_linear(node_load1[10m], 3600)",
        "# comment\nup",
        " up ",
        "up # behind",
    ]:
        yield Q, {"query": text, "time": AT}
        yield R, {"query": text, **SPAN, "step": "60"}

    # What is no expression, and what cannot be answered.
    for text in [
        "",
        " ",
        "up{",
        "sum(up",
        "sum(up))",
        "rate(up)",
        "up[5m",
        "up[5x]",
        "foo(up)",
        "up{a=b}",
        'up{a="b" c="d"}',
        "sum by up",
        "1 + ",
        "up + on(instance) group_left up[5m]",
        "{}",
        '{a=~".*"}',
        'up{a=~"("}',
        "up and 1",
        "1 > 2",
        "abs()",
        "abs(up, up)",
        "label_replace(up)",
        'label_replace(up, "a b c", "$1", "instance", "(")',
        'label_replace(up, "host", "$1", "instance", "(")',
        'count_values("a-b", up)',
        "node_cpu_seconds_total * on(instance) node_load1",
        "node_load1 * on(instance) node_cpu_seconds_total",
        "node_cpu_seconds_total * on(instance) group_left node_cpu_seconds_total",
        'label_replace(node_cpu_seconds_total, "cpu", "x", "cpu", ".*") + 1',
        'label_replace(up, "instance", "x", "instance", ".*")',
        "up offset",
        "up @ foo",
        "up[5m] offset 1m [5m]",
        "quantile(up)",
        "sum by (a,) (up)",
        "up{job=\"node\",}",
        "bottomk(0, up)",
        "up[0s]",
        "rate(up[0s])",
        "up{__name__=\"up\"}",
        "'a' + 1",
        "up{job='no\\de'}",
        "up{job=`no\\de`}",
    ]:
        yield Q, {"query": text, "time": AT}
        yield R, {"query": text, **SPAN, "step": "60"}
        yield "/api/v1/format_query", {"query": text}

    # Times in every form.
    for at in [
        AT,
        f"{NOW}.5",
        f"{NOW}.1234567",
        f"{NOW}.0005",
        "1.7e9",
        f"+{NOW}",
        rfc(NOW),
        rfc(NOW, ".25"),
        rfc(NOW, ".123456789"),
        rfc(NOW)[:-1] + "+00:00",
        rfc(NOW + 7200)[:-1] + "+02:00",
        rfc(NOW)[:-1],
        rfc(NOW).replace("T", " "),
        rfc(NOW).replace("T", "t").replace("Z", "z"),
        "0",
        "-1",
        "now",
        "NaN",
        "Inf",
        "1h",
        "0x10",
        f"{NOW}s",
        f" {NOW}",
        "1e400",
        "0001-01-01T00:00:00Z",
        "-292273086-05-16T16:47:06Z",
        "292277025-08-18T07:12:54.999999999Z",
        "2026-02-30T00:00:00Z",
    ]:
        yield Q, {"query": "vector(1)", "time": at}
        yield Q, {"query": "up", "time": at}
        yield R, {"query": "up", "start": at, "end": AT, "step": "1h"}
        yield R, {"query": "up", "start": AT, "end": at, "step": "1h"}
        yield S, {"match[]": "up", "start": at}
        yield S, {"match[]": "up", "end": at}
        yield L, {"match[]": "up", "start": at}
        yield V("job"), {"match[]": "up", "end": at}
        yield E, {"query": "up", "start": at, "end": AT}

    # Steps in every form.
    for step in ["15", "15s", "1m", "1m30s", "0.5", "1e1", "500ms", "0", "-1", "x", "", "1.5m", "NaN", "Inf", "1d", "1h1", "0.0001", "1e20"]:
        yield R, {"query": "up", **SPAN, "step": step}
    yield R, {"query": "up", **SPAN}
    yield R, {"query": "up", "start": AT, "step": "1"}
    yield R, {"query": "up", "end": AT, "step": "1"}
    yield R, {"query": "up", "start": AT, "end": AT, "step": "1"}
    yield R, {"query": "up", "start": AT, "end": str(NOW - 1), "step": "1"}
    yield R, {"query": "vector(1)", "start": str(NOW - 11_000), "end": AT, "step": "1"}
    yield R, {"query": "vector(1)", "start": str(NOW - 11_001), "end": AT, "step": "1"}
    yield R, {**SPAN, "step": "60"}
    yield Q, {}

    # What else may be said with a question.
    for more in [
        {"timeout": "5s"},
        {"timeout": "5"},
        {"timeout": "1m30s"},
        {"timeout": "x"},
        {"timeout": "0"},
        {"timeout": "-1"},
        {"timeout": ""},
        {"lookback_delta": "1m"},
        {"lookback_delta": "10"},
        {"lookback_delta": "x"},
        {"lookback_delta": "0"},
        {"lookback_delta": "-1"},
        {"stats": "true"},
        {"stats": "all"},
        {"stats": ""},
        {"unknown": "1"},
        {"step": "15s"},
        {"dedup": "true", "partial_response": "true"},
    ]:
        yield Q, {**up, "time": str(NOW + 100), **more}
        yield R, {**up, **SPAN, "step": "60", **more}

    # Series, labels and their values.
    for match in [
        ["up"],
        ["up", "node_load1"],
        ['{job="node"}'],
        ['{__name__=~"node_.*"}'],
        ["missing"],
        ["up{"],
        [""],
        ["{}"],
        ["1"],
        ["rate(up[5m])"],
        ["up[5m]"],
        ["up offset 5m"],
        ['{a=~".*"}'],
        ['{a=~"("}'],
        [],
    ]:
        for path in [S, L, V("instance"), V("__name__"), "/federate"]:
            yield path, {"match[]": match}
            yield path, {"match[]": match, **SPAN}
    for path in [S, L, V("mode")]:
        yield path, {"match[]": "node_cpu_seconds_total", **FAR}
        yield path, {"match[]": "node_cpu_seconds_total", "start": AT, "end": str(NOW - 600)}
        yield path, {"match[]": "up", "start": "1", "end": "2"}
        yield path, {"match[]": "up", "start": str(END_S + 4000), "end": str(END_S + 5000)}
    yield L, {}
    yield L, SPAN
    yield V("job"), {}
    yield V("job"), SPAN
    yield V("le"), {}
    yield V("missing"), {}
    yield V("path"), {}
    yield V("__name__"), {}
    yield V("a-b"), {}
    yield V("0a"), {}

    # What is looked at before anything is asked.
    yield "/api/v1/metadata", {}
    yield "/api/v1/metadata", {"limit": "1"}
    yield "/api/v1/metadata", {"limit": "x"}
    yield "/api/v1/metadata", {"limit": "-1"}
    yield "/api/v1/metadata", {"metric": "missing"}
    yield "/api/v1/rules", {}
    yield "/api/v1/rules", {"type": "alert"}
    yield "/api/v1/rules", {"type": "record"}
    yield "/api/v1/rules", {"type": "x"}
    yield "/api/v1/alerts", {}
    yield "/api/v1/alertmanagers", {}
    yield "/api/v1/targets", {}
    yield "/api/v1/targets", {"state": "active"}
    yield "/api/v1/targets", {"state": "dropped"}
    yield "/api/v1/targets", {"state": "any"}
    yield "/api/v1/targets/metadata", {}
    yield "/api/v1/targets/metadata", {"limit": "x"}
    yield "/api/v1/targets/metadata", {"match_target": "{"}
    for path in ["buildinfo", "runtimeinfo", "flags", "config", "tsdb"]:
        yield f"/api/v1/status/{path}", {}
    yield "/api/v1/missing", {}
    yield "/api/v1/format_query", {"query": "sum  by(job)(rate(up[5m]))"}
    yield "/api/v1/format_query", {}
    yield "/-/healthy", {}
    yield "/-/ready", {}


FORMS = {Q, R, E, S, L, "/api/v1/format_query"}


def pairs(params):
    return [
        (name, one)
        for name, value in params.items()
        for one in (value if isinstance(value, list) else [value])
    ]


def answer(server, path, params, is_form):
    """Status, kind and body of an answer."""
    if is_form:
        status, headers, body = server.ask(path, form=pairs(params), method="POST")
    else:
        status, headers, body = server.ask(path, pairs(params))
    kind = (headers.get("Content-Type") or "").split(";")[0]
    if kind == "application/json":
        body = json.loads(body)
        # Whoever reads an answer as it comes must know its type first.
        if "resultType" in (body.get("data") or {}):
            assert list(body["data"])[0] == "resultType", (path, params, list(body["data"]))
        return [status, kind, body]
    return [status, kind, body.decode()]


def shape(value):
    """What a value is, whatever it says."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def compared(path, told):
    """An answer without what may differ in it: words of errors, times and sizes of a server itself."""
    status, kind, body = told
    if path.startswith("/-/") or path == "/api/v1/missing":
        return [status]
    if path == "/federate":
        if status != 200:
            return [status]
        lines = [line.rsplit(" ", 2) for line in body.splitlines()]
        return [status, kind, sorted([name, value if name == "# TYPE" else float(value), *at] if "{" in name or at else name for name, value, *at in lines)]
    body = dict(body)
    if body["status"] == "error":
        body["error"] = bool(body["error"])
    # 2.42 tells no infos, and does not count what relabelling dropped.
    body.pop("infos", None)
    data = body.get("data")
    if isinstance(data, dict):
        data = body["data"] = dict(data)
        data.pop("droppedTargetCounts", None)
        if "stats" in data:
            data["stats"] = shape(data["stats"])
        if path == "/api/v1/rules":
            data["groups"] = [group for group in data["groups"] if group["name"] != "pulseboard"]
        if path == "/api/v1/metadata":
            # The server has heard of its own metrics.
            body["data"] = {}
        if path == "/api/v1/status/flags":
            body["data"] = bool(data)
        elif path.startswith("/api/v1/status/"):
            body["data"] = shape(data)
    return [status, kind, body]


FAR_TIMES = {
    "NaN",
    "Inf",
    "1e400",
    "0001-01-01T00:00:00Z",
    "-292273086-05-16T16:47:06Z",
    "292277025-08-18T07:12:54.999999999Z",
}


def is_meant(path, params):
    """Whether an answer differs by design, or since 3 answers otherwise than 2.42."""
    times = [params.get(name) for name in ("time", "start", "end")]
    is_of_names = path in (S, L) or path.startswith("/api/v1/label/")
    return (
        # What is no time, or beyond those that there are, overflows there; here it is refused, or means
        # the first or the last.
        any(one in FAR_TIMES for one in times)
        # When a series began is not known: the end shuts out none, and a start in the future all.
        or is_of_names
        and ("end" in params or "start" in params)
        and (params.get("end") in ("1.7e9", "0", "-1", "2") or params.get("start") == AT and params.get("end") != AT)
        # Names are any text in 3, and how far back is looked may be said.
        or params.get("query") == 'count_values("a-b", up)'
        or path in (V("a-b"), V("0a"))
        or params.get("lookback_delta") in ("10", "x")
        # `{}` federates all series; 2.42 finds none. A limit below nothing is an error that says so.
        or path == "/federate"
        and params["match[]"] == ["{}"]
        or params.get("limit") == "-1"
    )


def newer(server):
    """What 3 answers and 2.42 does not know: what is asked, and whether the answer is that of 3."""
    now = {"time": AT}
    range_of = {**SPAN, "step": "60"}
    cut = ["results truncated due to limit"]
    for path, params, rows in [
        (Q, {"query": "up", **now}, lambda data: data["result"]),
        (R, {"query": "up", **range_of}, lambda data: data["result"]),
        (S, {"match[]": "up"}, lambda data: data),
        (L, {"match[]": "up"}, lambda data: data),
        (V("instance"), {"match[]": "up"}, lambda data: data),
    ]:
        for limit, count in [("1", 1), ("2", 2), ("3", 3), ("0", 3), ("99", 3)]:
            _, _, body = answer(server, path, {**params, "limit": limit}, False)
            yield path, params, limit, len(rows(body["data"])) == count
            yield path, params, limit, body.get("warnings") == (cut if count < 3 else None)
        yield path, params, "x", answer(server, path, {**params, "limit": "x"}, False)[0] == 400
    # Half a minute back there is a sample every 15 s; ten seconds back there is none at whole minutes.
    for delta, count in [("10", 0), ("10s", 0), ("30s", 3), ("x", None)]:
        status, _, body = answer(server, Q, {"query": "up", **now, "lookback_delta": delta}, False)
        yield Q, "lookback_delta", delta, status == 400 if count is None else len(body["data"]["result"]) == count
    status, _, body = answer(server, "/federate", {"match[]": "{}"}, False)
    yield "/federate", "{}", "all series", status == 200 and all(f"\n{name}{{" in body for name in ["up", "odd"])
    for text, field in [("rate(odd[5m])", "infos"), ("quantile(2, up)", "warnings")]:
        body = answer(server, Q, {"query": text, **now}, False)[2]
        yield Q, text, field, all("PromQL" in one and "(1:" in one for one in body[field])


def is_same(theirs, ours):
    both_nan = all(isinstance(one, float) and math.isnan(one) for one in (theirs, ours))
    return both_nan or theirs == ours


def different(theirs, ours, where=""):
    """Where two values differ, and how."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in sorted(theirs.keys() | ours.keys()):
            at = f"{where}.{name}"
            if name not in theirs or name not in ours:
                found = theirs.get(name, ours.get(name))
                yield at, f"only {'ours' if name in ours else 'theirs'} has it: {found!r:.80}"
            else:
                yield from different(theirs[name], ours[name], at)
    elif isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            yield where, f"{len(theirs)} and {len(ours)}"
        for number, (one, other) in enumerate(zip(theirs, ours)):
            yield from different(one, other, f"{where}[{number}]")
    elif type(theirs) is not type(ours) or not is_same(theirs, ours):
        yield where, f"theirs {theirs!r:.200}, ours {ours!r:.200}"


def main():
    asked, meant, wrong = 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        config = {"global": {"scrape_interval": "15s", "evaluation_interval": "15s"}}
        with (
            api.prometheus(f"{folder}/theirs", config, "--web.enable-remote-write-receiver") as theirs,
            api.pulseboard(SERVER, f"{folder}/ours") as ours,
        ):
            # Nobody's but this program's: the default tenant has the server's own figures too, which
            # are written at each half minute.
            ours.headers = {"X-Scope-OrgID": "grafana"}
            data = series()
            theirs.write(data)
            ours.write(data)
            # Another tenant's, of which nothing may be seen.
            others = [({**labels, "whose": "another"}, samples) for labels, samples in data]
            ours.write(others, {"X-Scope-OrgID": "another"})
            for path, params in requests():
                for is_form in [False, True] if path in FORMS else [False]:
                    asked += 1
                    if is_meant(path, params):
                        meant += 1
                        continue
                    told = [answer(server, path, params, is_form) for server in (theirs, ours)]
                    found = list(different(*(compared(path, one) for one in told)))
                    if found:
                        wrong.append(f"{'POST' if is_form else 'GET'} {path} {params}: {found[:3]}")
            for *what, is_right in newer(ours):
                asked += 1
                if not is_right:
                    wrong.append(f"not as 3 answers: {what}")
            seen = json.loads(ours.ask(L, headers={"X-Scope-OrgID": "another"})[2])["data"]
            if "whose" not in seen:
                wrong.append("the other tenant does not see its own")
    return wrong, f"{asked} requests ({meant} of them meant to differ)"


api.compared("grafana", main)
