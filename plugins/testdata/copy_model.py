"""A trainer for tests: standard library only, it learns nothing.

It makes as many steps as the configuration says, each of a hundredth of a second,
and copies the model folder it was given.
"""

import os
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples", "pytorch"))

import voxloop_trainer  # noqa: E402


def train(job):
    config, cases = job.request["config"], job.request["cases"]
    steps = config["steps"]
    print("a library says hello")  # must not disturb the events
    job.event("started", steps=steps, epochs=1, batch=config.get("batch", 1), patch=[8, 8, 8])
    for step in range(1, steps + 1):
        job.check()
        time.sleep(0.01)
        job.event("progress", step=step, steps=steps, epoch=1, epochs=1, loss=1 / step, rate=float("nan"))
    if os.environ.get("MOOD") == "bad":
        raise voxloop_trainer.Failed("I do not like these images")
    if os.environ.get("MOOD") == "broken":
        raise KeyError("a defect")
    if os.environ.get("MOOD") == "full":
        raise OSError(28, "No space left on device", "/secret/place")
    job.warn(f"{len(cases)} cases, and \u00e4 pr\u00f6blem")
    shutil.copytree(job.request["model"], job.request["out"])
    return {"steps": steps, "epochs": 1, "mean_dice": 0.5, "dice": {"a": 0.5}}


voxloop_trainer.run(train)
