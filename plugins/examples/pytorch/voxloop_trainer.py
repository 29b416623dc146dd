"""The trainer's side of Voxloop's protocol: one request in, events out.

Standard library only. docs/trainers.md explains every field. Use:

    import voxloop_trainer

    def train(job):
        for step in range(1, steps + 1):
            job.check()                    # raises Stopped when the server says so
            ...
            job.event("progress", step=step, steps=steps, loss=loss)
        ...                                # make the folder job.request["out"]
        return {"steps": steps, "epochs": 1}

    voxloop_trainer.run(train)
"""

import json
import math
import os
import signal
import sys
import threading
import traceback

PROTOCOL = 1


class Stopped(Exception):
    """The server wants the training to end."""


class Failed(Exception):
    """The training cannot be done; the message is shown to people."""

    def __init__(self, message, fault="invalid"):
        super().__init__(message)
        self.fault = fault


class Job:
    """One training: its request and its way to speak."""

    def __init__(self):
        # Events have standard output for themselves: what libraries print there
        # goes to standard error, which is the server's log.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.request = {}

    def listen(self):
        """Read the request, then wait for the signal to stop."""
        try:
            self.request = json.loads(sys.stdin.readline())
        except ValueError as err:
            raise Failed(f"the request is no JSON: {err}") from err
        if self.request.get("protocol") != PROTOCOL:
            raise Failed(f"the request has protocol {self.request.get('protocol')}, this trainer speaks {PROTOCOL}")
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        threading.Thread(target=self._wait_for_end, daemon=True).start()

    def _wait_for_end(self):
        while sys.stdin.readline():
            pass
        self._stop.set()

    def stopped(self):
        """Whether the training has to end."""
        return self._stop.is_set()

    def check(self):
        """Raise Stopped when the training has to end. Call it at every step."""
        if self.stopped():
            raise Stopped

    def event(self, kind, **fields):
        """Write one event. Numbers that JSON does not know are left out."""
        fields = {k: v for k, v in fields.items() if v is not None and not (isinstance(v, float) and not math.isfinite(v))}
        line = json.dumps({"event": kind, **fields}, allow_nan=False)
        with self._lock:
            print(line, file=self._out, flush=True)

    def warn(self, message):
        self.event("warning", message=message)


def run(train):
    """Do one training: train(job) returns the result's fields."""
    job = Job()
    try:
        job.listen()
        result = train(job)
        job.event("finished", result={"model": job.request["out"], **result})
    except Stopped:
        job.event("failed", fault="canceled", message="the training was stopped")
        sys.exit(1)
    except Failed as err:
        job.event("failed", fault=err.fault, message=str(err))
        sys.exit(1)
    except MemoryError:
        job.event("failed", fault="unavailable", message="memory ran out: use a smaller batch")
        sys.exit(1)
    except OSError as err:
        traceback.print_exc()
        full = err.errno in (28, 122)  # ENOSPC, EDQUOT
        job.event("failed", fault="no space" if full else "internal", message="the disk is full" if full else "a file cannot be used; the log says which")
        sys.exit(1)
    except Exception:  # noqa: BLE001 - whatever happens, the server is told
        traceback.print_exc()
        job.event("failed", fault="internal", message="the trainer has a defect; the log says where")
        sys.exit(1)
