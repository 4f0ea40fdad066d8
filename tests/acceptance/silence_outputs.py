"""Line A1: nothing that the program did not write is overwritten."""

import os

from material import PLAN, config_file, fresh

FOREIGN = {
    "config.json": '{"mine": 1}\n',
    "metrics.csv": "a,b\n1,2\n",
    "notes.txt": "mine\n",
    "dataset.json": "{}\n",
    "run.json": '{"format": "mine"}\n',
    "best.safetensors": "mine\n",
    "summary.json": '{"mine": 1}\n',
    "segment.json": '{"mine": 1}\n',
    "plan.json": "[]\n",
    "a.nii.gz": "no image\n",
    ".hidden": "mine\n",
    "lock": "mine\n",
    "train.log": "mine\n",
    "split.json": "{}\n",
    "intensities.json": "{}\n",
}


def a_training_never_writes_into_a_foreign_folder(walk):
    """Only a new folder, an empty one or a run is an output of `train`."""
    config = config_file(walk)
    command = ["train", "-d", "data", "-c", config, "-o"]
    for target in ("data", "data/imagesTr", "data/labelsTr", "data/labelsTs", ".", "home/.."):
        walk.check(f"train -o {target}", [*command, target], code=2, keeps=walk.path("data"))
        walk.check(f"train -o {target} --resume", [*command, target, "--resume"], code=2, keeps=walk.path("data"))
    walk.check(
        "train -d LIST -o its folder",
        ["train", "-d", "data/dataset.json", "-c", config, "-o", "data/"],
        code=2,
        keeps=walk.path("data"),
    )
    for name, text in FOREIGN.items():
        folder = fresh(walk, "foreign")
        walk.write(f"foreign/{name}", text)
        walk.check(f"train into a folder with {name}", [*command, folder], code=2, keeps=folder)
    fresh(walk, "foreign")
    walk.write("foreign/state/note", "mine")
    walk.check("train into a folder with state/", [*command, "foreign"], code=2, keeps=walk.path("foreign"))
    walk.check("train -o a file", [*command, "data/dataset.json"], code=2, keeps=walk.path("data"))
    fresh(walk, "link").symlink_to(walk.path("data"))
    walk.check("train -o a link to the data", [*command, "link"], code=2, keeps=walk.path("data"))
    walk.check("train over a run", [*command, "run"], code=2, keeps=walk.path("run"))


def a_new_or_empty_folder_is_taken(walk):
    """What may be written is written, and the data stay."""
    config = config_file(walk)
    fresh(walk, "made", "empty", "deep")
    walk.path("empty").mkdir()
    for target in ("made", "empty", "deep/er/run"):
        walk.check(
            f"train -o {target}",
            ["train", "-d", "data", "-c", config, "-o", target],
            timeout=200,
            keeps=walk.path("data"),
            right=lambda _: None if walk.path(target, "run.json").exists() else "no run.json",
        )
        walk.check(
            "its fingerprint has a name of its own",
            ["info", target, "--json"],
            right=lambda _: [
                None if walk.path(target, "data_fingerprint.json").exists() else "no data_fingerprint.json",
                "a dataset.json in the run" if walk.path(target, "dataset.json").exists() else None,
            ],
        )


def a_cache_never_takes_a_foreign_folder(walk):
    """`loader.cache` names a new folder, an empty one or a cache."""
    walk.write("foreign_cache/note.txt", "mine")
    for place in ("foreign_cache", "data", "data/imagesTr", "run"):
        run = fresh(walk, "cached_run")
        config = config_file(walk, "cached.json", loader={"cache": str(walk.path(place))})
        walk.check(
            f"loader.cache = {place}",
            ["train", "-d", "data", "-c", config, "-o", run],
            code=2,
            keeps=[walk.path(place), walk.path("data")],
        )


def segment_never_replaces_what_is_not_its_own(walk):
    """Ground truth, images, runs, lists and corrected maps stay."""
    command = ["segment", "-m", "bright.safetensors", "-i", "data/imagesTs"]
    for target in (
        "data",
        "data/imagesTr",
        "data/labelsTr",
        "data/imagesTs",
        "data/labelsTs",
        "run",
        "run/state",
        "data/labelsTs/",
        "data/../data/labelsTr",
    ):
        walk.check(
            f"segment -o {target}", [*command, "-o", target], code=2, keeps=[walk.path("data"), walk.path("run")]
        )
    for name in ("t0.nii.gz", "segment.json", "t1.nii.gz"):
        folder = fresh(walk, "out")
        walk.write(f"out/{name}", "mine")
        walk.check(f"segment over a foreign {name}", [*command, "-o", folder], code=2, keeps=folder, says=name)
    for name in ("t0_prob.nii.gz", "t0.png"):
        folder = fresh(walk, "out")
        walk.write(f"out/{name}", "mine")
        more = ["--save-probabilities"] if "prob" in name else ["--preview"]
        walk.check(f"segment over a foreign {name}", [*command, "-o", folder, *more], code=2, keeps=folder, says=name)
    one = ["segment", "-m", "bright.safetensors", "-i", "data/imagesTs/t0.nii.gz", "-o"]
    for target in (
        "data/imagesTs/t0.nii.gz",
        "data/labelsTs/t0.nii.gz",
        "data/labelsTr/a0.nii.gz",
        "data/imagesTr/new.nii.gz",
        "data/dataset.json",
        "bright.safetensors",
        "run/config.json",
    ):
        walk.check(
            f"segment -o {target}",
            [*one, target],
            code=2,
            keeps=[walk.path("data"), walk.path("run"), walk.path("bright.safetensors")],
        )
    fresh(walk, "out")
    walk.path("out", "t0.nii.gz").symlink_to(walk.path("data/labelsTs/t0.nii.gz"))
    walk.check("segment over a link to the truth", [*command, "-o", "out"], code=2, keeps=walk.path("data"))
    fresh(walk, "out")
    os.link(walk.path("data/labelsTs/t0.nii.gz"), walk.path("out", "t0.nii.gz"))
    walk.check("segment over a second name of the truth", [*command, "-o", "out"], code=2, keeps=walk.path("data"))


def segment_replaces_its_own_but_not_a_corrected_map(walk):
    """The mark in a map covers its voxels."""
    command = ["segment", "-m", "bright.safetensors", "-i", "data/imagesTs", "-o"]
    for ending in ("nii.gz", "nii", "nrrd", "mha"):
        folder = fresh(walk, "own")
        walk.check(f"segment .{ending}", [*command, folder, "--format", ending], keeps=walk.path("data"))
        walk.check(f"segment .{ending} again", [*command, folder, "--format", ending])
    folder = fresh(walk, "own")
    walk.run([*command, folder, "--format", "nii"])
    map_ = folder / "t0.nii"
    content = bytearray(map_.read_bytes())
    content[-1] ^= 1
    map_.write_bytes(content)
    walk.check(
        "segment over a corrected map", [*command, folder, "--format", "nii"], code=2, keeps=folder, says="t0.nii"
    )


def evaluate_writes_only_where_it_was_told(walk):
    """Summaries replace summaries; runs, lists, labels and the parent folder stay."""
    fresh(walk, "seg")
    walk.run(["segment", "-m", "bright.safetensors", "-i", "data/imagesTs", "-o", "seg"])
    command = ["evaluate", "-p", "seg", "-r", "data/labelsTs", "-d", "data", "-o"]
    for target in (
        "run/summary.json",
        "run",
        "data/dataset.json",
        "data/labelsTs/t0.json",
        "data/labelsTs/t0.nii.gz",
        "data/imagesTs/",
        "run/config.json",
        "run/metrics.csv",
        "seg/t0.nii.gz",
        "summary.txt",
        "run/state/summary.json",
    ):
        walk.check(
            f"evaluate -o {target}",
            [*command, target],
            code=2,
            keeps=[walk.path("data"), walk.path("run"), walk.path("seg")],
        )
    before = names_below(walk, "data")
    walk.check(
        "evaluate -o data: two files beside dataset.json",
        [*command, "data"],
        keeps=[walk.path("data", name) for name in before if walk.path("data", name).is_file()],
        right=lambda _: wrong_names(walk, "data", before | {"summary.json", "metrics.csv"}),
    )
    fresh(walk, "data/summary.json", "data/metrics.csv")
    for name in ("summary.json", "metrics.csv"):
        folder = fresh(walk, "sums")
        walk.write(f"sums/{name}", '{"mine": 1}')
        walk.check(f"evaluate over a foreign {name}", [*command, folder], code=2, keeps=folder, says=name)
    fresh(walk, "parent")
    walk.check(
        "evaluate -o DIR",
        [*command, "parent/sums"],
        right=lambda _: wrong_names(walk, "parent", {"sums", "sums/summary.json", "sums/metrics.csv"}),
    )
    fresh(walk, "parent")
    walk.check(
        "evaluate -o DIR/NAME.json",
        [*command, "parent/mine.json"],
        right=lambda _: wrong_names(walk, "parent", {"mine.json", "mine_metrics.csv"}),
    )
    walk.check("evaluate again", [*command, "parent/mine.json"])
    walk.write("parent/mine_metrics.csv", "a,b\n")
    walk.check(
        "evaluate over a foreign NAME_metrics.csv", [*command, "parent/mine.json"], code=2, keeps=walk.path("parent")
    )


def names_below(walk, folder):
    """Every file and folder below a folder, as names in it."""
    return {str(path.relative_to(walk.path(folder))) for path in walk.path(folder).rglob("*")}


def wrong_names(walk, folder, expected):
    """None if a folder holds exactly these names."""
    found = names_below(walk, folder)
    return None if found == expected else f"{folder} holds {sorted(found)}"


def plans_and_pictures_replace_only_their_own(walk):
    """`plan` and `simulate`: JSON, SVG and traces over foreign files."""
    simulate = ["simulate", "--stages", "2", "--microbatches", "2"]
    walk.write("victims/image.svg", "<svg xmlns='http://www.w3.org/2000/svg'></svg>")
    walk.write("victims/trace.json", '{"traceEvents": []}')
    for target in (
        "data/imagesTr/a0.nii.gz",
        "data/dataset.json",
        "run/plan.json",
        "run/config.json",
        "tiny.json",
        "victims/image.svg",
        "victims/trace.json",
        "bright.safetensors",
    ):
        config_file(walk)
        for option, base in (
            ("-o", PLAN),
            ("--svg", PLAN),
            ("--trace", PLAN),
            ("--svg", simulate),
            ("--trace", simulate),
        ):
            walk.check(f"{base[0]} {option} {target}", [*base, option, target], code=2, keeps=walk.path(target))
    for option, name, base in (
        ("-o", "p.json", PLAN),
        ("--svg", "p.svg", PLAN),
        ("--trace", "t.json", simulate),
        ("--svg", "s.svg", simulate),
    ):
        fresh(walk, name)
        walk.check(f"{base[0]} {option}", [*base, option, name])
        walk.check(f"{base[0]} {option} again", [*base, option, name])
    walk.check("an SVG over a plan", [*PLAN, "--svg", "p.json"], code=2, keeps=walk.path("p.json"))


def synth_prepare_experiment_and_preview_refuse_foreign_folders(walk):
    """The other commands that fill folders."""
    synth = ["synth", "--kind", "liver", "--size", "32,32,32", "--train", "1", "--test", "0", "-o"]
    prepare = ["prepare", "--from", "decathlon", "data", "--test", "1", "-o"]
    experiment = ["experiment", "--preset", "context", "-o"]
    preview = ["check", "data/imagesTs/t0.nii.gz", "--preview"]
    for command in (synth, prepare, experiment, preview):
        for target in ("data", "run", "data/imagesTr"):
            walk.check(
                f"{command[0]} into {target}", [*command, target], code=2, keeps=[walk.path("data"), walk.path("run")]
            )
        for name in ("notes.txt", "dataset.json", ".phantoms.json", ".prepare.json", "t0.png", "results.json"):
            folder = fresh(walk, "foreign")
            walk.write(f"foreign/{name}", "{}")
            if (command[0], name) in (("synth", ".prepare.json"), ("prepare", ".phantoms.json")):
                # Hidden files are not looked at, but for the command's own.
                walk.check(f"{command[0]} beside {name}", [*command, folder], keeps=walk.path("foreign", name))
                continue
            walk.check(f"{command[0]} into a folder with {name}", [*command, folder], code=2, keeps=folder)
    fresh(walk, "phantoms")
    walk.check("synth", [*synth, "phantoms"])
    walk.check("synth again", [*synth, "phantoms"], keeps=walk.path("phantoms"))
    walk.check("synth with another seed", [*synth, "phantoms", "--seed", "1"], code=2, keeps=walk.path("phantoms"))
    walk.check(
        "synth of another kind", ["synth", "--kind", "han", *synth[3:], "phantoms"], code=2, keeps=walk.path("phantoms")
    )


LINES = {
    "A1": [
        a_training_never_writes_into_a_foreign_folder,
        a_new_or_empty_folder_is_taken,
        a_cache_never_takes_a_foreign_folder,
        segment_never_replaces_what_is_not_its_own,
        segment_replaces_its_own_but_not_a_corrected_map,
        evaluate_writes_only_where_it_was_told,
        plans_and_pictures_replace_only_their_own,
        synth_prepare_experiment_and_preview_refuse_foreign_folders,
    ],
}
