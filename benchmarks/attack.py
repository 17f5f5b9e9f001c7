"""A server under attack: slow and dropped callers, bodies too large, bombs, private addresses, paths, random requests.

    python benchmarks/attack.py > benchmarks/results/attack.txt

starts `talking-points serve --allow-urls` in a process of its own on this machine, attacks it, and prints a table: what
was tried, how often, what came back, and what is wrong with that. The exit status is 1 where anything is. No name is
looked up and nothing leaves this machine: of the server's process, name resolution and the one public address are stood
in for, and all else is as it is.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any

from attacked import Check, check_usual, started, told
from callers import SLOW_CALLERS, check_dropped, check_fuzzed, check_raw, check_slow
from hostile import Elsewhere, check_addresses, check_bombs, check_large_bodies, check_paths
from serving import memory_mib

MOST_GROWTH_MIB = 1700.0
"""Of memory, over everything. What is kept of photos takes 1024 at most, and two photos of 50 megapixels that are
decoded at once some 300 each."""


def attack(seed: int, requests: int, *, whole: bool) -> list[Check]:
    """All checks. whole: everywhere, and with what takes a minute; else each kind at one place."""
    hosts = [ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) for _ in range(2)]
    for host in hosts:
        threading.Thread(target=host.serve_forever, daemon=True).start()
    public, inside = (host.server_address[1] for host in hosts)
    made: list[Check] = []
    with started(public) as server:

        def run(name: str, work: Callable[..., None], *given: Any, **more: Any) -> None:
            made.append(Check(name))
            print(name, file=sys.stderr)
            work(server, made[-1], *given, **more)

        run("usual requests", check_usual)
        before = memory_mib(server.process.pid)
        run("bodies of 60 MB", check_large_bodies, whole=whole)
        run("bombs", check_bombs)
        run("addresses that are not public", check_addresses, inside, whole=whole)
        run("paths out of the folders served", check_paths, whole=whole)
        run(f"{SLOW_CALLERS} slow callers", check_slow, whole=whole)
        run("callers who leave", check_dropped, seed, 64 if whole else 8)
        run(f"bytes that are no request, seed {seed}", check_raw, seed, requests // 10 + 11)
        run(f"random requests, seed {seed}", check_fuzzed, seed, requests)
        run("usual requests at the end", check_usual)
        grown = memory_mib(server.process.pid) - before
        made.append(Check("memory"))
        made[-1].note(f"grew by {grown:.0f} MiB", good=grown < MOST_GROWTH_MIB, of=f"at most {MOST_GROWTH_MIB:.0f}")
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(timeout=90)
        made.append(Check("after SIGTERM"))
        made[-1].note(f"exit status {status}", good=status == 0, of=status)
        log = told(server.log)
        made[-1].note(f"{log.count('Traceback')} tracebacks", good="Traceback" not in log, of=log[-2000:])
    for host in hosts:
        host.shutdown()
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--requests", type=int, default=2000, help="random ones")
    given = parser.parse_args()
    begun = time.monotonic()
    checks = attack(given.seed, given.requests, whole=True)
    print(f"{' '.join(sys.argv)}: seed {given.seed}, {given.requests} random requests, {platform.machine()}, "
          f"{os.cpu_count()} cores, Python {platform.python_version()}, {time.monotonic() - begun:.0f} s")  # fmt: skip
    print(*checks, sep="\n")
    sys.exit(any(check.problems for check in checks))


if __name__ == "__main__":
    main()
