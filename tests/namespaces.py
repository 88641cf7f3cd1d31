"""Hosts of a test: network namespaces of Linux with virtual cables between them. They need root."""

import ctypes
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self, TypeVar
from uuid import uuid4

Result = TypeVar("Result")
CLONE_NEWNET = 0x40000000


def why_not() -> str | None:
    """Why there can be no namespaces here; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "no ip or tc (Debian: iproute2)"
    try:
        with Network(["a"]) as network:
            network.ip("a", "link", "add", "probe", "type", "veth", "peer", "name", "eborp")
            network.shape("a", "probe", 1_000_000, 2_000, 2_000)
    except NetworkError as error:
        return str(error)
    return None


class NetworkError(RuntimeError):
    """The kernel does not let us."""


class Network:
    """Hosts by name, until the end of the context.

    Args:
        hosts: names.
    """

    def __init__(self, hosts: list[str]) -> None:
        mark = uuid4().hex[:6]
        self.namespaces = {host: f"fh-{mark}-{host}" for host in hosts}

    def __enter__(self) -> Self:
        try:
            for host, namespace in self.namespaces.items():
                command("ip", "netns", "add", namespace)
                # What the kernel says by itself would take its share of the link.
                self.inside(host, lambda: Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1"))
                self.ip(host, "link", "set", "lo", "up")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def ip(self, host: str, *words: str) -> None:
        """Run `ip` on a host."""
        command("ip", "-netns", self.namespaces[host], *words)

    def cable(self, host: str, address: str, other: str, other_address: str) -> None:
        """A cable between two hosts: interface `eth` on both, addresses with the prefix, neighbours known."""
        self.ip(
            host, "link", "add", "eth", "type", "veth", "peer", "name", "eth", "netns", self.namespaces[other]
        )
        for name, its_address in ((host, address), (other, other_address)):
            self.ip(name, "address", "add", its_address, "dev", "eth")
            self.ip(name, "link", "set", "eth", "up")
        for name, far, far_address in ((host, other, other_address), (other, host, address)):
            described = command("ip", "-json", "-netns", self.namespaces[far], "link", "show", "eth")
            its = ("lladdr", json.loads(described)[0]["address"], "dev", "eth", "nud", "permanent")
            self.ip(name, "neighbour", "replace", far_address.split("/")[0], *its)

    def switch(self, host: str, address: str, others: Mapping[str, str]) -> None:
        """A switch on a host, and a cable to it from each of the others: interface `eth` there."""
        self.ip(host, "link", "add", "switch", "type", "bridge")
        self.ip(host, "address", "add", address, "dev", "switch")
        self.ip(host, "link", "set", "switch", "up")
        for other, its_address in others.items():
            far_end = ("peer", "name", "eth", "netns", self.namespaces[other])
            self.ip(host, "link", "add", f"to-{other}", "type", "veth", *far_end)
            self.ip(host, "link", "set", f"to-{other}", "master", "switch", "up")
            self.ip(other, "address", "add", its_address, "dev", "eth")
            self.ip(other, "link", "set", "eth", "up")

    def bounded_patience(self) -> None:
        """Where Linux can (6.15): TCP tries again each second at most, and not ever more seldom."""
        path = Path("/proc/sys/net/ipv4/tcp_rto_max_ms")
        for host in self.namespaces:
            if self.inside(host, path.exists):
                self.inside(host, lambda: path.write_text("1000"))

    def delayed(self, host: str, interface: str) -> int:
        """How often the token bucket of an interface let something wait."""
        said = command(
            "tc", "-s", "-json", "-netns", self.namespaces[host], "qdisc", "show", "dev", interface
        )
        return int(json.loads(said)[0]["overlimits"])

    def shape(self, host: str, interface: str, rate_bps: int, burst_bytes: int, limit_bytes: int) -> None:
        """Let the kernel's token bucket guard what leaves an interface; its bucket is full."""
        tc = ("tc", "-netns", self.namespaces[host], "qdisc")
        subprocess.run([*tc, "delete", "dev", interface, "root"], capture_output=True, check=False)
        bucket = ("rate", f"{rate_bps}bit", "burst", str(burst_bytes), "limit", str(limit_bytes))
        command(*tc, "add", "dev", interface, "root", "tbf", *bucket)

    def inside(self, host: str, action: Callable[[], Result]) -> Result:
        """Do something on a host: in a thread that lives there. A socket made there stays there."""
        results: list[Result] = []
        errors: list[BaseException] = []

        def act() -> None:
            try:
                enter(self.namespaces[host])
                results.append(action())
            except BaseException as error:  # handed over to the caller
                errors.append(error)

        thread = Thread(target=act)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def udp(self, host: str) -> socket.socket:
        """A UDP socket on a host."""
        return self.inside(host, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def _remove(self) -> None:
        for namespace in self.namespaces.values():
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)


def enter(namespace: str) -> None:
    """Move the calling thread into a namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{namespace}").open("rb") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise NetworkError(f"setns: {os.strerror(ctypes.get_errno())}")


def command(*words: str) -> str:
    """Run a command of the system. Raises NetworkError with what it said."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise NetworkError(f"{' '.join(words[:4])} ...: {said[-1] if said else done.returncode}")
    return done.stdout
