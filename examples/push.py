#!/usr/bin/env python3
"""Pushes samples as JSON with nothing but the standard library.

    PULSEBOARD=http://localhost:3000 TOKEN=… python3 examples/push.py queue_depth 42 queue=mail

The first argument is the metric, the second its value, all others are labels. A server that is
busy says so (503 with Retry-After) and gets the sample again.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

TRIES = 5


def push(samples):
    """Pushes a list of samples; returns what the server says of them."""
    url = os.environ.get("PULSEBOARD", "http://127.0.0.1:3000") + "/push"
    request = urllib.request.Request(url, data=json.dumps(samples).encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    if token := os.environ.get("TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    for _ in range(TRIES):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                # The problem says which sample is wrong and why.
                raise SystemExit(f"{error.code}: {error.read().decode()}") from error
            time.sleep(float(error.headers.get("Retry-After", 1)))
    raise SystemExit(f"the server was busy {TRIES} times")


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    name, value, *labels = sys.argv[1:]
    sample = {
        "name": name,
        "value": float(value),
        "labels": dict(label.split("=", 1) for label in labels),
        "timestamp": int(time.time() * 1000),
    }
    print(json.dumps(push([sample])))


if __name__ == "__main__":
    main()
