"""Two network namespaces with a link between them on which every packet can vanish: neither end hears so much as a TCP ACK."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

NEAR, FAR = "10.77.0.1", "10.77.0.2"

#: A bucket that holds not one byte: every packet is too large for it and is dropped.
DROPPING = ("tbf", "rate", "8bit", "burst", "1", "limit", "1")


class Link:
    """Use as a context manager; the namespaces end with the two processes that hold them.

    ``near`` and ``far`` are commands to run others under; what listens, listens on `FAR`.
    """

    def __init__(self) -> None:
        self._holders: list[subprocess.Popen[bytes]] = []

    @property
    def near(self) -> list[str]:
        return self._enter(0)

    @property
    def far(self) -> list[str]:
        return self._enter(1)

    def cut(self) -> None:
        """Drop every packet, both ways."""
        self._run(self.near, "tc", "qdisc", "add", "dev", "near", "root", *DROPPING)
        self._run(self.far, "tc", "qdisc", "add", "dev", "far", "root", *DROPPING)

    def heal(self) -> None:
        self._run(self.near, "tc", "qdisc", "del", "dev", "near", "root")
        self._run(self.far, "tc", "qdisc", "del", "dev", "far", "root")

    def __enter__(self) -> Link:
        if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip", "tc"))):
            pytest.skip("network namespaces need root, util-linux and iproute2")
        try:
            self._make()
        except (AssertionError, subprocess.CalledProcessError) as error:
            self.__exit__()
            pytest.skip(f"no network namespaces here: {error}")
        return self

    def __exit__(self, *exc_info: object) -> None:
        for holder in self._holders:
            holder.kill()
            holder.wait()

    def _make(self) -> None:
        ours = os.readlink("/proc/self/ns/net")
        for _ in range(2):
            holder = subprocess.Popen(["unshare", "--net", "sleep", "600"])
            self._holders.append(holder)
            path = Path(f"/proc/{holder.pid}/ns/net")
            wait_until(lambda path=path: os.readlink(path) != ours, 5, "a namespace")
        far = str(self._holders[1].pid)
        self._run(self.near, "ip", "link", "add", "name", "near", "type", "veth", "peer", "name", "far", "netns", far)
        for enter, name, address in ((self.near, "near", NEAR), (self.far, "far", FAR)):
            self._run(enter, "ip", "addr", "add", f"{address}/24", "dev", name)
            self._run(enter, "ip", "link", "set", name, "up")
        self.cut()  # tells whether the system can
        self.heal()

    def _enter(self, index: int) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._holders[index].pid}/ns/net"]

    def _run(self, enter: Sequence[str], *command: str) -> None:
        subprocess.run([*enter, *command], check=True, capture_output=True)
