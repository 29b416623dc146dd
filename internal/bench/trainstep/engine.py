"""Trains a MONAI UNet in PyTorch on given batches from given weights, and writes the weights back into the ONNX file.

engine.py --golden golden.json --model model.onnx --batches DIR --rate 1e-3 --threads 2 --out trained.onnx
DIR has x.npy [steps, N, C, spatial…] float32 and y.npy [steps, N, 1, spatial…] uint8. golden.json maps the names of
ONNX initializers to PyTorch's parameters. Loss DiceCE, AdamW with decay 1e-5, constant rate.
"""
import argparse
import json

import numpy as np
import onnx
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from onnx import numpy_helper


def main():
    p = argparse.ArgumentParser()
    for name in ("golden", "model", "batches", "out"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--threads", type=int, required=True)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    golden = json.load(open(a.golden))
    names = [i for m in golden["models"] if m["file"] == "model.onnx" for i in m["initializers"] if i.get("trainable")]
    net = UNet(**golden["kwargs"]).train()
    graph = onnx.load(a.model)
    values = {t.name: t for t in graph.graph.initializer}
    parameters = dict(net.named_parameters())
    left = set(parameters)
    with torch.no_grad():
        for i in names:
            assert i["transform"] == "same" and not i.get("also"), i
            parameters[i["torch"]].copy_(torch.from_numpy(numpy_helper.to_array(values[i["onnx"]]).copy()))
            left.remove(i["torch"])
    assert not left, f"no initializer for {left}"
    x, y = np.load(a.batches + "/x.npy", mmap_mode="r"), np.load(a.batches + "/y.npy", mmap_mode="r")
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.AdamW(net.parameters(), a.rate, weight_decay=1e-5)
    losses = []
    for i in range(len(x)):
        value = loss(net(torch.from_numpy(x[i].copy())), torch.from_numpy(y[i].astype(np.int64)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    for i in names:
        values[i["onnx"]].CopyFrom(numpy_helper.from_array(parameters[i["torch"]].detach().numpy(), i["onnx"]))
    onnx.save(graph, a.out)
    print(json.dumps({"first_loss": losses[0], "last_loss": float(np.mean(losses[-20:]))}))


main()
