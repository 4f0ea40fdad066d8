"""Lines A10 and A11: keys that stand twice, and a standard output that cannot be written."""

import json

import known_models
from material import PLAN, TINY, config_file, data_set, fresh


def doubled(value, path):
    """JSON text of `value` in which the key at a path (a list of keys and places) stands twice, on lines of its own."""

    def written(part, rest):
        if isinstance(part, dict):
            lines = []
            for key, inner in part.items():
                deeper = rest[1:] if rest and rest[0] == key else []
                lines.append(f"{json.dumps(key)}: {written(inner, deeper)}")
                if rest == [key]:
                    lines.append(f"{json.dumps(key)}: {written(inner, [])}")
            return "{\n" + ",\n".join(lines) + "\n}"
        if isinstance(part, list):
            return (
                "[\n"
                + ",\n".join(written(inner, rest[1:] if rest and rest[0] == i else []) for i, inner in enumerate(part))
                + "\n]"
            )
        return json.dumps(part)

    return written(value, path)


def places_of(text, key):
    """The numbers of the lines on which a key stands."""
    return [str(number) for number, line in enumerate(text.splitlines(), 1) if line.startswith(json.dumps(key) + ":")]


def says_both_places(text, key):
    """A function for `right`: the message names the key and the lines of a pair of its places."""
    places = places_of(text, key)
    return lambda result: [
        None if key in result.last else f"does not name {key}",
        None if sum(place in result.last for place in places) >= 2 else f"does not name two of the lines {places}",
    ]


def a_key_that_stands_twice_in_a_data_set_is_an_error(walk):
    """Every key of dataset.json, also inside of entries, labels and channels."""
    data_set(walk, "twice")
    listed = json.loads(walk.path("twice/dataset.json").read_text())
    paths = [[key] for key in listed] + [
        ["labels", "1"],
        ["labels", "0"],
        ["modality", "0"],
        ["training", 0, "image"],
        ["training", 2, "label"],
    ]
    for path in paths:
        text = doubled(listed, path)
        walk.write("twice/dataset.json", text)
        for command in (
            ["check", "twice"],
            ["train", "-d", "twice", "-c", config_file(walk), "-o", fresh(walk, "none")],
            ["evaluate", "-p", "data/labelsTs", "-r", "data/labelsTs", "-d", "twice", "-o", fresh(walk, "none")],
        ):
            walk.check(
                f"{command[0]}: {path} twice",
                command,
                code=3,
                right=says_both_places(text, path[-1]),
                says="dataset.json",
            )


def a_key_that_stands_twice_in_a_configuration_is_an_error(walk):
    """Every key of a configuration, also inside of it; with comments; in experiments and plans."""
    paths = [[key] for key in TINY] + [
        ["net", "width"],
        ["data", "window"],
        ["optimizer", "lr"],
        ["curriculum", 0, "patch"],
        ["curriculum", 0, "epochs"],
        ["validation", "fraction"],
        ["execution", "device"],
        ["loader", "cache"],
    ]
    for path in paths:
        text = doubled(TINY, path)
        walk.write("twice.json", text)
        walk.check(
            f"train -c: {path} twice",
            ["train", "-d", "data", "-c", "twice.json", "-o", fresh(walk, "none")],
            code=2,
            says="twice.json",
            right=says_both_places(text, path[-1]),
        )
        walk.check(
            f"plan -c: {path} twice",
            ["plan", "-c", "twice.json", "--devices", "1", "--device-memory", "4GiB"],
            code=2,
            says="twice.json",
            right=says_both_places(text, path[-1]),
        )
    text = "// a comment\n" + doubled(TINY, ["seed"]).replace("{\n", '{\n"seed": 1, // one\n"seed": 2,\n', 1)
    walk.write("twice.json", text)
    walk.check("with comments", ["check", "data", "-c", "twice.json"], code=2, says=["twice.json", "seed"])
    fresh(walk, "p.json")
    walk.run([*PLAN, "-o", "p.json"])
    plan = json.loads(walk.path("p.json").read_text())
    for key in ("schedule", "partition", "net"):
        walk.write("twice.json", doubled(plan, [key]))
        walk.check(f"bench step --plan: {key} twice", ["bench", "step", "--plan", "twice.json"], code=2, says=key)
    for key in ("title", "train"):
        walk.write("twice.json", doubled({"title": "x", "seeds": [0], "train": TINY, "conditions": []}, [key]))
        walk.check(
            f"experiment: {key} twice",
            ["experiment", "--preset", "twice.json", "-o", fresh(walk, "none"), "-d", "data"],
            code=2,
            says=key,
        )
    for key in ("net", "labels", "data"):
        content = walk.path("bright.safetensors").read_bytes()
        tensors, metadata = known_models.read_safetensors(walk.path("bright.safetensors"))
        metadata["config"] = doubled(json.loads(metadata["config"]), [key])
        walk.write("twice.safetensors", known_models.safetensors_bytes(tensors, metadata))
        walk.check(f"a model's config: {key} twice", ["info", "twice.safetensors"], code=(2, 3), says=key)
        assert content == walk.path("bright.safetensors").read_bytes()
    for setting in (
        ["seed=1", "seed=2"],
        ["net.width=4", "net.width=8"],
        ["net.width=4", 'net={"width":4}'],
        ["curriculum.0.epochs=1", "curriculum.0.epochs=2"],
    ):
        walk.check(
            f"--set {setting}",
            [
                "train",
                "-d",
                "data",
                "-c",
                config_file(walk),
                "-o",
                fresh(walk, "none"),
                *[part for one in setting for part in ("--set", one)],
            ],
            code=2,
            says=setting[0].split("=")[0].split(".")[0],
        )


def wrong_numbers_of_cases_are_refused(walk):
    """numTraining and numTest: `check` names both, `train` refuses the first."""
    for key, value, training in (
        ("numTraining", 3, True),
        ("numTraining", 5, True),
        ("numTraining", 0, True),
        ("numTest", 1, False),
        ("numTest", 9, False),
    ):
        data_set(walk, "counted", **{key: value})
        walk.check(f"check: {key} {value}", ["check", "counted"], code=3, says=[key, str(value)])
        walk.check(
            f"train: {key} {value}",
            ["train", "-d", "counted", "-c", config_file(walk), "-o", fresh(walk, "none")],
            code=3 if training else 0,
            says=key if training else None,
        )
    for value in ('"4"', "4.5", "-4", "null", "[4]"):
        data_set(walk, "counted")
        text = walk.path("counted/dataset.json").read_text().replace('"numTraining": 4', f'"numTraining": {value}')
        walk.write("counted/dataset.json", text)
        walk.check(f"check: numTraining {value}", ["check", "counted"], code=(0, 3) if value in ('"4"', "null") else 3)


def a_full_standard_output_is_an_error(walk):
    """Every command that prints there, with --json and for people, --help and --version; /dev/full and a closed one."""
    segment = ["segment", "-m", "bright.safetensors", "-i", "data/imagesTs"]
    commands = {
        "check": lambda: ["check", "data"],
        "check --json": lambda: ["check", "data", "--json"],
        "check of an image --json": lambda: ["check", "data/imagesTs/t0.nii.gz", "--json"],
        "evaluate": lambda: ["evaluate", "-p", "data/labelsTs", "-r", "data/labelsTs", "-o", fresh(walk, "none")],
        "evaluate --json": lambda: [
            "evaluate",
            "-p",
            "data/labelsTs",
            "-r",
            "data/labelsTs",
            "-o",
            fresh(walk, "none"),
            "--json",
        ],
        "info": lambda: ["info", "run"],
        "info --json": lambda: ["info", "run", "--json"],
        "info --net": lambda: ["info", "--net", "unet"],
        "segment --json": lambda: [*segment, "-o", fresh(walk, "none"), "--json"],
        "train --json": lambda: ["train", "-d", "data", "-c", config_file(walk), "-o", fresh(walk, "none"), "--json"],
        "train --resume --json": lambda: ["train", "-o", "run", "--resume", "--json"],
        "simulate": lambda: ["simulate", "--stages", "2", "--microbatches", "2"],
        "simulate --json": lambda: ["simulate", "--stages", "2", "--microbatches", "2", "--json"],
        "simulate --paper": lambda: ["simulate", "--paper"],
        "plan": lambda: PLAN,
        "plan --json": lambda: [*PLAN, "--json"],
        "plan --layers": lambda: [*PLAN, "--layers"],
        "bench": lambda: ["bench", "segment", "--width", "4", "--depth", "1", "--input", "16,16,16", "--rounds", "1"],
        "synth --json": lambda: [
            "synth",
            "--kind",
            "liver",
            "--size",
            "32,32,32",
            "--train",
            "1",
            "--test",
            "0",
            "-o",
            fresh(walk, "none"),
            "--json",
        ],
        "prepare": lambda: ["prepare", "--from", "decathlon", "data", "--test", "1", "-o", fresh(walk, "none")],
        "prepare --json": lambda: [
            "prepare",
            "--from",
            "decathlon",
            "data",
            "--test",
            "1",
            "-o",
            fresh(walk, "none"),
            "--json",
        ],
        "--version": lambda: ["--version"],
        "--help": lambda: ["--help"],
    }
    for name in (
        "synth",
        "prepare",
        "check",
        "train",
        "segment",
        "evaluate",
        "info",
        "plan",
        "bench",
        "simulate",
        "experiment",
    ):
        commands[f"{name} --help"] = lambda name=name: [name, "--help"]
    for claim, command in commands.items():
        walk.check(f"{claim} > /dev/full", command(), code=1, says="standard output", wrap="{} > /dev/full")
        walk.check(f"{claim} with it closed", command(), code=1, says="standard output", wrap="{} >&-")
        walk.check(
            f"{claim} on a good one",
            command(),
            wrap="{} > good.txt",
            right=lambda _: None if walk.path("good.txt").stat().st_size else "printed nothing",
        )
    for claim, command in {
        "train": lambda: ["train", "-d", "data", "-c", config_file(walk), "-o", fresh(walk, "none")],
        "segment": lambda: [*segment, "-o", fresh(walk, "none")],
    }.items():
        walk.check(f"{claim} prints nothing there > /dev/full", command(), wrap="{} > /dev/full")


LINES = {
    "A10": [
        a_key_that_stands_twice_in_a_data_set_is_an_error,
        a_key_that_stands_twice_in_a_configuration_is_an_error,
        wrong_numbers_of_cases_are_refused,
    ],
    "A11": [a_full_standard_output_is_an_error],
}
