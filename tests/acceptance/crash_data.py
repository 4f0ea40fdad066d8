"""Small data sets, runs and tensor files for the walk along the crashes and refusals.

Needs numpy and nibabel.
"""

import json
import struct
import zlib

import numpy as np
from volumes import step_volume, write_nifti

CONFIG = {
    "net": {"name": "unet", "width": 4, "depth": 1},
    "data": {"spacing_mm": "keep", "window": [-200, 300]},
    "optimizer": {"name": "adamw", "lr": 1e-3},
    "curriculum": [{"patch": [16, 16, 16], "batch": 1, "epochs": 2}],
    "validation": {"every_epochs": 1, "fraction": 0.3},
    "execution": {"device": "cpu"},
    "loader": {"cache": "off", "threads": 1},
}


def prepare(walk):
    """A phantom data set `data`, a configuration `c.json`, a finished run `run`, its label map `made`, one image."""
    make(walk, ["synth", "--kind", "liver", "-o", "data", "--train", "3", "--test", "1", "--size", "32,32,32"])
    walk.write("c.json", CONFIG)
    make(walk, ["train", "-d", "data", "-c", "c.json", "-o", "run"])
    make(walk, ["segment", "-m", "run", "-i", "data/imagesTs", "-o", "made"])
    write_nifti(walk.path("scan.nii.gz"), step_volume())


def make(walk, args):
    """Runs a command that has to work before any check can."""
    result = walk.run(args, timeout=300)
    if result.code != 0:
        raise SystemExit(f"{result.command} failed with {result.code}: {result.last}")


def config_with(**changes):
    """The small configuration with other top-level values."""
    return {**CONFIG, **changes}


def data_set(walk, name, training, **fields):
    """A data set folder with this list of training entries and small images (`a`, `b`, `c`) of one label, `organ`."""
    for case in "abc":
        values = step_volume()
        values[0, 0, :3] = [ord(case), 2, 3]  # no two cases hold the same bytes
        write_nifti(walk.path(name, "imagesTr", case + ".nii.gz"), values)
        write_nifti(walk.path(name, "labelsTr", case + ".nii.gz"), (step_volume() > 0).astype("uint8"))
    content = {"labels": {"0": "background", "1": "organ"}, "training": training, **fields}
    walk.write(name + "/dataset.json", content)
    return walk.path(name)


def entry(case):
    """The usual entry of a training case."""
    return {"image": f"imagesTr/{case}.nii.gz", "label": f"labelsTr/{case}.nii.gz"}


def three_cases(walk, name, **fields):
    """A sound data set of three cases."""
    return data_set(walk, name, [entry(case) for case in "abc"], **fields)


def named_case(walk, name, case):
    """A data set of nnU-Net whose table `dataset` holds one case of this name."""
    folder = three_cases(walk, name)
    table = {case: {"images": ["imagesTr/a.nii.gz"], "label": "labelsTr/a.nii.gz"}}
    walk.write(name + "/dataset.json", {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1},
                                        "numTraining": 1, "file_ending": ".nii.gz", "dataset": table})
    return folder


def read_tensors(path):
    """Header (a dict, with __metadata__) and the bytes behind it, of a safetensors file."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8:8 + length]), content[8 + length:]


def write_tensors(path, header, data):
    """Writes a safetensors file; the header may also be a text."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def checksum(header, data):
    """The CRC-32 that lamp keeps of metadata and tensors, each in the order of the names."""
    crc = 0
    for key, value in sorted(header["__metadata__"].items()):
        if key != "checksum":
            crc = zlib.crc32(key.encode() + b"\0" + value.encode() + b"\0", crc)
    for name in sorted(set(header) - {"__metadata__"}):
        found = header[name]
        crc = zlib.crc32(f"{name}\0{found['dtype']}{found['shape']}\0".encode(), crc)
        crc = zlib.crc32(data[slice(*found["data_offsets"])], crc)
    return f"crc32:{crc:x}"


def edited(walk, source, name, change, keep_checksum=False):
    """A copy of a safetensors file after `change(header, data)`, which may return other data, with a checksum that
    is right again (or the old one)."""
    header, data = read_tensors(source)
    changed = change(header, data)
    data = data if changed is None else changed
    if not keep_checksum and "checksum" in header.get("__metadata__", {}):
        header["__metadata__"]["checksum"] = checksum(header, data)
    path = walk.path(name)
    write_tensors(path, header, data)
    return path


def array_in(header, data, name):
    """A float32 tensor of a safetensors file, as a flat copy."""
    return np.frombuffer(data[slice(*header[name]["data_offsets"])], np.float32).copy()


def with_array(header, data, name, values):
    """The data with these values in a tensor's place."""
    begin, end = header[name]["data_offsets"]
    return data[:begin] + values.tobytes() + data[end:]


def nested(levels, opening="[", closing="]", inside=""):
    """JSON of so many levels."""
    return opening * levels + inside + closing * levels
