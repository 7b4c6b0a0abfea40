"""Runs a command on a terminal of its own and writes all that it says there, as it is, to standard output; ends as the command has ended."""

import os
import pty
import sys


def main() -> int:
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.argv[1], sys.argv[1:])
    while True:
        try:
            said = os.read(terminal, 65536)
        except OSError:
            # Linux says so when nobody has the other end open any more.
            break
        if not said:
            break
        sys.stdout.buffer.write(said)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
