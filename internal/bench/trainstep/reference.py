"""Times training steps of a MONAI network in PyTorch: the counterpart of trainstep.

reference.py --network '{"channels": [8, 16, 24, 32], …}' --shape 2,1,32,48,32 --warm 5 --steps 20
Prints one JSON object: ms, the time of every step in milliseconds, and peak_mb, the largest resident set.
"""
import argparse
import json
import resource
import time

import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--network", required=True, help="arguments of monai.networks.nets.UNet, as JSON")
    p.add_argument("--shape", required=True, help="N,C,spatial…")
    p.add_argument("--classes", type=int, default=3)
    p.add_argument("--warm", type=int, default=5)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--threads", type=int, required=True)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    net = UNet(**json.loads(a.network)).train()
    shape = [int(n) for n in a.shape.split(",")]
    n = torch.Size(shape).numel()
    x = ((torch.arange(n) % 97) / 97 - 0.5).reshape(shape).float()
    y = (torch.arange(n // shape[1]) // 7 % a.classes).reshape(shape[:1] + [1] + shape[2:])
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-5)
    times = []
    for i in range(a.warm + a.steps):
        begin = time.perf_counter()
        value = loss(net(x), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if i >= a.warm:
            times.append(1000 * (time.perf_counter() - begin))
    print(json.dumps({"ms": times, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "loss": value.item()}))


main()
