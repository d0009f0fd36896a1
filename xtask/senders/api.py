"""What the programs beside this one share: servers that are started and ended, and what is asked of
them and written to them.

Remote write is made by hand here, a literal for snappy and the few fields of its protobuf, so that
both servers are given the very same bytes without a package for it.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

PATIENCE_S = 60


class LeftOut(Exception):
    """Why something cannot be had here."""


def program(name):
    """The path of a program, from the variable that has its name."""
    path = os.environ.get(name.upper(), "")
    if not os.path.exists(path):
        raise LeftOut(f"there is no {name} here")
    return path


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def patiently(what, why="nothing came"):
    """Waits until `what` returns something; an assertion or a lost connection is looked at again."""
    began = time.monotonic()
    while True:
        last = why
        try:
            found = what()
            if found:
                return found
        except (OSError, AssertionError) as error:
            last = error
        if time.monotonic() - began > PATIENCE_S:
            raise AssertionError(f"{why}: {last}")
        time.sleep(0.1)


def compared(name, compare):
    """Runs `compare`, which returns what differs and a line that says how much was asked, and prints
    how it went."""
    try:
        wrong, said = compare()
    except LeftOut as reason:
        print(f"-- {name} is left out: {reason}")
        return
    for text in wrong[:40]:
        print(text)
    if wrong:
        print(f"FAILED {name}: {len(wrong)} differ of {said}")
        sys.exit(1)
    print(f"ok {name}: {said}, all the same")


class Running:
    """A program that ends with the block that it is started for."""

    def __init__(self, command, log, **more):
        self.log = open(log, "w", encoding="utf-8")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Server(Running):
    """One that is asked over HTTP."""

    def __init__(self, command, url, log, headers=None, **more):
        super().__init__(command, log, **more)
        self.url, self.headers = url, headers or {}

    def ask(self, path, query=(), form=None, headers=None, method=None, body=None):
        """Status, headers and body of an answer, whatever it is."""
        url = self.url + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        sent = {**self.headers, **(headers or {})}
        if form is not None:
            body = urllib.parse.urlencode(form).encode()
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        request = urllib.request.Request(url, data=body, headers=sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def data(self, path, query=(), headers=None):
        """What a question that must succeed is answered with."""
        status, _, body = self.ask(path, query, headers=headers)
        assert status == 200, (path, query, status, body[:300])
        return json.loads(body)["data"]

    def result(self, expression, at=None, headers=None):
        """Values of an instant query by their labels."""
        query = {"query": expression} if at is None else {"query": expression, "time": at}
        found = self.data("/api/v1/query", query, headers)["result"]
        return {
            tuple(sorted(series["metric"].items())): float(series["value"][1]) for series in found
        }

    def write(self, series, headers=None):
        """Remote write; `series` are labels and samples, whose times are milliseconds."""
        status, _, body = self.ask(
            "/api/v1/write",
            body=written(series),
            headers={
                "Content-Type": "application/x-protobuf",
                "Content-Encoding": "snappy",
                "X-Prometheus-Remote-Write-Version": "0.1.0",
                **(headers or {}),
            },
        )
        assert status in (200, 204), (status, body[:300])

    def reload(self):
        self.process.send_signal(signal.SIGHUP)


def prometheus(folder, config, *flags):
    """Debian's Prometheus with a configuration, once it answers."""
    found = program("prometheus")
    os.makedirs(folder)
    with open(f"{folder}/prometheus.yml", "w", encoding="utf-8") as file:
        json.dump(config, file)
    port = free_port()
    command = [
        found,
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
        *flags,
    ]
    server = Server(command, f"http://127.0.0.1:{port}", f"{folder}/log")
    try:
        patiently(lambda: server.ask("/-/ready")[0] == 200, "Prometheus is not ready")
    except BaseException:
        server.__exit__()
        raise
    return server


def pulseboard(found, folder, *arguments, **settings):
    """The server itself, once it has said where it is."""
    os.makedirs(folder, exist_ok=True)
    command = [
        found,
        "--bind",
        "127.0.0.1:0",
        "--source",
        "none",
        "--data-dir",
        f"{folder}/data",
        *arguments,
    ]
    server = Server(command, "", f"{folder}/log", env={**os.environ, "RUST_LOG": "warn", **settings})

    def said():
        if server.process.poll() is not None:
            raise AssertionError(text(f"{folder}/log"))
        where = text(f"{folder}/log").partition("http://")[2].split("\n")
        return where[0].strip().rstrip("/") if len(where) > 1 else None

    try:
        server.url = "http://" + patiently(said, "the server does not say where it is")
        patiently(lambda: server.ask("/-/ready")[0] == 200, "the server is not ready")
    except BaseException:
        server.__exit__()
        raise
    return server


def text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def varint(number):
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def written(series):
    """`prompb.WriteRequest`, packed by snappy without looking for anything that repeats."""
    message = b""
    for labels, samples in series:
        one = b"".join(
            field(1, field(1, name.encode()) + field(2, value.encode()))
            for name, value in sorted(labels.items())
        )
        for time_ms, value in samples:
            sample = b"\x09" + struct.pack("<d", value) + b"\x10" + varint(time_ms)
            one += field(2, sample)
        message += field(1, one)
    packed = varint(len(message))
    for at in range(0, len(message), 65536):
        piece = message[at : at + 65536]
        packed += b"\xf4" + struct.pack("<H", len(piece) - 1) + piece
    return packed
