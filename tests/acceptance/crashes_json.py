"""B1 to B3: deep and large JSON, ids and sizes that no model has.

Everything that is parsed has limits of depth, count and length; ids and sizes are judged before memory is taken.
"""

import json

from crash_data import CONFIG, edited, entry, nested, read_tensors, three_cases, write_tensors

DEEP = {
    "lists": nested(75_000),
    "objects": nested(20_000, '{"a":', "}", "1"),
    "lists in objects": nested(20_000, '[{"a":', "}]", "1"),
    "one level too many": nested(201),
    "never closed": "[" * 300_000,
    "objects never closed": '{"a":' * 100_000,
}
LIMITED = "ulimit -v 6000000; exec {}"


def deep_json_is_refused_where_files_are_given(walk):
    """Every option that takes a JSON file refuses a deep one with one line that names it."""
    for kind, text in DEEP.items():
        deep = walk.write("deep.json", text)
        for args, code in [(["check", deep], 3), (["train", "-d", deep, "-c", "c.json", "-o", "none"], 3),
                           (["train", "-d", "data", "-c", deep, "-o", "none"], 2), (["plan", "-c", deep], 2),
                           (["train", "-d", "data", "-c", "c.json", "--plan", deep, "-o", "none"], 2),
                           (["experiment", "--preset", deep, "-o", "none"], 2)]:
            walk.check(f"deep JSON ({kind})", args, code=code, says=["deep.json", "not valid JSON"],
                       keeps=walk.path("none"))


def deep_json_is_refused_in_other_places(walk):
    """A list for evaluate and prepare, a value of --set, a results file in the way."""
    deep = walk.write("deep.json", DEEP["objects"])
    walk.check("deep list for evaluate", ["evaluate", "-p", "made", "-r", "data/labelsTs", "-d", deep], code=3,
               says="200 levels", keeps=walk.path("made"))
    walk.check("deep list for bench", ["bench", "input", "-d", deep, "-c", "c.json"], code=3, says="200 levels")
    walk.check("deep --set", ["train", "-d", "data", "-c", "c.json", "-o", "none", "--set", "loss=" + nested(5000)],
               code=2, says="200 levels", keeps=walk.path("none"))
    folder = walk.path("deep_set")
    walk.write("deep_set/dataset.json", DEEP["lists"])
    walk.check("deep list for prepare", ["prepare", "--from", "decathlon", folder, "-o", "none"], code=3,
               says="200 levels", keeps=[folder, walk.path("none")])
    for name, args in [("plan.json", ["plan", "--devices", "1", "--device-memory", "8GiB", "-o"]),
                       ("trace.json", ["simulate", "--stages", "2", "--microbatches", "2", "--trace"]),
                       ("summary.json", ["evaluate", "-p", "made", "-r", "data/labelsTs", "-o"])]:
        foreign = walk.write("in_the_way/" + name, DEEP["objects"])
        walk.check("deep foreign file in the way", [*args, foreign], code=2, says=name, keeps=foreign)


def deep_json_is_refused_in_runs_and_data_sets(walk):
    """Files beside the ones that were named are read with the same limits."""
    for name in ["run.json", "config.json", "plan.json", "data_fingerprint.json", "split.json"]:
        run = walk.copy(walk.path("run"), "deep_run")
        walk.write("deep_run/" + name, DEEP["objects"])
        walk.check(f"deep {name} of a run", ["train", "--resume", "-o", run], code=(2, 3), says="deep_run", keeps=run)
    folder = three_cases(walk, "deep_folds")
    walk.write("deep_folds/splits_final.json", DEEP["lists"])
    walk.check("deep splits_final.json", ["train", "-d", folder, "-c", "c.json", "--fold", "0", "-o", "none"],
               code=(2, 3), says="splits_final.json", keeps=[folder, walk.path("none")])


def deep_headers_of_models_are_refused(walk):
    """In a safetensors header, and in the configuration that its metadata hold."""
    for kind, text in DEEP.items():
        model = walk.path("deep.safetensors")
        write_tensors(model, '{"a":' + text + "}", b"")
        walk.check(f"deep header ({kind})", ["segment", "-m", model, "-i", "scan.nii.gz", "-o", "none"], code=(2, 3),
                   says="deep.safetensors", keeps=walk.path("none"))
        model = edited(walk, walk.path("run/best.safetensors"), "deep.safetensors",
                       lambda header, data, text=text: header["__metadata__"].update(config=text))
        walk.check(f"deep config of a model ({kind})", ["info", model], code=(2, 3), says="deep.safetensors")


def two_hundred_levels_are_read(walk):
    """The limit refuses nothing that a list of cases may hold."""
    inside = nested(190)
    folder = three_cases(walk, "level_set", description=json.loads(inside))
    walk.check("190 levels in a field nobody reads", ["check", folder], says="no faults")
    walk.check("200 levels in a configuration are JSON", ["plan", "-c", walk.write("level.json", nested(200))],
               code=2, not_says="levels deep")


def many_keys_take_linear_time(walk):
    """Ten times the keys that once took 21 s end long before a quadratic parser would (half an hour)."""
    many = {str(i): i for i in range(800_000)}
    folder = three_cases(walk, "many_keys", extra=many)
    walk.check("800,000 keys beside the list", ["check", folder], says="no faults", timeout=60)
    walk.check("800,000 keys of a configuration", ["plan", "-c", walk.write("keys.json", {**CONFIG, **many})], code=2,
               says="unknown", timeout=60)
    walk.check("800,000 labels", ["check", three_cases(walk, "many_labels", labels=many)], code=3, says="labels",
               timeout=60)
    names = {"0": "background", **{str(i): "organ" for i in range(1, 30_000)}}
    walk.check("30,000 labels of one name", ["check", three_cases(walk, "same_labels", labels=names)], code=3,
               says="organ", timeout=60)
    header, data = read_tensors(walk.path("run/best.safetensors"))
    model = walk.path("many.safetensors")
    write_tensors(model, {**header, **{f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
                                       for i in range(200_000)}}, data)
    walk.check("200,000 tensors of a model", ["segment", "-m", model, "-i", "scan.nii.gz", "-o", "none"], code=(2, 3),
               says="many.safetensors", timeout=60)


def counts_have_a_limit(walk):
    """More values than a list of cases can hold, and a key that is there often."""
    walk.check("6,000,000 values", ["check", walk.write("values.json", "[" + "0," * 6_000_000 + "0]")], code=3,
               says="values.json", wrap=LIMITED, timeout=60)
    twice = '{"labels": {"0": "b"}, ' + '"a": 1,\n' * 100_000 + '"training": []}'
    walk.check("one key 100,000 times", ["check", walk.write("twice.json", twice)], code=3, says=["\"a\"", "line"],
               timeout=60)
    walk.check("one string of 100 MB", ["check", walk.write("text.json", '"' + "a" * 100_000_000 + '"')], code=3,
               says="text.json", wrap=LIMITED, timeout=60)
    walk.check("a number of a million digits", ["check", walk.write("digits.json", "1" * 1_000_000)], code=3,
               says="digits.json", timeout=60)
    long = walk.write("long.json", '{"' + "k" * 1_000_000 + '": 1}')
    shown = lambda result: "a message longer than 2000 letters" if len(result.last) > 2000 else None
    walk.check("an unknown key of a million letters", ["plan", "-c", long], code=2, right=shown, timeout=60)


IDS = ["2000000000", "32768", "65536", "4294967296", "9223372036854775808", "1" * 400, "-1", "1.5", "1e3", "organ", "",
       " 1", "0x1"]
NAMES = {"empty": "", "257 bytes": "n" * 257, "a line break": "a\nb", "a tab": "a\tb", "a control character": "a\x01b",
         "twice the background": "background", "no text": 5, "a list": []}


def ids_of_labels_are_judged_first(walk):
    """In a model and in a data set, an id beyond 32767, a gap or no number is refused in little memory."""
    for name in IDS:
        labels = {"0": "background", "1": "organ", name: "far"}
        model = model_with(walk, labels={"0": "background", "1": "liver", name: "far"})
        walk.check(f"id {name[:20]!r} of a model", ["segment", "-m", model, "-i", "scan.nii.gz", "-o", "none"],
                   code=(2, 3), says="odd.safetensors", keeps=walk.path("none"), wrap=LIMITED)
        walk.check(f"id {name[:20]!r} of a data set", ["check", three_cases(walk, "odd_ids", labels=labels)], code=3,
                   says=["label", "odd_ids/dataset.json"], wrap=LIMITED)


def names_of_labels_are_judged(walk):
    """A name that is empty, long, repeated or holds control characters is refused in both."""
    for kind, name in NAMES.items():
        model = model_with(walk, labels={"0": "background", "1": "liver", "2": name})
        walk.check(f"name: {kind} (model)", ["info", model], code=(2, 3), says="odd.safetensors")
        folder = three_cases(walk, "odd_names", labels={"0": "background", "1": name})
        walk.check(f"name: {kind} (data set)", ["check", folder], code=3, says="label")


def model_with(walk, net=None, data=None, **fields):
    """The run's model with other fields in its configuration and a checksum that fits."""
    def change(header, _):
        config = json.loads(header["__metadata__"]["config"])
        config["net"].update(net or {})
        config["data"].update(data or {})
        header["__metadata__"]["config"] = json.dumps({**config, **fields})
    return edited(walk, walk.path("run/best.safetensors"), "odd.safetensors", change)


def sizes_of_models_are_judged_first(walk):
    """A network that no file of this length can hold, and preprocessing that makes no sense."""
    nets = [{"width": 10**6}, {"width": 0}, {"width": -1}, {"width": 2**63}, {"width": 1.5}, {"width": "4"},
            {"depth": 1000}, {"depth": 0}, {"classes": 10**9}, {"classes": 1}, {"in_channels": 10**9},
            {"in_channels": 0}, {"name": "resnet"}, {"name": 5}]
    for net in nets:
        walk.check(f"a model's net {net}", ["segment", "-m", model_with(walk, net), "-i", "scan.nii.gz", "-o", "none"],
                   code=(2, 3), says="odd.safetensors", keeps=walk.path("none"), wrap=LIMITED)
    for data in [{"window": [5, 5]}, {"window": [5, -5]}, {"window": [1]}, {"window": "wide"},
                 {"spacing_mm": [0, 1, 1]}, {"spacing_mm": [-1, 1, 1]}, {"spacing_mm": [1, 1]}, {"spacing_mm": "big"}, {"orientation": "XYZ"}]:
        walk.check(f"a model's data {data}", ["segment", "-m", model_with(walk, data=data), "-i", "scan.nii.gz", "-o",
                                              "none"], code=(2, 3), says="odd.safetensors", keeps=walk.path("none"))
    fine = ["segment", "-m", model_with(walk, data={"spacing_mm": [1e-5, 1, 1]}), "-i", "scan.nii.gz", "-o", "fine.nii"]
    walk.check("a spacing that makes millions of planes", fine, code=(2, 3, 5), keeps=walk.path("fine.nii"),
               wrap=LIMITED)


def numbers_of_configurations_are_judged_first(walk):
    """Sizes of a configuration beyond any machine are refused before memory is taken."""
    for change in ["net.width=1000000", "net.depth=64", "net.classes=2000000000", "net.in_channels=100000000",
                   "loader.threads=100000", "curriculum.0.batch=-1", "curriculum.0.batch=1000000000000",
                   "curriculum.0.epochs=-1", "curriculum.0.epochs=1e300", "curriculum.0.patch=[0,16,16]",
                   "curriculum.0.patch=[16,16]", "curriculum.0.patch=[1e18,16,16]", "seed=-1", "seed=1.5",
                   "checkpoint.every_seconds=-1", "validation.every_epochs=0", "validation.fraction=1.5",
                   "loader.memory=-5", "execution.memory=\"12\"", "optimizer.lr=0", "optimizer.lr=-1"]:
        args = ["train", "-d", "data", "-c", "c.json", "-o", "none", "--set", change]
        walk.check("a setting out of range", args, code=(2, 5), says=change.split("=")[0].split(".")[-1],
                   keeps=walk.path("none"), wrap=LIMITED)
    walk.check("20,000 stages", ["train", "-d", "data", "-c", walk.write("stages.json", {
        **CONFIG, "curriculum": CONFIG["curriculum"] * 20_000}), "-o", "none"], code=2, says="1000",
        keeps=walk.path("none"), timeout=60)
    walk.check("the entry of a case that is a number", ["check", three_cases(walk, "odd_entry",
               validation=[5, entry("a")])], code=3, says="validation")


LINES = {
    "B1": [deep_json_is_refused_where_files_are_given, deep_json_is_refused_in_other_places,
           deep_json_is_refused_in_runs_and_data_sets, deep_headers_of_models_are_refused,
           two_hundred_levels_are_read],
    "B2": [many_keys_take_linear_time, counts_have_a_limit],
    "B3": [ids_of_labels_are_judged_first, names_of_labels_are_judged, sizes_of_models_are_judged_first,
           numbers_of_configurations_are_judged_first],
}
