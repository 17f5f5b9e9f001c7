"""Round trips over HTTP from many callers at once: throughput against one caller, errors, memory.

    python benchmarks/serving.py --callers 64 --seconds 120 > benchmarks/results/serving.json

takes seven to eight minutes on two cores, and says on stderr what it is at. It starts `talking-points serve` in a
process of its own on this machine, fills what it keeps of photos (--fill), asks as one caller and then as many (each
photo another one, so that nothing is known beforehand), and stops it with SIGTERM while requests are in flight.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from crops import photos_of
from PIL import Image

from talking_points.evaluation.run import versions
from talking_points.progress import OnProgress, Progress, unheard

BOUNDARY = "talking-points-benchmark"
PHOTOS = 1024
"""Different photos that callers take turns with: twice what the server keeps of mini's, so that none is known when it
comes again."""
FILL = 640
"""Photos asked about before anything is measured: with so many kept, the server's memory has no more reason to grow."""
FILLED_A_SECOND = 2.4
"""Of `mini` on two cores (results/serving.json); to say beforehand how long it takes."""
TIMEOUT_S = 600.0
PERCENTILES = {"least": 0, "median": 50, "most": 100}
"""Of memory, which rises and falls with each batch."""


def start(model: str, threads: int) -> tuple[subprocess.Popen[str], int]:
    """The server and its port."""
    command = [sys.executable, "-c", "from talking_points.cli import main; main()", "serve", "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    server = subprocess.Popen([*command, "--model", model], stderr=subprocess.PIPE, text=True, env=environment)
    assert server.stderr is not None
    for line in server.stderr:
        if line.startswith("serving"):
            return server, int(line.split("http://")[1].split("/")[0].rsplit(":", 1)[1])
    raise RuntimeError(f"the server did not start: {server.wait()}")


def bodies() -> list[bytes]:
    """Requests for a round trip of one point, each of another photo."""
    [photo] = photos_of(1)
    rng = np.random.default_rng(0)
    made = []
    for _ in range(PHOTOS):
        left, top = (int(rng.integers(0, side // 4)) for side in photo.size)
        stream = io.BytesIO()
        photo.crop((left, top, left + photo.width // 2, top + photo.height // 2)).save(stream, "JPEG", quality=90)
        width, height = Image.open(stream).size
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        form = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="point"\r\n\r\n{x:.1f},{y:.1f}\r\n'
        form += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
        made.append(form.encode() + stream.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode())
    return made


class Load:
    """Callers that ask again and again until they are told to stop."""

    def __init__(self, port: int, asked: list[bytes], callers: int) -> None:
        self.port, self.asked = port, asked
        self.statuses: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._stop, self._lock, self._next = threading.Event(), threading.Lock(), 0
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    def ask_no_more(self) -> None:
        self._stop.set()

    def stop(self, of: str = "", on_progress: OnProgress = unheard) -> None:
        """Wait for the answers on their way, which many callers wait for long. of: what was done, for people."""
        self.ask_no_more()
        while left := sum(thread.is_alive() for thread in self._threads):
            on_progress(f"last answers {of}", len(self._threads) - left, len(self._threads))
            time.sleep(0.1)

    def _call(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        while not self._stop.is_set():
            with self._lock:
                body = self.asked[self._next % len(self.asked)]
                self._next += 1
            begun = time.monotonic()
            pause_s = 0.0
            try:
                headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
                connection.request("POST", "/v1/round-trip", body, headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
                status = str(response.status)
                if response.status == 200 and answer["points"][0]["found_x"] is None:
                    status = "200 without a point"
                if response.status in (429, 503):
                    pause_s = float(response.headers.get("Retry-After", "1"))
            except (OSError, HTTPException, ValueError) as error:
                status, pause_s = type(error).__name__, 0.2
                connection.close()
            with self._lock:
                self.statuses[status] += 1
                if status == "200":
                    self.seconds.append(time.monotonic() - begun)
            self._stop.wait(pause_s)
        connection.close()


def memory_mib(pid: int) -> float:
    """Resident memory of a process (Linux)."""
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024, 1)


def measure(
    server: subprocess.Popen[str], port: int, asked: list[bytes], callers: int, seconds: float, on_progress: OnProgress
) -> dict[str, Any]:
    """One load. Memory is read twice a second along the way, or oftener in a short one."""
    load, memory, begun = Load(port, asked, callers), [], time.monotonic()
    while (passed := time.monotonic() - begun) < seconds:
        on_progress(f"seconds of callers, {callers} at once", int(passed), math.ceil(seconds))
        time.sleep(min(0.5, seconds / 16))
        memory.append(memory_mib(server.pid))
    # Without the last ones, which the callers are still waiting for.
    answered, passed = len(load.seconds), time.monotonic() - begun
    load.stop(f"to {callers} at once", on_progress)
    took = np.array(load.seconds or [float("nan")])
    return {
        "callers": callers,
        "seconds": seconds,
        "round_trips_a_second": round(answered / passed, 2),
        "latency_seconds": {f"p{q}": round(float(np.percentile(took, q)), 3) for q in (50, 95, 99)},
        "statuses": dict(load.statuses),
        "memory_mib": {
            f"quarter {n + 1}": {name: round(float(np.percentile(quarter, q))) for name, q in PERCENTILES.items()}
            for n, quarter in enumerate(np.array_split(memory, 4))
        },
    }


def fill(port: int, asked: list[bytes], callers: int, photos: int, on_progress: OnProgress) -> float:
    """Ask until the server keeps so many photos; the seconds that took."""
    begun, load = time.monotonic(), Load(port, asked, callers)
    while (answered := sum(load.statuses.values())) < photos:
        on_progress("photos that the server is filled with", answered, photos)
        time.sleep(0.5)
    load.stop("while it is filled", on_progress)
    return round(time.monotonic() - begun, 1)


def stop_in_flight(server: subprocess.Popen[str], port: int, asked: list[bytes], callers: int) -> dict[str, Any]:
    """SIGTERM while every caller waits for an answer: each gets it."""
    load = Load(port, asked, callers)
    time.sleep(2)
    load.ask_no_more()
    begun = time.monotonic()
    server.send_signal(signal.SIGTERM)
    status = server.wait(timeout=120)
    seconds = round(time.monotonic() - begun, 2)
    load.stop()
    return {"exit_status": status, "seconds_to_stop": seconds, "statuses": dict(load.statuses)}


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--threads", type=int, default=2, help="OMP_NUM_THREADS of the server")
    parser.add_argument(
        "--fill", type=int, default=FILL, metavar="N", help=f"photos asked about beforehand ({FILL} unless given)"
    )
    given = parser.parse_args(words)
    minutes = (given.fill / FILLED_A_SECOND + 1.25 * given.seconds + 30) / 60
    tell(
        f"{given.fill} photos fill the server, then one caller for {given.seconds / 4:g} s, {given.callers} at once "
        f"for {given.seconds:g} s, and SIGTERM: about {math.ceil(minutes)} min with mini on two cores"
    )
    asked = bodies()
    server, port = start(given.model, given.threads)
    try:
        with Progress(tell) as progress:
            filled_s = fill(port, asked, given.callers, given.fill, progress.show)
            one = measure(server, port, asked, 1, given.seconds / 4, progress.show)
            many = measure(server, port, asked, given.callers, given.seconds, progress.show)
        tell("SIGTERM with requests in flight")
        stopped = stop_in_flight(server, port, asked, min(8, given.callers))
    finally:
        server.kill()
    result = {
        "command": " ".join(["benchmarks/serving.py", *(sys.argv[1:] if words is None else words)]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.platform()}",
        "load_average_at_end": [round(value, 1) for value in os.getloadavg()],
        "server_threads": given.threads,
        "versions": versions(),
        "model": given.model,
        "fill_photos": given.fill,
        "fill_seconds": filled_s,
        "one_caller": one,
        "many_callers": many,
        "speedup": round(many["round_trips_a_second"] / max(one["round_trips_a_second"], 1e-9), 2),
        "errors_other_than_429": sum(n for status, n in many["statuses"].items() if status not in ("200", "429")),
        "memory_growth_mib_second_half": {
            name: many["memory_mib"]["quarter 4"][name] - many["memory_mib"]["quarter 3"][name] for name in PERCENTILES
        },
        "sigterm": stopped,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
