"""Runs a command on a terminal of its own and plays a script on it.

usage: terminal.py SCRIPT COMMAND...
SCRIPT is a JSON list of steps: {"see": TEXT} waits for it, {"type": TEXT},
{"size": [ROWS, COLUMNS]}, {"touch": FILE}, {"after": FILE} waits until it is there.
Prints one JSON object: how the command ended, all that it wrote, and whether the
terminal is as it was.
"""

import json, os, pty, select, signal, struct, sys, termios, time, fcntl

STEP_SECONDS = 60


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def main():
    script, command = json.loads(sys.argv[1]), sys.argv[2:]
    terminal, inner = pty.openpty()
    resize(terminal, 30, 120)
    before = termios.tcgetattr(inner)
    child = os.fork()
    if child == 0:
        os.close(terminal)
        os.login_tty(inner) if hasattr(os, "login_tty") else take_terminal(inner)
        os.execvp(command[0], command)
    written, from_here = b"", 0

    def read(seconds):
        nonlocal written
        if select.select([terminal], [], [], seconds)[0]:
            written += os.read(terminal, 65536)

    for step in script:
        deadline = time.monotonic() + STEP_SECONDS
        if "type" in step:
            os.write(terminal, step["type"].encode())
        if "size" in step:
            from_here = len(written)
            resize(terminal, *step["size"])
            os.kill(child, signal.SIGWINCH)
        if "touch" in step:
            open(step["touch"], "w").close()
        while "after" in step and not os.path.exists(step["after"]):
            read(0.05)
            if time.monotonic() > deadline:
                fail(child, step, written)
        while "see" in step and step["see"].encode() not in written[from_here:]:
            read(0.05)
            if time.monotonic() > deadline:
                fail(child, step, written)
        if "see" in step:
            at = written.index(step["see"].encode(), from_here)
            from_here = at + len(step["see"])
    deadline = time.monotonic() + STEP_SECONDS
    status = 0
    while True:
        read(0.05)
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            fail(child, {"see": "the end"}, written)
    while select.select([terminal], [], [], 0.1)[0]:
        written += os.read(terminal, 65536)
    print(json.dumps({
        "status": os.waitstatus_to_exitcode(status),
        "written": written.decode(errors="replace"),
        "restored": termios.tcgetattr(inner) == before,
    }))


def take_terminal(inner):
    os.setsid()
    fcntl.ioctl(inner, termios.TIOCSCTTY, 0)
    for number in (0, 1, 2):
        os.dup2(inner, number)


def fail(child, step, written):
    os.kill(child, signal.SIGKILL)
    sys.exit(f"in vain: {step}\n{written.decode(errors='replace')[-4000:]}")


main()
