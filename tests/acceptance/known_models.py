"""Models whose answer is known for every voxel, so that a result can be compared without trusting the program.

They are U-Nets (`unet`, depth 1) with weights set by hand: the first convolution (stride 2) keeps all eight voxels of
each block of two in eight channels, the lower level gives nothing, and the head puts the voxels back. So the last
convolution sees the image as the window maps it (0 ... 1), and its weights are the rule of the model.
"""

import json
import struct

import numpy as np


def safetensors_bytes(tensors, metadata):
    """A safetensors file: length of the header, header, row-major values."""
    header, offset = {"__metadata__": metadata}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(tensor.tobytes() for tensor in tensors.values())


def read_safetensors(path):
    """Tensors (float32 ones) and metadata of a safetensors file."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header.pop("__metadata__", {})
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
        for name, entry in header.items()
        if entry["dtype"] == "F32"
    }, metadata


def passing_weights(channels):
    """Everything up to the head's convolution: channel c of the image arrives there as channel c of 4 * channels."""
    width = 8 * channels
    zeros = lambda *shape: np.zeros(shape, np.float32)
    weights = {}

    def norm(name, count):
        weights[name + ".weight"] = np.ones(count, np.float32)
        weights[name + ".bias"] = weights[name + ".running_mean"] = zeros(count)
        weights[name + ".running_var"] = np.full(count, 1 - 1e-5, np.float32)

    first = zeros(width, channels, 3, 3, 3)
    back = zeros(width, width // 2, 2, 2, 2)
    for channel in range(channels):
        for place in range(8):
            z, y, x = place >> 2, place >> 1 & 1, place & 1
            first[8 * channel + place, channel, 1 + z, 1 + y, 1 + x] = 1
            back[8 * channel + place, channel, z, y, x] = 1
    keep = zeros(width, width, 3, 3, 3)
    keep[range(width), range(width), 1, 1, 1] = 1
    merge = zeros(2 * width, 2 * width, 1, 1, 1)
    merge[range(width), range(width, 2 * width)] = 1
    narrow = zeros(width, 2 * width, 3, 3, 3)
    narrow[range(width), range(width), 1, 1, 1] = 1
    weights["encoder_0_Conv_conv.weight"] = first
    norm("encoder_0_Conv_adn_N", width)
    weights["encoder_1_Down.conv.0.conv.weight"] = zeros(2 * width, width, 3, 3, 3)
    norm("encoder_1_Down.conv.0.adn.N", 2 * width)
    weights["encoder_1_Down.conv.1.conv.weight"] = zeros(2 * width, 2 * width, 3, 3, 3)
    weights["encoder_1_Down.conv.1.conv.bias"] = zeros(2 * width)
    weights["decoder_0_Up_deconv.weight"] = zeros(2 * width, width, 2, 2, 2)
    weights["decoder_0_Up_deconv.bias"] = zeros(width)
    weights["decoder_0_Conv1x1x1.weight"], weights["decoder_0_Conv1x1x1.bias"] = merge, zeros(2 * width)
    weights["decoder_0_Conv.conv.0.conv.weight"] = narrow
    norm("decoder_0_Conv.conv.0.adn.N", width)
    weights["decoder_0_Conv.conv.1.conv.weight"] = keep
    weights["decoder_0_Conv.conv.1.conv.bias"] = zeros(width)
    weights["decoder_1_Up_deconv.weight"], weights["decoder_1_Up_deconv.bias"] = back, zeros(width // 2)
    return weights


def model_bytes(kernel, bias, labels, data=None, **config):
    """A model whose head has this kernel [classes, channels, z, y, x] and bias; `config` as in commands.md."""
    kernel = np.asarray(kernel, np.float32)
    classes, channels = kernel.shape[:2]
    head = np.zeros((classes, 4 * channels, 3, 3, 3), np.float32)
    head[:, :channels] = kernel
    weights = {
        **passing_weights(channels),
        "decoder_1_out.weight": head,
        "decoder_1_out.bias": np.asarray(bias, np.float32),
    }
    net = {"name": "unet", "width": 8 * channels, "depth": 1, "in_channels": channels, "classes": classes}
    data = {"spacing_mm": "keep", "window": [-1000, 3000], "orientation": "LPS", **(data or {})}
    text = json.dumps({"net": net, "labels": {str(i): name for i, name in enumerate(labels)}, "data": data, **config})
    return safetensors_bytes(weights, {"format": "lamp-model", "version": "1", "config": text})


def threshold_model(thresholds, labels, window=(-1000, 3000), sharpness=1000, **config):
    """Label k where the value lies above thresholds[k - 1] and below thresholds[k]."""
    scaled = [(t - window[0]) / (window[1] - window[0]) for t in thresholds]
    kernel = np.zeros((len(labels), 1, 3, 3, 3))
    kernel[:, 0, 1, 1, 1] = sharpness * np.arange(len(labels))
    bias = [-sharpness * sum(scaled[:k]) for k in range(len(labels))]
    return model_bytes(kernel, bias, labels, {"window": list(window), **config.pop("data", {})}, **config)


def channel_model(weights, threshold, labels=("background", "bright"), sharpness=1000, **config):
    """Label 1 where the sum of weights times channels (window 0 ... 1000) lies above the threshold."""
    kernel = np.zeros((2, len(weights), 3, 3, 3))
    kernel[1, :, 1, 1, 1] = sharpness * np.asarray(weights)
    return model_bytes(kernel, [0, -sharpness * threshold / 1000], labels, {"window": [0, 1000]}, **config)


def edge_model(labels, axis="x", **config):
    """Label 1 where values rise along an axis of the network's grid (half of 1000 between the two neighbours); if
    there is a label 2, it is where they fall. Mirroring along the axis exchanges the two."""
    kernel = np.zeros((len(labels), 1, 3, 3, 3))
    after = {"x": (1, 1, 2), "y": (1, 2, 1), "z": (2, 1, 1)}[axis]
    before = tuple(2 - i for i in after)
    for label, sign in ((1, 1), (2, -1))[: len(labels) - 1]:
        kernel[label, 0][after], kernel[label, 0][before] = 100 * sign, -100 * sign
    return model_bytes(kernel, [0, *[-50] * (len(labels) - 1)], labels, {"window": [0, 1000]}, **config)
