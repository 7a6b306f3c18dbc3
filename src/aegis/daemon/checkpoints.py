"""Signed checkpoints of the ledger, written now and then and at the end: without them a cut tail would not show."""

from __future__ import annotations

import time

from aegis.adapters.anchors_file import AnchorFile
from aegis.bootstrap.ledger import CHECKPOINTS_FILE, KEY_FILE
from aegis.bootstrap.plant import Plant
from aegis.ledger.checkpoints import sign

EVERY_SECONDS = 60.0


class Anchors:
    """Signs the head when it has moved, with a key that signs nothing else."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._file = AnchorFile(plant.data / CHECKPOINTS_FILE)
        self._last = -1
        self._at = time.monotonic()
        (plant.data / KEY_FILE).write_text(plant.keys.checkpoint.public_key(), encoding="ascii")

    def round(self) -> float:
        """Once a minute."""
        if time.monotonic() - self._at >= EVERY_SECONDS:
            self.write()
        return 1.0

    def write(self) -> None:
        """Sign the present head, where it is another than the last time."""
        self._at = time.monotonic()
        head = self._plant.ledger.head()
        if head.seq not in (0, self._last):
            now = self._plant.context.clock.now()
            self._file.append(
                sign(head, origin=self._plant.context.options.name, at=now, signer=self._plant.keys.checkpoint)
            )
            self._last = head.seq
