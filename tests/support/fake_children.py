"""A supervisor over children that only say what they do: run as a script by its tests.

fake_children.py DIRECTORY BEHAVIOUR      prints the ready line, then lines of the children
"""

import os
import signal
import sys
import time
from pathlib import Path

from proxy.handover import prepare
from proxy.listening import Address
from proxy.supervisor import Child, Supervisor


def main() -> int:
    """Start one keeper and two workers of the wanted kind."""
    directory, behaviour = Path(sys.argv[1]), sys.argv[2]
    anywhere = Address("127.0.0.1", 0)
    handover = prepare(directory, listen=anywhere, admin=anywhere, workers=2)

    def live(name: str) -> None:
        handover.keep_only()
        stop = {"asked": 0}

        def on_stop(_number: int, _frame: object) -> None:
            stop["asked"] += 1
            say(f"{name} stopping {stop['asked']}")

        signal.signal(signal.SIGTERM, on_stop)
        signal.signal(signal.SIGHUP, lambda _number, _frame: say(f"{name} hangup"))
        if behaviour == "broken" and name == "worker 1":
            raise RuntimeError("cannot start")
        say(f"{name} pid {os.getpid()}")
        handover.tell(f"{name} ready")
        while not stop["asked"]:
            time.sleep(0.01)
        while behaviour == "stubborn" and name.startswith("worker") and stop["asked"] < 2:
            time.sleep(0.01)
        while behaviour == "deaf" and name.startswith("worker"):
            time.sleep(0.01)

    names = ["keeper", "worker 0", "worker 1"]
    children = [Child(name, lambda name=name: live(name)) for name in names]
    code = Supervisor(handover, children, "all ready", drain_s=0.3).run()
    handover.close()
    return code


def say(line: str) -> None:
    """One write, so that lines of several processes do not mix."""
    os.write(1, line.encode() + b"\n")


if __name__ == "__main__":
    raise SystemExit(main())
