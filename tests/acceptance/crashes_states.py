"""B4, B7 and B14: damaged states and models, and what a killed run leaves.

A state is believed only where it is one that the run can have come to, and every flipped bit is noticed.
"""

import json
import random
import signal

import numpy as np
from crash_data import CONFIG, array_in, checksum, edited, read_tensors, with_array, write_tensors
from crashes_signals import rows_of, wait_for

STATE = "run/state/state.safetensors"
RUN_FILES = {"run.json", "config.json", "data_fingerprint.json", "split.json", "intensities.json", "best.safetensors",
             "last.safetensors", "state", "state/state.safetensors", "metrics.csv", "plan.json", "train.log"}
CURSORS = {
    "stage": [-10**15, -1, 1, 99, 2**62, 2**63, 2**64, 1e300, 0.5, "0", None, True, [], {}],
    "epoch": [-5, -1, 3, 10**18, 2**63, 1.5, "2", None, [2]],
    "step": [-1, 1, 10**6, 10**18, 2**63, 0.5, "0", None],
    "epochs_done": [-1, 0, 1, 3, 10**18, 2**63, "2", None],
    "loss_sum": [1.0, -1e30, 1e308, "0", None, []],
    "epoch_seconds": [-1.0, 1e300, "0", None],
    "best_dice": [-0.5, 1.01, 2, -1e300, "1", None],
    "data": [5, [], True],
    "split": [5, [], True],
}


def run_with(walk, name, change, keep_checksum=False):
    """A copy of the finished run whose state was changed; returns the run's folder."""
    run = walk.copy(walk.path("run"), name)
    edited(walk, walk.path(STATE), name + "/state/state.safetensors", change, keep_checksum)
    return run


def refused(walk, claim, run, code=3):
    """A resume of this run is refused as damaged data, and nothing in its folder changes."""
    walk.check(claim, ["train", "--resume", "-o", run, "--set", "curriculum.0.epochs=3"], code=code,
               says="state.safetensors", keeps=run, timeout=60)


def cursor_change(field, value):
    """Sets a field of the cursor (or removes it: None)."""
    def change(header, _):
        cursor = json.loads(header["__metadata__"]["cursor"])
        cursor[field] = value
        if value is None:
            del cursor[field]
        header["__metadata__"]["cursor"] = json.dumps(cursor)
    return change


def damaged_cursors_are_refused(walk):
    """Every field of the cursor is held against the run, also where the checksum is right."""
    for field, values in CURSORS.items():
        for value in values:
            refused(walk, f"cursor: {field} = {value!r:.30}",
                    run_with(walk, "odd_cursor", cursor_change(field, value)))
    for field in ("data", "split"):
        refused(walk, f"cursor: the digest of other {field}",
                run_with(walk, "odd_cursor", cursor_change(field, "0" * 64)), code=2)


def a_state_without_checksum_and_digests_warns(walk):
    """Older states carry neither: the run goes on, and a warning says what is not known."""
    def change(header, _):
        cursor_change("data", None)(header, _)
        cursor_change("split", None)(header, _)
        del header["__metadata__"]["checksum"]
    walk.check("no checksum, no digests", ["train", "--resume", "-o", run_with(walk, "old_state", change)],
               says="carries no checksum")


def damaged_cursor_texts_are_refused(walk):
    """A cursor that is no object, or is no JSON, and metadata of another kind of file."""
    for text in ["", "{", "[]", "5", "null", '"cursor"', "{}", "[" * 100_000, '{"stage":0,"stage":1}',
                 '{"stage":NaN}', "\xff\xfe"]:
        refused(walk, f"cursor text {text!r:.20}", run_with(
            walk, "odd_text", lambda header, _, text=text: header["__metadata__"].update(cursor=text)))
    for key, value in [("format", "lamp-model"), ("format", ""), ("version", "2"), ("version", ""),
                       ("optimizer_tensors", "104"), ("optimizer_tensors", "-1"), ("optimizer_tensors", "x")]:
        refused(walk, f"metadata {key} = {value!r}", run_with(
            walk, "odd_meta", lambda header, _, k=key, v=value: header["__metadata__"].update({k: v})))
    for key in ["format", "version", "cursor"]:
        refused(walk, f"metadata without {key}", run_with(
            walk, "odd_meta", lambda header, _, k=key: header["__metadata__"].pop(k) and None))


def names_of_each_kind(header):
    """A few tensors of every part of a state: network, counters, optimizer, random numbers."""
    names = sorted(name for name in header if name != "__metadata__")
    kinds = [[n for n in names if n.startswith("model.") and n.endswith(end)]
             for end in (".weight", ".running_var", "num_batches_tracked")]
    kinds += [[n for n in names if n.startswith("optimizer.") and n.endswith(end)]
              for end in (":step", ":exp_avg", ":exp_avg_sq")]
    return [group[0] for group in kinds if group] + ["random.cpu"]


def missing_and_foreign_tensors_are_refused(walk):
    """Each kind of tensor is missing, renamed, of another shape or type, or one is too many."""
    header, _ = read_tensors(walk.path(STATE))

    def removed(name):
        def change(header, data):
            begin, end = header.pop(name)["data_offsets"]
            for other, found in header.items():
                if other != "__metadata__" and found["data_offsets"][0] >= end:
                    found["data_offsets"] = [at - (end - begin) for at in found["data_offsets"]]
            return data[:begin] + data[end:]
        return change

    def renamed(name):
        return lambda header, _: header.update({name + "x": header.pop(name)})

    def flattened(name):
        def change(header, _):
            begin, end = header[name]["data_offsets"]
            header[name].update(dtype="U8", shape=[end - begin, 1])
        return change

    for name in names_of_each_kind(header):
        refused(walk, f"without {name}", run_with(walk, "odd_tensors", removed(name)))
        refused(walk, f"{name} under another name", run_with(walk, "odd_tensors", renamed(name)))
        refused(walk, f"{name} of another shape and type", run_with(walk, "odd_tensors", flattened(name)))
    more = lambda header, data: header.update({"model.more": {"dtype": "F32", "shape": [0], "data_offsets": [
        len(data), len(data)]}})
    refused(walk, "a tensor too many", run_with(walk, "odd_tensors", more))


def senseless_numbers_are_refused(walk):
    """NaN and infinity in weights, a random state of zeros, steps that were never taken."""
    header, _ = read_tensors(walk.path(STATE))
    weight = next(n for n in sorted(header) if n.startswith("model.") and n.endswith(".weight"))
    squares = next(n for n in sorted(header) if n.endswith(":exp_avg_sq"))
    for name, value in [(weight, np.nan), (weight, np.inf), (weight, -np.inf), (squares, np.nan), (squares, -1.0)]:
        def change(header, data, name=name, value=value):
            values = array_in(header, data, name)
            values[0] = value
            return with_array(header, data, name, values)
        refused(walk, f"{value} in {name}", run_with(walk, "odd_numbers", change))

    def no_random(header, data):
        begin, end = header["random.cpu"]["data_offsets"]
        return data[:begin] + bytes(end - begin) + data[end:]
    refused(walk, "a random state of zeros", run_with(walk, "odd_numbers", no_random))


def damaged_files_are_refused(walk):
    """States that are empty, cut, longer, of text, or lie in their headers."""
    content = walk.path(STATE).read_bytes()
    cases = {"empty": b"", "7 bytes": content[:7], "8 bytes": content[:8], "half a header": content[:2000],
             "half": content[:len(content) // 2], "a byte less": content[:-1], "a byte more": content + b"\0",
             "text": b"not a state", "zeros": bytes(1000),
             "a header of 2^63 bytes": b"\xff" * 7 + b"\x7f" + content[8:],
             "a pickle": b"PK\x03\x04" + content, "JSON": b'{"a": 1}'}
    for kind, damaged in cases.items():
        run = walk.copy(walk.path("run"), "odd_file")
        walk.write("odd_file/state/state.safetensors", damaged)
        refused(walk, f"a state that is {kind}", run)
    header, data = read_tensors(walk.path(STATE))
    name = next(n for n in header if n.startswith("model."))
    for offsets in [[0, 2**63], [2**63, 2**64], [-8, 0], [8, 0], [0], [0, 1.5], "0"]:
        run = walk.copy(walk.path("run"), "odd_file")
        odd = {**header, name: {**header[name], "data_offsets": offsets}}
        write_tensors(walk.path("odd_file/state/state.safetensors"), odd, data)
        refused(walk, f"offsets {offsets}", run)
    for shape in [[2**40, 2**40], [-1], [2**63], [0, 2**62, 2**62], [1] * 1000, "x", [1.5]]:
        run = walk.copy(walk.path("run"), "odd_file")
        write_tensors(walk.path("odd_file/state/state.safetensors"),
                      {**header, name: {**header[name], "shape": shape}}, data)
        refused(walk, f"shape {shape!r:.30}", run)


def an_undamaged_state_goes_on(walk):
    """The same hands that damage it can rewrite it unchanged: then it is resumed."""
    same = run_with(walk, "same_state", lambda header, data: None)
    walk.check("a state written anew", ["train", "--resume", "-o", same, "--set", "curriculum.0.epochs=3"],
               right=lambda _: None if len((same / "metrics.csv").read_text().splitlines()) == 4 else "no third epoch")


def flipped_bits_are_noticed(walk):
    """One bit anywhere in a model or a state is an error when the file is read."""
    draw = random.Random(14)
    for source, name in [("run/best.safetensors", "flipped.safetensors"), (STATE, "flipped/state/state.safetensors")]:
        content = walk.path(source).read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        for place in [draw.randrange(start, len(content)) for _ in range(20)] + [start, len(content) - 1]:
            walk.copy(walk.path("run"), "flipped")
            damaged = bytearray(content)
            damaged[place] ^= 1 << draw.randrange(8)
            walk.write(name, bytes(damaged))
            if name == "flipped.safetensors":
                walk.check(f"bit at {place} of a model", ["segment", "-m", name, "-i", "scan.nii.gz", "-o", "none"],
                           code=3, says=[name, "checksum"], keeps=walk.path("none"))
            else:
                refused(walk, f"bit at {place} of a state", walk.path("flipped"))


def headers_are_part_of_the_checksum(walk):
    """A changed text of the metadata, a swap of two tensors, an exponent: each beside the old checksum."""
    model = walk.path("run/best.safetensors")
    header, _ = read_tensors(model)
    for file in [model, walk.path("run/last.safetensors"), walk.path(STATE)]:
        found, data = read_tensors(file)
        walk.claim(f"the checksum of {file.name} is the CRC-32 of its content", walk.run(["--version"]),
                   lambda _: None if checksum(found, data) == found["__metadata__"]["checksum"] else "another checksum")
    weights = sorted(n for n in header if n.endswith(".weight"))
    first = "encoder_0_Conv_conv.weight"
    same = [(a, b) for a in weights for b in weights if a < b and header[a]["shape"] == header[b]["shape"]]
    changes = {
        "a label's name": lambda h, _: h["__metadata__"].update(
            config=h["__metadata__"]["config"].replace("liver", "river")),
        "two tensors that changed names": lambda h, _: h.update({same[0][0]: h[same[0][1]], same[0][1]: h[same[0][0]]}),
        "another key": lambda h, _: h["__metadata__"].update(note="hello"),
        "a tensor of another shape": lambda h, _: h[first].update(shape=h[first]["shape"][::-1]),
    }
    for kind, change in changes.items():
        odd = edited(walk, model, "changed.safetensors", change, keep_checksum=True)
        walk.check(f"{kind} beside the old checksum", ["segment", "-m", odd, "-i", "scan.nii.gz", "-o", "none"], code=3,
                   says="changed.safetensors", keeps=walk.path("none"))
    for text in ["crc32:0", "crc32:", "", "md5:0", "crc32:" + "f" * 1000]:
        odd = edited(walk, model, "changed.safetensors", lambda h, _, text=text: h["__metadata__"].update(
            checksum=text), keep_checksum=True)
        walk.check(f"the checksum {text!r:.20}", ["segment", "-m", odd, "-i", "scan.nii.gz", "-o", "none"], code=3,
                   says=["changed.safetensors", "checksum"], keeps=walk.path("none"))


def files_in(folder):
    """Relative names of everything in a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def killed_runs_leave_nothing_for_good(walk):
    """A run killed at any moment holds documented files alone once it was started again."""
    config = walk.write("long.json", {**CONFIG, "checkpoint": {"every_seconds": 0},
                                      "curriculum": [{"patch": [16, 16, 16], "batch": 1, "epochs": 12}]})
    run = walk.path("killed")
    begin = ["train", "-d", "data", "-c", config, "-o", run]
    for attempt, epochs in enumerate([0, 1, 2, 4, 5]):
        job = walk.start([*begin, "--resume"] if attempt else begin)
        wait_for(lambda: rows_of(run) >= epochs and (run / "run.json").exists())
        job.send_signal(signal.SIGKILL)
        job.communicate()
    stale = [".state.999999999-0.tmp.safetensors", ".metrics.999999999-3.tmp.csv"]
    for name in stale:
        walk.write("killed/" + name, "cut sho")
    walk.write("killed/state/" + stale[0], "cut sho")
    kept = [walk.write("killed/notes.tmp", "mine"), walk.write("killed/.notes.tmp.txt", "mine")]
    others = {path.name for path in kept}
    walk.check("after five kills and what they left", [*begin, "--resume"], keeps=kept, timeout=120,
               right=lambda _: sorted((files_in(run) - RUN_FILES) - others))
    walk.check("a run that nobody killed", ["train", "-d", "data", "-c", config, "-o", "unbroken"], timeout=120,
               right=lambda _: sorted(files_in(walk.path("unbroken")) - RUN_FILES))
    same = lambda _: [name for name in ("last.safetensors", "best.safetensors")
                      if (run / name).read_bytes() != walk.path("unbroken", name).read_bytes()]
    walk.claim("killed and unbroken end with the same bits", walk.run(["info", run]), same)


def killed_segmentations_leave_nothing_for_good(walk):
    """What a killed `segment` and `synth` left is gone after the next call."""
    for claim, args, folder in [
            ("segment", ["segment", "-m", "run", "-i", "data/imagesTr", "-o", "killed_maps"], "killed_maps"),
            ("synth", ["synth", "--kind", "liver", "-o", "killed_synth", "--train", "8", "--test", "0", "--size",
                       "48,48,48"], "killed_synth")]:
        for count in (1, 2):
            job = walk.start(args)
            wait_for(lambda: len(list(walk.path(folder).rglob("*.nii.gz"))) >= count)
            job.send_signal(signal.SIGKILL)
            job.communicate()
        walk.write(folder + "/.liver_001.999999999-1.tmp.nii.gz", "cut sho")
        odd = lambda _, folder=folder: sorted(n for n in files_in(walk.path(folder)) if ".tmp" in n or "lock" in n)
        walk.check(f"{claim} after two kills", args, right=odd)


LINES = {
    "B4": [damaged_cursors_are_refused, a_state_without_checksum_and_digests_warns, damaged_cursor_texts_are_refused,
           missing_and_foreign_tensors_are_refused, senseless_numbers_are_refused, damaged_files_are_refused,
           an_undamaged_state_goes_on],
    "B7": [killed_runs_leave_nothing_for_good, killed_segmentations_leave_nothing_for_good],
    "B14": [flipped_bits_are_noticed, headers_are_part_of_the_checksum],
}
