"""What does a person at a terminal see? The command line on a pseudo-terminal, with its keyboard."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

WAIT = 60


class Terminal:
    """``isochat`` on a terminal of its own: what stands on it, and the keys of its keyboard.

    Args:
        piped: Standard output goes into a pipe instead; the terminal shows the rest.
    """

    def __init__(self, arguments, columns=80, piped=False, term="xterm-256color"):
        self._keys, screen = pty.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        # The terminal becomes the one that controls the new session: so Ctrl-C is a signal, as at any shell.
        begin = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from isochat.cli import main; main()"
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", begin, *arguments],
            stdin=screen,
            stdout=subprocess.PIPE if piped else screen,
            stderr=screen,
            env={**environment, "TERM": term},
            start_new_session=True,
        )
        os.close(screen)
        self._source = self.process.stdout.fileno() if piped else self._keys
        self.shown = ""

    def until(self, text):
        """Read on until ``text`` is shown."""
        deadline = time.monotonic() + WAIT
        while text not in self.shown:
            assert self._more(deadline), f"ended without {text!r}: {self.shown!r}"
        return self.shown

    def press_ctrl_c(self):
        os.write(self._keys, b"\x03")

    def end(self):
        """Read to the end; gives the exit code."""
        while self._more(time.monotonic() + WAIT):
            pass
        return self.process.wait(WAIT)

    def close(self):
        self.process.kill()
        self.process.wait(WAIT)
        os.close(self._keys)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _more(self, deadline):
        assert select.select([self._source], [], [], max(0, deadline - time.monotonic()))[0], "nothing more came"
        try:
            data = os.read(self._source, 65536)
        except OSError:  # what a terminal says when the last program on it has ended
            return False
        self.shown += data.decode().replace("\r\n", "\n")
        return data != b""
