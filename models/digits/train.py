"""Trains the two digit classifiers, writes the ONNX files, the calibration file and the held-out samples.

    python train.py --data FOLDER --out FOLDER [--epochs 30] [--only mlp|lenet5]

FOLDER of --data holds the four MNIST files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-...), unpacked.
Made with Python 3.11, torch 2.15.0 (CPU, one thread), onnx 1.23.2, onnxruntime 1.31.1, numpy 2.2.6. Same seed and versions give the same
weights on the same kind of CPU; other kinds may differ in the last bits.
"""

import argparse
import base64
import json
import pathlib
import struct
import time

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import nn

SEED = 20261121
CALIBRATION_INPUTS = 256
HELD_OUT_SAMPLES = 400
BATCH = 256


class Mlp(nn.Module):
    """784-64-10. The input is what an image file has: 784 grey values from 0 to 255, row by row."""

    input_shape = (784,)

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(784, 64)
        self.logits = nn.Linear(64, 10)

    def forward(self, pixels):
        return self.logits(F.relu(self.hidden(pixels * (1 / 255))))


class LeNet5(nn.Module):
    """LeNet-5 with ReLU and max pooling, 61,706 parameters. The input is the image, 1 x 28 x 28, values from 0 to 255."""

    input_shape = (1, 28, 28)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.dense1 = nn.Linear(400, 120)
        self.dense2 = nn.Linear(120, 84)
        self.logits = nn.Linear(84, 10)

    def forward(self, image):
        x = F.max_pool2d(F.relu(self.conv1(image * (1 / 255))), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        return self.logits(F.relu(self.dense2(F.relu(self.dense1(x)))))


MODELS = {"mlp": (Mlp, "model.onnx", "pixels"), "lenet5": (LeNet5, "lenet5.onnx", "pixels")}


def read_idx(path):
    raw = pathlib.Path(path).read_bytes()
    axes = raw[3]
    shape = struct.unpack(">" + "I" * axes, raw[4 : 4 + 4 * axes])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def augment(images, generator):
    """A small random rotation, stretch and shift per image: strangers write less tidily than the training set."""
    count = images.shape[0]
    draw = lambda low, high: low + (high - low) * torch.rand(count, generator=generator)
    angle = draw(-0.2, 0.2)
    stretch_x, stretch_y = draw(0.87, 1.13), draw(0.87, 1.13)
    shift_x, shift_y = draw(-0.12, 0.12), draw(-0.12, 0.12)
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.stack(
        [torch.stack([cos * stretch_x, -sin * stretch_y, shift_x], 1), torch.stack([sin * stretch_x, cos * stretch_y, shift_y], 1)], 1
    )
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def accuracy(model, images, labels):
    model.eval()
    with torch.no_grad():
        right = sum(
            (model(x.reshape(-1, *model.input_shape)).argmax(1) == y).sum().item()
            for x, y in zip(images.split(1000), labels.split(1000), strict=True)
        )
    return right / len(labels)


def train(model, images, labels, epochs, generator):
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for epoch in range(epochs):
        model.train()
        started = time.time()
        order = torch.randperm(len(images), generator=generator)
        total = 0.0
        for step in range(len(images) // BATCH):
            batch = order[step * BATCH : (step + 1) * BATCH]
            # The last epochs see the images as they are.
            x = images[batch] if epoch >= epochs - 2 else augment(images[batch], generator)
            loss = F.cross_entropy(model(x.reshape(-1, *model.input_shape)), labels[batch], label_smoothing=0.03)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"  epoch {epoch + 1}: loss {total / (step + 1):.4f}, {time.time() - started:.1f} s", flush=True)


def export(model, path, input_name):
    model.eval()
    example = torch.zeros(2, *model.input_shape)
    torch.onnx.export(
        model,
        (example,),
        str(path),
        input_names=[input_name],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=18,
        external_data=False,
        dynamo=True,
    )
    strip_metadata(path)


def strip_metadata(path):
    """The stack traces the exporter writes next to each node."""
    stored = onnx.load(path)
    graph = stored.graph
    for node in graph.node:
        node.doc_string = ""
    for part in [graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer]:
        del part.metadata_props[:]
    onnx.save(stored, path)


def write_calibration(path, images, labels, input_name, shape):
    pixels = np.ascontiguousarray(images, np.uint8)
    path.write_text(
        json.dumps(
            {
                "inputs": {
                    input_name: {
                        "shape": [len(pixels), *shape],
                        "type": "u8",
                        "base64": base64.b64encode(pixels.tobytes()).decode(),
                    }
                },
                "labels": [int(label) for label in labels],
            }
        )
        + "\n"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--only", choices=list(MODELS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, out = pathlib.Path(args.data), pathlib.Path(args.out)
    train_images, train_labels = (read_idx(data / f"train-{name}-ubyte") for name in ("images-idx3", "labels-idx1"))
    test_images, test_labels = (read_idx(data / f"t10k-{name}-ubyte") for name in ("images-idx3", "labels-idx1"))
    as_tensor = lambda x: torch.from_numpy(x.astype(np.float32)).reshape(-1, 1, 28, 28)

    for name, (build, file, input_name) in MODELS.items():
        if args.only not in (None, name):
            continue
        torch.manual_seed(SEED)
        generator = torch.Generator().manual_seed(SEED)
        model = build()
        print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters")
        train(model, as_tensor(train_images), torch.from_numpy(train_labels.astype(np.int64)), args.epochs, generator)
        score = accuracy(model, as_tensor(test_images), torch.from_numpy(test_labels.astype(np.int64)))
        print(f"{name}: {score:.4f} of the 10,000 test images")
        export(model, out / file, input_name)

    picks = np.random.default_rng(SEED).permutation(len(train_images))[:CALIBRATION_INPUTS]
    write_calibration(out / "calibration.json", train_images[picks], train_labels[picks], "pixels", [784])
    samples = struct.pack("<I", HELD_OUT_SAMPLES) + b"".join(
        bytes([test_labels[i]]) + test_images[i].tobytes() for i in range(HELD_OUT_SAMPLES)
    )
    (out / "samples.bin").write_bytes(samples)


if __name__ == "__main__":
    main()
