"""What stops a device in the middle of something."""

from __future__ import annotations


class PowerCut(BaseException):
    """The machine stopped here."""


class Fuse:
    """Stops a device at its n-th commit from now: an odd number before it, an even one after."""

    def __init__(self) -> None:
        self.left = 0

    def burn(self) -> None:
        if self.left:
            self.left -= 1
            if not self.left:
                raise PowerCut
