"""A suite of MQTT 3.1.1 and 5 that runs against any broker. What it asks for is in `ground.py`, `five.py` and `points.py`
(rules of the standards, many at a time on one broker) and in `clients.py` (programs that others wrote).

    suite.py --port PORT [--host HOST] [--users-port PORT] [--websocket PORT] [--tls PORT --ca FILE]
             [--tls-websocket PORT] [--node PROGRAM] [--bin FOLDER] [--only WORD]

`--users-port` is a listener of the same broker, or of another one, with the users of `rig.py`: `limited`, who may use `open/#`,
and `watcher`, who may use everything; the password of each is its name and `-word`. Prints one line of JSON for each case as it
ends, `{"case", "result": "pass" | "fail" | "skip", "why", "seconds"}`, and ends with code 0 whatever the results are.
"""

import argparse
import json
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import clients  # noqa: F401  (adds its cases)
import five  # noqa: F401
import ground  # noqa: F401
import points  # noqa: F401
from rig import CASES, Case, Skipped
from wire import Failure

AT_ONCE = 16
OUTPUT = threading.Lock()


def run(place, name, function, arguments):
    started = time.monotonic()
    made = Case(place)
    result, why = "pass", ""
    try:
        function(made, *arguments)
    except Skipped as reason:
        result, why = "skip", str(reason)
    except Failure as failure:
        result, why = "fail", str(failure)
    except Exception as error:  # A client of others may raise anything.
        where = traceback.extract_tb(error.__traceback__)[-1]
        result, why = "fail", f"{error!r} at {where.name}:{where.lineno}"
    try:
        made.close()
    except Exception:
        pass  # The broker may have gone; the result says it.
    line = json.dumps({"case": name, "result": result, "why": why, "seconds": round(time.monotonic() - started, 1)})
    with OUTPUT:
        print(line, flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, required=True)
    for name in ("users-port", "websocket", "tls", "tls-websocket"):
        arguments.add_argument(f"--{name}", type=int)
    arguments.add_argument("--ca")
    arguments.add_argument("--node", default="node")
    arguments.add_argument("--bin")
    arguments.add_argument("--only", default="")
    place = arguments.parse_args()
    sys.setswitchinterval(0.001)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, function, given, _ in sorted(CASES, key=lambda found: not found[3]):
            if place.only in name:
                pool.submit(run, place, name, function, given)


if __name__ == "__main__":
    main()
