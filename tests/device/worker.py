"""A till that works until it is killed: appends units of two events and says which are durable.

python -m tests.device.worker JOURNAL URL
"""

from __future__ import annotations

import sys

from replica.device import Device, StockMoved
from tests.device.desk import order


def main(path: str, url: str) -> None:
    with Device.open(path, random_bytes=bytes) as device:
        if url:
            device.start()
        number = device._holding.journal.last_n
        while True:
            number += 1
            ids = device.append(order(number), StockMoved("p-1", number * 1_000))
            sys.stdout.write(" ".join(one.hex() for one in ids) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
