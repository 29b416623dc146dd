"""Times Voxloop's imaging beside Python libraries, pair by pair in one run.

    python compare.py --voxloop BENCH --work DIR [--rounds 5] [--section NAME ...] [--json FILE]

BENCH is the built program of this folder. A section is a function registered
with @section: it prepares its data below the work folder and returns a Pair.
Each round runs ours and theirs once, in turn; the ratio is that of the medians.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SECTIONS = {}


def section(f):
    SECTIONS[f.__name__] = f
    return f


@dataclasses.dataclass
class Pair:
    """What is compared: ours is the arguments of BENCH, theirs are callables by name."""

    ours: list[str]
    theirs: dict[str, Callable]
    check: Callable | None = None  # raises when the two do not give the same result
    decoded_bytes: int = 0  # of the input: memory is stated as a multiple of it
    target: float = 0  # wanted ratio, for the table


def run_ours(bench, args):
    out = subprocess.run([bench, *args], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def timed(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def compare(name, bench, work, rounds):
    pair = SECTIONS[name](work)
    for f in pair.theirs.values():
        f()  # first calls load libraries and fill the file cache
    run_ours(bench, [name, *pair.ours])
    if pair.check:
        pair.check(bench)
    ours, theirs, peak = [], {k: [] for k in pair.theirs}, 0
    for _ in range(rounds):
        r = run_ours(bench, [name, *pair.ours])
        ours += r["seconds"]
        peak = max(peak, r["peak_bytes"])
        for k, f in pair.theirs.items():
            theirs[k].append(timed(f))
    mine = statistics.median(ours)
    return {
        "section": name,
        "voxloop_seconds": ours,
        "reference_seconds": theirs,
        "ratio": {k: statistics.median(v) / mine for k, v in theirs.items()},
        "peak_bytes": peak,
        "peak_of_decoded": peak / pair.decoded_bytes if pair.decoded_bytes else None,
        "target": pair.target,
    }


@section
def preprocess(work):
    """Load, orient, resample and normalise a 512×512×200 int16 .nii.gz, beside MONAI."""
    import nibabel
    import numpy as np
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Orientation, ScaleIntensityRange, Spacing

    path = work / "ct_512x512x200.nii.gz"
    shape = (512, 512, 200)
    if not path.exists():
        rng = np.random.default_rng(1)
        x, y, z = np.ogrid[-1:1:512j, -1:1:512j, -1:1:200j]
        body = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
        organs = 60 * np.sin(9 * x) * np.cos(7 * y) * np.sin(5 * z) + 40
        image = np.where(body, organs, -1000) + rng.normal(0, 12, shape)
        affine = np.diag([-0.8, -0.8, 2.5, 1])  # LPS
        affine[:3, 3] = 200, 190, -250
        nibabel.Nifti1Image(image.astype(np.int16), affine).to_filename(path)

    def chain(**spacing):
        return Compose([
            LoadImage(image_only=True),
            EnsureChannelFirst(),
            Orientation("RAS", labels=None),
            Spacing((1.5, 1.5, 2.0), mode="bilinear", padding_mode="border", **spacing),
            ScaleIntensityRange(-160, 240, 0, 1, clip=True),
        ])

    default, single = chain(), chain(dtype=np.float32)

    def check(bench):
        raw = work / "preprocess.f32"
        run_ours(bench, ["preprocess", "--in", str(path), "--out", str(raw)])
        want = np.asarray(default(path))[0]
        got = np.fromfile(raw, np.float32).reshape(want.shape)
        raw.unlink()
        worst = float(np.abs(got - want).max())
        if worst > 1e-3:
            raise SystemExit(f"preprocess: the results differ by up to {worst}")

    return Pair(
        ours=["--in", str(path)],
        theirs={"MONAI": lambda: default(path), "MONAI, float32 resampling": lambda: single(path)},
        check=check,
        decoded_bytes=2 * shape[0] * shape[1] * shape[2],
        target=3,
    )


@section
def augment(work):
    """Affine map, noise and gamma of a 96³ patch, each always applied, beside MONAI."""
    import math

    import numpy as np
    import torch
    from monai.transforms import AdjustContrast, Affine, Compose, RandAdjustContrast, RandAffine, RandGaussianNoise

    edge = 96
    path = work / "patch_96.f32"
    x, y, z = np.ogrid[-1:1:96j, -1:1:96j, -1:1:96j]
    patch = np.sin(7 * x) * np.cos(5 * y) + np.sin(9 * z) + np.random.default_rng(1).normal(0, 0.1, (edge,) * 3)
    patch = patch.astype(np.float32)
    patch.tofile(path)
    image = torch.from_numpy(patch)[None]

    turn = (math.radians(30),) * 3
    chain = Compose([
        RandAffine(prob=1, rotate_range=turn, scale_range=(0.3,) * 3, mode="bilinear", padding_mode="zeros", cache_grid=True, spatial_size=(edge,) * 3),
        RandGaussianNoise(prob=1, std=0.1),
        RandAdjustContrast(prob=1, gamma=(0.7, 1.5), retain_stats=True),
    ])
    chain.set_random_state(1)

    def check(bench):
        out = work / "augment.f32"
        run_ours(bench, ["augment", "--in", str(path), "--fixed", str(out)])
        got = np.fromfile(out, np.float32).reshape(patch.shape)
        out.unlink()
        # MONAI's parameters are those of the map from output to input.
        affine = Affine(rotate_params=(0, 0, -math.radians(20)), scale_params=(0.8,) * 3, mode="bilinear", padding_mode="zeros", image_only=True)
        want = np.asarray(AdjustContrast(gamma=1.3, retain_stats=True)(affine(image)))[0]
        inner = (slice(8, -8),) * 3
        worst = float(np.abs(got - want)[inner].max())
        if worst > 1e-3:
            raise SystemExit(f"augment: the results differ by up to {worst}")

    return Pair(
        ours=["--in", str(path), "--repeat", "5"],
        theirs={"MONAI": lambda: chain(image)},
        check=check,
        target=5,
    )


@section
def hd95(work):
    """HD95 of both classes of a 256³ pair of label maps, beside MONAI."""
    import numpy as np
    import torch
    from monai.metrics import compute_hausdorff_distance

    n, spacing = 256, (0.8, 0.8, 1.5)
    x, y, z = np.ogrid[:n, :n, :n]

    def balls(shift):
        rough = np.random.default_rng(shift).integers(0, n, (n, n, n))
        out = np.zeros((n, n, n), np.uint8)
        for label, centre, radius2 in ((2, n * 4 // 5, n * n // 36), (1, n * 2 // 5 + shift, n * n // 9)):
            out[(x - centre) ** 2 + (y - centre) ** 2 + (z - centre) ** 2 + rough < radius2] = label
        return out

    args, onehot = ["--edge", str(n)], []
    for name, labels in (("pred", balls(0)), ("truth", balls(3))):
        path = work / f"hd95_{name}.u8"
        labels.ravel(order="F").tofile(path)
        args += [f"--{name}", str(path)]
        onehot.append(torch.from_numpy(np.stack([labels == k for k in range(3)])[None].astype(np.float32)))

    def monai():
        return compute_hausdorff_distance(*onehot, include_background=False, percentile=95, spacing=spacing)

    def check(bench):
        path = work / "hd95.json"
        run_ours(bench, ["hd95", *args, "--result", str(path)])
        got, want = json.loads(path.read_text()), monai()[0].tolist()
        if not np.allclose(got, want, atol=1e-4):
            raise SystemExit(f"hd95: {got} against {want}")

    return Pair(ours=[*args, "--repeat", "3"], theirs={"MONAI": monai}, check=check, target=5)


@section
def components(work):
    """26-connected components of 512³ voxels, beside SciPy (wanted: at most 1 s)."""
    import numpy as np
    from scipy import ndimage

    n = 512
    rng = np.random.default_rng(5)
    labels = np.zeros((n, n, n), np.uint8)
    for _ in range(2000):
        radius, low = int(rng.integers(2, 22)), rng.integers(0, n, 3)
        edge = np.arange(-radius, radius + 1)
        ball = edge[:, None, None] ** 2 + edge[None, :, None] ** 2 + edge[None, None, :] ** 2 <= radius**2
        part = labels[tuple(slice(a, a + len(edge)) for a in low)]
        part[ball[tuple(slice(s) for s in part.shape)]] = 1
    path = work / "components.u8"
    labels.ravel(order="F").tofile(path)
    args = ["--edge", str(n), "--in", str(path)]

    def scipy():
        return ndimage.label(labels, np.ones((3, 3, 3)))

    def check(bench):
        out = work / "components.json"
        run_ours(bench, ["components", *args, "--result", str(out)])
        got, want = sorted(json.loads(out.read_text())), sorted(np.bincount(scipy()[0].ravel())[1:].tolist())
        if got != want:
            raise SystemExit(f"components: {len(got)} against {len(want)}, or other sizes")

    return Pair(ours=[*args, "--repeat", "3"], theirs={"SciPy": scipy}, check=check, target=1)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--voxloop", required=True, help="the built program of this folder")
    p.add_argument("--work", required=True, type=Path, help="a folder for test data")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--section", action="append", choices=sorted(SECTIONS), help="only these; may be repeated")
    p.add_argument("--json", type=Path, help="write the results here")
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="for both sides")
    a = p.parse_args()
    os.environ["GOMAXPROCS"] = os.environ["OMP_NUM_THREADS"] = str(a.threads)
    import torch

    torch.set_num_threads(a.threads)
    a.work.mkdir(parents=True, exist_ok=True)
    results = []
    for name in a.section or sorted(SECTIONS):
        r = compare(name, a.voxloop, a.work, a.rounds)
        results.append(r)
        mine = statistics.median(r["voxloop_seconds"])
        line = f"{name}: voxloop {mine:.3f} s"
        for k, v in r["reference_seconds"].items():
            line += f", {k} {statistics.median(v):.3f} s ({r['ratio'][k]:.1f} times; wanted {r['target']:g})"
        if r["peak_of_decoded"]:
            line += f"; memory {r['peak_bytes'] / 2**20:.0f} MiB, {r['peak_of_decoded']:.2f} of the decoded input"
        print(line, flush=True)
    if a.json:
        a.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    sys.exit(main())
