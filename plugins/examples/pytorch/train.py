"""A trainer for Voxloop in PyTorch and MONAI: a residual U-Net for models like
the hippocampus model (one image channel, z-scores, RAS, the image's own voxels).

It shows everything that an external trainer has to do: read the request, report
progress, stop when told so, go on from a checkpoint, and leave a model folder.
"""

import os
import random
import shutil
import time

import voxloop_trainer
from voxloop_trainer import Failed

NEEDS = "this trainer needs PyTorch, MONAI, nibabel, onnx and PyYAML: pip install torch monai nibabel onnx pyyaml"
CHECKPOINT_SECONDS = 30
MEASURED = 5  # steps after which a time budget becomes a number of steps

try:
    import monai.losses
    import monai.networks.nets
    import nibabel
    import numpy as np
    import onnx  # noqa: F401 - torch.onnx.export needs it
    import torch
    import yaml
    from monai.inferers import sliding_window_inference
except ImportError as missing:
    IMPORT_ERROR = missing
else:
    IMPORT_ERROR = None


class Manifest:
    """What the model folder says, as far as this trainer can follow it."""

    def __init__(self, folder):
        with open(os.path.join(folder, "manifest.yaml"), encoding="utf-8") as f:
            m = yaml.safe_load(f)
        inputs = m.get("inputs") or [{}]
        steps = inputs[0].get("normalize") or []
        usual = (
            m.get("dimension", 3) == 3 and len(inputs) == 1 and m.get("orientation", "RAS") == "RAS"
            and m.get("spacing", "native") == "native" and m.get("network", {}).get("axes", "xyz") == "xyz"
            and [list(s) for s in steps] == [["zscore"]] and isinstance(m.get("window", {}).get("size"), list)
        )
        if not usual:
            raise Failed("this trainer is for 3-D models with one image channel, a z-score, RAS, native spacing and a fixed window")
        self.window = m["window"]["size"]
        self.labels = [(label["name"], label["value"]) for label in m["labels"]]
        self.input = m.get("network", {}).get("input") or "image"
        self.output = m["outputs"][0].get("name") or "logits"


class Case:
    """One labelled image in the network's order: x, y, z, z fastest."""

    def __init__(self, entry, manifest):
        self.id = entry["id"]
        image = nibabel.as_closest_canonical(nibabel.load(entry["images"][0]))
        label = nibabel.as_closest_canonical(nibabel.load(entry["label"]))
        x, y = image.get_fdata(dtype=np.float32), np.asarray(label.dataobj).astype(np.int64)
        if x.shape != y.shape or x.ndim != 3:
            raise ValueError("image and label differ in shape")
        if not np.isfinite(x).all():
            raise ValueError("voxels are not finite")
        classes = np.zeros_like(y)
        for index, (_, value) in enumerate(manifest.labels, 1):
            classes[y == value] = index
        if ((y != 0) & (classes == 0)).any():
            raise ValueError("the label has values that the model does not know")
        self.image = torch.from_numpy((x - x.mean()) / max(float(x.std()), 1e-8))[None]
        self.label = torch.from_numpy(classes)[None]

    def patch(self, size, chance):
        """A random patch, flipped at random along the first axis; beyond the image: its mean, background."""
        short = [max(n - s, 0) for n, s in zip(size, self.image.shape[1:])]
        pad = [p for n in reversed(short) for p in (n // 2, n - n // 2)]
        x, y = (torch.nn.functional.pad(t, pad) for t in (self.image, self.label))
        at = [chance.randint(0, s - n) for n, s in zip(size, x.shape[1:])]
        where = (slice(None),) + tuple(slice(a, a + n) for a, n in zip(at, size))
        x, y = x[where], y[where]
        if chance.random() < 0.5:
            x, y = x.flip(1), y.flip(1)
        return x * chance.uniform(0.9, 1.1) + 0.05 * torch.randn(x.shape), y


def load_cases(job, manifest):
    """Training and validation cases; what cannot be used is named and left out."""
    train, check = [], []
    for entry in job.request["cases"]:
        job.check()
        try:
            (check if entry["role"] == "validate" else train).append(Case(entry, manifest))
        except (ValueError, OSError) as err:
            job.warn(f"case {entry['id']} was left out: {err if isinstance(err, ValueError) else 'a file cannot be read'}")
    if not train:
        raise Failed("none of the cases can be trained on")
    return train, check


class Training:
    """The state of a training, its checkpoints included."""

    def __init__(self, job, manifest):
        self.job, self.config = job, job.request["config"]
        self.seed = int(self.config.get("seed", 0))
        random.seed(self.seed)
        torch.manual_seed(self.seed)
        torch.set_num_threads(job.request.get("threads") or os.cpu_count() or 1)
        self.device = job.request.get("device") or "cpu"
        if self.device == "cuda" and not torch.cuda.is_available():
            raise Failed("this machine has no graphics card that PyTorch can use", fault="unavailable")
        self.net = monai.networks.nets.UNet(
            3, 1, len(manifest.labels) + 1, channels=(16, 32, 64, 128), strides=(2, 2, 2), num_res_units=2, norm="INSTANCE"
        ).to(self.device)
        self.rate = self.config.get("optimizer", {}).get("rate") or 1e-3
        self.optimizer = torch.optim.AdamW(self.net.parameters(), self.rate, weight_decay=1e-5)
        self.step, self.steps, self.best, self.best_weights = 0, 0, -1.0, None
        self.saved = time.monotonic()
        self.file = os.path.join(job.request["work"], "checkpoint.pt")
        os.makedirs(job.request["work"], exist_ok=True)
        if os.path.exists(self.file):
            self.load()
        elif self.config.get("from", "model") != "scratch":
            self.begin_from(os.path.join(job.request["model"], "model.pt"))

    def begin_from(self, weights):
        """An ONNX file holds no PyTorch weights: an earlier training here leaves them beside it."""
        if os.path.exists(weights):
            self.net.load_state_dict(torch.load(weights, map_location=self.device, weights_only=True))
        else:
            self.job.warn("the model was not made by this trainer: learning begins from scratch")

    def load(self):
        c = torch.load(self.file, map_location=self.device, weights_only=True)
        self.net.load_state_dict(c["net"])
        self.optimizer.load_state_dict(c["optimizer"])
        self.step, self.steps, self.best, self.best_weights = c["step"], c["steps"], c["best"], c["best_weights"]

    def save(self):
        part = self.file + ".part"
        torch.save({
            "net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step, "steps": self.steps,
            "best": self.best, "best_weights": self.best_weights,
        }, part)
        os.replace(part, self.file)
        self.saved = time.monotonic()
        self.job.event("checkpoint", step=self.step)

    def learn(self, x, y, loss_of):
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * (1 - self.step / max(self.steps, self.step + 1)) ** 0.9
        self.optimizer.zero_grad()
        loss = loss_of(self.net(x.to(self.device)), y.to(self.device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 12)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())


def validate(t, cases, manifest):
    """Mean Dice per class over the validation cases."""
    sums = {name: [] for name, _ in manifest.labels}
    t.net.eval()
    with torch.no_grad():
        for c in cases:
            t.job.check()
            scores = sliding_window_inference(c.image[None].to(t.device), manifest.window, 1, t.net, overlap=0.25, mode="gaussian")
            found, truth = scores.argmax(1)[0].cpu(), c.label[0]
            for index, (name, _) in enumerate(manifest.labels, 1):
                a, b = found == index, truth == index
                if a.any() or b.any():
                    sums[name].append(float(2 * (a & b).sum() / (a.sum() + b.sum())))
    t.net.train()
    return {name: sum(d) / len(d) for name, d in sums.items() if d}


def export(t, manifest):
    """Write the model folder: complete, or not at all."""
    out = t.job.request["out"]
    part = out + ".part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(t.job.request["model"], part)
    net = t.net.eval().cpu()
    axes = {0: "batch", 2: "x", 3: "y", 4: "z"}
    torch.onnx.export(
        net, torch.zeros(1, 1, *manifest.window), os.path.join(part, "model.onnx"), input_names=[manifest.input],
        output_names=[manifest.output], dynamic_axes={manifest.input: axes, manifest.output: axes}, opset_version=17, dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
    )
    torch.save(net.state_dict(), os.path.join(part, "model.pt"))
    os.replace(part, out)


def train(job):
    if IMPORT_ERROR is not None:
        raise Failed(f"{NEEDS} ({IMPORT_ERROR})", fault="unavailable")
    manifest = Manifest(job.request["model"])
    train_cases, check_cases = load_cases(job, manifest)
    t, config = Training(job, manifest), job.request["config"]
    batch = config.get("batch") or 2
    per_epoch = -(-len(train_cases) // batch)
    minutes = config.get("minutes") or 10
    t.steps = t.steps or config.get("steps") or (config.get("epochs") or 0) * per_epoch
    patch = [n or w for n, w in zip(config.get("patch") or [0, 0, 0], manifest.window)]
    loss_of = monai.losses.DiceCELoss(to_onehot_y=True, softmax=True)
    job.event("started", step=t.step, steps=t.steps, epochs=-(-t.steps // per_epoch), batch=batch, patch=patch)
    begin, first, told, mean, dice = time.monotonic(), t.step, 0.0, 0.0, {}
    while not t.steps or t.step < t.steps:
        if job.stopped():
            t.save()  # less than a second, the time that there is
        job.check()
        chance = random.Random(f"{t.seed} {t.step}")  # a step's patches are the same after a restart
        torch.manual_seed(t.seed + t.step)
        drawn = [chance.choice(train_cases).patch(patch, chance) for _ in range(batch)]
        loss = t.learn(torch.stack([x for x, _ in drawn]), torch.stack([y for _, y in drawn]), loss_of)
        spent = time.monotonic() - begin
        pace = (t.step - first) / spent
        if not t.steps and t.step >= MEASURED:
            t.steps = max(int(minutes * 60 * pace), MEASURED + 1)
        epoch, epochs = -(-t.step // per_epoch), -(-t.steps // per_epoch)
        if spent - told > 0.3:
            told = spent
            job.event("progress", step=t.step, steps=t.steps, epoch=epoch, epochs=epochs, loss=loss, rate=t.rate,
                      samples_per_s=pace * batch, eta_s=(t.steps - t.step) / pace)
        if check_cases and t.steps and (t.step % max(t.steps // 10, per_epoch) == 0 or t.step == t.steps):
            dice = validate(t, check_cases, manifest)
            mean = sum(dice.values()) / max(len(dice), 1)
            best = mean > t.best
            if best:
                t.best, t.best_weights = mean, {k: v.detach().cpu().clone() for k, v in t.net.state_dict().items()}
            job.event("validated", step=t.step, epoch=epoch, epochs=epochs, loss=loss, dice=dice, mean_dice=mean, best=best)
            t.save()
        if time.monotonic() - t.saved > CHECKPOINT_SECONDS:
            t.save()
    if t.best_weights is not None:
        t.net.load_state_dict(t.best_weights)
        dice, mean = validate(t, check_cases, manifest), t.best
    export(t, manifest)
    return {"steps": t.step, "epochs": -(-t.step // per_epoch), "dice": dice, "mean_dice": mean, "took_ns": int((time.monotonic() - begin) * 1e9)}


if __name__ == "__main__":
    voxloop_trainer.run(train)
