"""How fast logs are masked: 200 secrets in all their encodings, over three kinds of logs, in processor time.

python tools/bench.py --only masking
"""

from __future__ import annotations

import argparse
import base64
import random
import string
import time
from collections.abc import Iterator

from figures import Figure, figure

from aegis.secrets.masking import SecretMasker

SECRETS = 200
SIZE = 16_000_000
TARGET = 50.0
CHUNKS = (4096, 65536)


def secrets(seed: int = 1) -> dict[str, str]:
    """Values as tokens and passwords are: 16 to 48 characters."""
    rng = random.Random(seed)  # noqa: S311 - values of a benchmark
    letters = string.ascii_letters + string.digits + "/+=_-"
    return {f"S{n}": "".join(rng.choice(letters) for _ in range(rng.randint(16, 48))) for n in range(SECRETS)}


def logs(values: dict[str, str]) -> dict[str, bytes]:
    """Three logs: lines of a server with a secret in every hundredth, encoded data, lines that are full of secrets."""
    rng = random.Random(2)  # noqa: S311 - the same lines every time
    names = list(values)
    lines: list[str] = []
    while sum(map(len, lines[-1000:])) * (len(lines) / max(1, len(lines[-1000:]))) < SIZE:
        number = len(lines)
        line = f"2026-11-27 10:00:{number % 60:02d} INFO request {rng.getrandbits(64):016x} path=/orders/{number} in {number % 97} ms"
        lines.append(line if number % 100 else f"{line} token={values[names[number % SECRETS]]}")
    encoded = base64.encodebytes(rng.randbytes(SIZE * 3 // 4))
    full = [
        f"{values[rng.choice(names)]} and {base64.b64encode(values[rng.choice(names)].encode()).decode()}"
        for _ in range(4000)
    ]
    dense = ("\n".join(full) * (SIZE // (4000 * 70)))[:SIZE]
    return {
        "a server's lines": "\n".join(lines).encode()[:SIZE],
        "base64 data": encoded[:SIZE],
        "full of secrets": dense.encode(),
    }


def speed(values: dict[str, str], log: bytes, chunk: int) -> float:
    """MB per second of processor time; the best of three."""
    best = 0.0
    for _ in range(3):
        masker = SecretMasker(values)
        begun = time.process_time()
        for start in range(0, len(log), chunk):
            masker.feed(log[start : start + chunk])
        masker.finish()
        best = max(best, len(log) / (time.process_time() - begun) / 1e6)
    return best


def figures(_: argparse.Namespace) -> Iterator[Figure]:
    """One figure for each kind of log, at the slower size of pieces."""
    values = secrets()
    how = "processor time, pieces of 4 and 64 KiB, the slower"
    for name, log in logs(values).items():
        found = [min(speed(values, log, chunk) for chunk in CHUNKS)]
        yield figure(f"masking, {SECRETS} secrets, {name}", "MB/s", found, how, target=TARGET, at_least=True)
