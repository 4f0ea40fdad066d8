"""Lines A1, A12 and A13: nothing foreign is overwritten, no two outputs collide, one output has one process."""

import os
import signal
import time
from subprocess import DEVNULL

import numpy as np

import volumes
from material import config_file, fresh

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
    plan = [
        "plan",
        "--net",
        "unet",
        "--width",
        "4",
        "--depth",
        "1",
        "--input",
        "16,16,16",
        "--devices",
        "1",
        "--device-memory",
        "4GiB",
    ]
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
            ("-o", plan),
            ("--svg", plan),
            ("--trace", plan),
            ("--svg", simulate),
            ("--trace", simulate),
        ):
            walk.check(f"{base[0]} {option} {target}", [*base, option, target], code=2, keeps=walk.path(target))
    for option, name, base in (
        ("-o", "p.json", plan),
        ("--svg", "p.svg", plan),
        ("--trace", "t.json", simulate),
        ("--svg", "s.svg", simulate),
    ):
        fresh(walk, name)
        walk.check(f"{base[0]} {option}", [*base, option, name])
        walk.check(f"{base[0]} {option} again", [*base, option, name])
    walk.check("an SVG over a plan", [*plan, "--svg", "p.json"], code=2, keeps=walk.path("p.json"))


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


def names_of_outputs_never_collide(walk):
    """Cases whose files would have one name are refused before anything is written."""
    image = volumes.step_volume()
    for folder, names in {"two": ("a", "a_prob"), "three": ("b", "b_prob", "c")}.items():
        fresh(walk, folder)
        for name in names:
            volumes.write_nifti(walk.path(folder, name + ".nii.gz"), image)
        base = ["segment", "-m", "bright.safetensors", "-i", folder, "-o"]
        out = fresh(walk, "out")
        walk.check(
            "NAME and NAME_prob with --save-probabilities",
            [*base, out, "--save-probabilities"],
            code=2,
            says="_prob",
            right=lambda _: "wrote" if out.exists() and any(out.rglob("*.nii.gz")) else None,
        )
        walk.check(
            "NAME and NAME_prob without",
            [*base, out],
            right=lambda _: [None if (out / f"{name}.nii.gz").exists() else f"no {name}.nii.gz" for name in names],
        )
    for first, second in (("x.nii.gz", "x.nii"), ("x.nii.gz", "x.nrrd"), ("x.mha", "x.nrrd")):
        fresh(walk, "same")
        for name in (first, second):
            content = {
                "nii": volumes.nifti_bytes(image, volumes.RAS_TO_LPS),
                "nrrd": volumes.nrrd_bytes(
                    image, ["space: LPS", "space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (0,0,0)"]
                ),
                "mha": volumes.meta_bytes(image),
            }
            if name.endswith(".gz"):
                volumes.write_nifti(walk.path("same", name), image)
            else:
                walk.write(f"same/{name}", content[name.split(".")[-1]])
        out = fresh(walk, "out")
        walk.check(
            f"{first} beside {second}",
            ["segment", "-m", "bright.safetensors", "-i", "same", "-o", out],
            code=2,
            right=lambda _: "wrote" if out.exists() and any(out.rglob("x*")) else None,
        )
    out = fresh(walk, "out")
    walk.check(
        "one file given by two paths",
        ["segment", "-m", "bright.safetensors", "-i", "two/a.nii.gz", "./two/../two/a.nii.gz", "-o", out],
        code=(0, 2),
    )
    volumes.write_nifti(walk.path("elsewhere", "a.nii.gz"), image)
    walk.check(
        "two files of one name",
        ["segment", "-m", "bright.safetensors", "-i", "two/a.nii.gz", "elsewhere/a.nii.gz", "-o", fresh(walk, "out")],
        code=2,
        right=lambda _: "wrote" if walk.path("out", "a.nii.gz").exists() else None,
    )


def the_name_of_an_output_decides_its_format(walk):
    """Endings in any case; other formats, several inputs and contradictions are refused."""
    one = ["segment", "-m", "bright.safetensors", "-i", "data/imagesTs/t0.nii.gz", "-o"]
    for name in ("one.nii.gz", "one.nii", "one.nrrd", "one.mha", "one.NII.GZ", "one.Nii", "one.NRRD", "one.MHA"):
        target = fresh(walk, name)
        walk.check(f"-o {name}", [*one, name], right=lambda _: None if target.is_file() else "is no file")
    for name in (
        "one.nhdr",
        "one.mhd",
        "one.hdr",
        "one.img",
        "one.mgz",
        "one.npy",
        "one.dcm",
        "one.png",
        "one.nii.bz2",
        "one.json",
    ):
        target = fresh(walk, name)
        walk.check(f"-o {name}", [*one, name], code=2, right=lambda _: "was made" if target.exists() else None)
    for name in ("two.nii.gz", "two.mha", "two.NRRD"):
        target = fresh(walk, name)
        walk.check(
            f"-o {name} for two cases",
            ["segment", "-m", "bright.safetensors", "-i", "data/imagesTs", "-o", name],
            code=2,
            right=lambda _: "was made" if target.exists() else None,
        )
    for name, kind in (("one.nrrd", "mha"), ("one.nii", "nii.gz"), ("one.nii.gz", "nii"), ("one.mha", "nrrd")):
        target = fresh(walk, name)
        walk.check(
            f"--format {kind} -o {name}",
            [*one, name, "--format", kind],
            code=2,
            says=kind,
            right=lambda _: "was made" if target.exists() else None,
        )
    for kind in ("nhdr", "mhd", "png", "dicom", ""):
        walk.check(f"--format {kind!r}", [*one, fresh(walk, "out"), "--format", kind], code=2)


def every_case_is_evaluated_or_named(walk):
    """References named pat_prob, channels of one-channel networks, accents; a missing prediction fails the case."""
    image, label = volumes.step_volume(), (volumes.step_volume() > 0).astype(np.uint8)
    for names in (("pat", "pat_prob"), ("q_0000", "q_0001"), ("s_prob", "t_prob"), ("ä", "b.c")):
        fresh(walk, "in", "refs", "out")
        for name in names:
            volumes.write_nifti(walk.path("in", name + ".nii.gz"), image)
            volumes.write_nifti(walk.path("refs", name + ".nii.gz"), label)
        walk.check(f"segment {names}", ["segment", "-m", "bright.safetensors", "-i", "in", "-o", "out"])
        result = walk.check(
            f"evaluate {names}",
            ["evaluate", "-p", "out", "-r", "refs", "--json"],
            right=lambda r: [
                None if len(r.json["metric_per_case"]) == 2 else f"{len(r.json['metric_per_case'])} cases of 2",
                None if r.json["mean"]["1"]["Dice"] == 1 else "the Dice of equal maps is not 1",
            ],
        )
        walk.claim("no file is left out", result, lambda r: "warns" if "warning" in r.err.lower() else None)
        os.remove(walk.path("out", names[1] + ".nii.gz"))
        walk.check(
            f"without the prediction of {names[1]}", ["evaluate", "-p", "out", "-r", "refs"], code=4, says=names[1]
        )


def a_second_training_is_refused(walk):
    """The lock names host and process; a killed one's is taken over, another host's is not."""
    run = fresh(walk, "locked")
    config = config_file(
        walk,
        "long.json",
        curriculum=[{"patch": "whole", "epochs": 100000}],
        checkpoint={"every_seconds": 0},
        validation={"every_epochs": 100000},
    )
    command = ["train", "-d", "data", "-c", config, "-o", run]
    job = walk.start(command, env={"OMP_NUM_THREADS": 1}, stdout=DEVNULL, stderr=DEVNULL)
    try:
        wait_for(run / "lock")
        for more in ([], ["--resume"], ["--resume", "--set", "optimizer.lr=1e-5"], ["--set", "seed=4"]):
            walk.check(
                f"a second training {' '.join(more)}",
                [*command, *more],
                code=(1, 2),
                says=[str(job.pid), os.uname().nodename] if more[:1] == ["--resume"] else None,
            )
        walk.check("a resume by the folder alone", ["train", "-o", run, "--resume"], code=1, says=str(job.pid))
        walk.check(
            "segment into the run", ["segment", "-m", "bright.safetensors", "-i", "data/imagesTs", "-o", run], code=2
        )
        wait_for(run / "state" / "state.safetensors")
        walk.claim(
            "the first one still trains",
            walk.run(["info", run]),
            lambda _: "it ended" if job.poll() is not None else None,
        )
    finally:
        job.send_signal(signal.SIGKILL)
        job.wait()
    finish = ["train", "-o", run, "--resume", "--set", "curriculum.0.epochs=100000"]
    lock = (run / "lock").read_text()
    (run / "lock").write_text(lock.replace(os.uname().nodename, "elsewhere"))
    walk.check("the lock of another host", finish, code=1, says=["elsewhere", "lock"], keeps=run)
    (run / "lock").write_text(lock)
    resumed = walk.start(finish, stdout=DEVNULL)
    time.sleep(4)
    resumed.send_signal(signal.SIGTERM)
    text = resumed.communicate()[1]
    walk.claim(
        "the lock of a killed process is taken over, with a line",
        walk.run(["info", run]),
        lambda _: [
            None if resumed.returncode == 143 else f"exit {resumed.returncode}: {text[-200:]}",
            None if "lock" in text.lower() or "killed" in text.lower() else "no line says so: " + text[:300],
            "the lock is still there" if (run / "lock").exists() else None,
        ],
    )


def wait_for(path, seconds=60):
    """Waits until a file is there."""
    end = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError(path)
        time.sleep(0.02)


def other_commands_lock_their_folder(walk):
    """segment and synth while a first one works; a lock that was left is taken over with a line."""
    fresh(walk, "many", "out", "big")
    for i in range(12):
        volumes.write_nifti(walk.path("many", f"m{i:02d}.nii"), np.zeros((96, 96, 96), np.int16))
    first = {
        "segment": ["segment", "-m", "bright.safetensors", "-i", "many", "-o", "out", "--patch", "24,24,24"],
        "synth": ["synth", "--kind", "han", "--size", "128,128,96", "--train", "30", "--test", "0", "-o", "big"],
    }
    second = {
        "segment": [["segment", "-m", "run", "-i", "data/imagesTs", "-o", "out"], first["segment"]],
        "synth": [first["synth"], [*first["synth"], "--seed", "3"]],
    }
    for command, folder in (("segment", "out"), ("synth", "big")):
        job = walk.start(first[command], env={"OMP_NUM_THREADS": 1}, stdout=DEVNULL, stderr=DEVNULL)
        try:
            wait_for(walk.path(folder, ".lamp-lock"))
            for args in second[command]:
                walk.check(f"a second {command}", args, code=1, says=[str(job.pid), os.uname().nodename])
            walk.claim(
                f"the first {command} goes on",
                walk.run(["--version"]),
                lambda _: "it ended" if job.poll() is not None else None,
            )
        finally:
            job.send_signal(signal.SIGKILL)
            job.wait()
        walk.claim(
            f"a killed {command} leaves a lock",
            walk.run(["--version"]),
            lambda _: None if walk.path(folder, ".lamp-lock").exists() else "none",
        )
    walk.check(
        "segment after a killed one",
        ["segment", "-m", "bright.safetensors", "-i", "data/imagesTs", "-o", "out"],
        says="taking over out from process",
        right=lambda _: "left" if walk.path("out", ".lamp-lock").exists() else None,
    )
    walk.check("evaluate takes no lock for a case", ["evaluate", "-p", "out", "-r", "data/labelsTs"], code=(0, 4))


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
    "A12": [names_of_outputs_never_collide, the_name_of_an_output_decides_its_format, every_case_is_evaluated_or_named],
    "A13": [a_second_training_is_refused, other_commands_lock_their_folder],
}
