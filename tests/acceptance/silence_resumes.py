"""Lines A14, A16 and A17: a resume is the same run, or is refused and leaves everything as it was."""

import json
import os
import time

from material import config_file, data_set, fresh, rows_of


def flip_bit_in_place(path, at):
    """Changes one bit of a file and puts size and times back."""
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def a_resume_on_other_data_is_refused(walk):
    """Contents are compared, of images, labels and the list; a move or a touch changes nothing."""
    data_set(walk, "raw", ending=".nii")
    config = config_file(walk, "raw.json")
    trained = fresh(walk, "raw_run")
    walk.check("train", ["train", "-d", "raw", "-c", config, "-o", trained])
    more = ["--set", "curriculum.0.epochs=3"]
    for part in ("imagesTr", "labelsTr"):
        for case in ("a0", "a1", "a2", "a3"):
            walk.copy(walk.path("raw"), "raw2")
            run = walk.copy(trained, "resumed")
            flip_bit_in_place(walk.path("raw2", part, case + ".nii"), 352 + (0 if part == "labelsTr" else 2000))
            walk.check(
                f"resume: a bit of {part}/{case}",
                ["train", "-o", run, "-d", "raw2", "--resume", *more],
                code=(2, 3),
                says=f"{case}.nii",
                keeps=run,
            )
    for change in ("a case less", "another label name", "cases exchanged", "a label map exchanged"):
        walk.copy(walk.path("raw"), "raw2")
        listed = json.loads(walk.path("raw2/dataset.json").read_text())
        if change == "a case less":
            listed["training"].pop()
            listed["numTraining"] = 3
        elif change == "another label name":
            listed["labels"]["1"] = "cube"
        elif change == "cases exchanged":
            for name in ("imagesTr", "labelsTr"):
                first, second = (walk.path("raw2", name, case + ".nii") for case in ("a0", "a1"))
                content = first.read_bytes()
                first.write_bytes(second.read_bytes())
                second.write_bytes(content)
        else:
            walk.path("raw2/labelsTr/a0.nii").write_bytes(walk.path("raw2/labelsTr/a1.nii").read_bytes())
        walk.write("raw2/dataset.json", listed)
        run = walk.copy(trained, "resumed")
        walk.check(f"resume: {change}", ["train", "-o", run, "-d", "raw2", "--resume", *more], code=(2, 3), keeps=run)
    for change in ("moved", "touched", "listed in other words"):
        walk.copy(walk.path("raw"), "raw2")
        run = walk.copy(trained, "resumed")
        if change == "touched":
            for path in walk.path("raw2").rglob("*.nii"):
                os.utime(path)
        elif change == "listed in other words":
            listed = json.loads(walk.path("raw2/dataset.json").read_text())
            walk.write("raw2/dataset.json", json.dumps(listed))
        walk.check(
            f"resume: {change}",
            ["train", "-o", run, "-d", "raw2", "--resume", *more],
            right=lambda _: None if len(rows_of(run / "metrics.csv")) == 3 else "not three epochs",
        )


NEVER = {
    "seed": 3,
    "net.width": 8,
    "net.depth": 1,
    "net.name": "seunet",
    "data.window": [0, 1],
    "data.spacing_mm": [2, 2, 2],
    "data.orientation": "keep",
    "data.interpolation": "cubic",
    "sampling.centre": "class",
    "augment.preset": "han",
    "augment.flip.probability": 0.5,
    "loss.name": "dice",
    "loss.focal_weight": 0.1,
    "validation.fraction": 0.5,
    "validation.fold": 0,
    "curriculum.0.patch": [16, 16, 16],
    "curriculum.0.batch": 2,
    "curriculum.0.epochs": 1,
    "optimizer.name": "sgd",
    "optimizer.lr": 1e-6,
}


def a_resume_never_changes_what_was_trained(walk):
    """On a finished run: each setting that made the result is refused by its name (a shorthand by the first key that it
    changes), and nothing is written."""
    for key, value in NEVER.items():
        run = walk.copy(walk.path("run"), "resumed")
        named = {"augment.preset": "augment.affine", "loss.name": "loss.focal_weight"}.get(key, key.split(".")[-1])
        walk.check(
            f"resume with {key}",
            ["train", "-o", run, "--resume", "--set", f"{key}={json.dumps(value)}"],
            code=2,
            says=named,
            keeps=run,
        )
    run = walk.copy(walk.path("run"), "resumed")
    walk.check("resume with --seed 3", ["train", "-o", run, "--resume", "--seed", "3"], code=2, says="seed", keeps=run)
    other = config_file(walk, "other.json", seed=5)
    walk.check("resume with another -c", ["train", "-o", run, "--resume", "-c", other], code=2, says="seed", keeps=run)
    walk.check(
        "resume with an unknown key",
        ["train", "-o", run, "--resume", "--set", "optimiser.lr=1"],
        code=2,
        says="optimizer",
        keeps=run,
    )
    walk.check(
        "info afterwards",
        ["info", run, "--json"],
        right=lambda r: None if r.json["config"]["seed"] == 0 else "another seed",
    )
    same = config_file(walk, "same.json")
    for args in ([], ["-c", same], ["--set", "seed=0"], ["--set", "net.width=4"]):
        walk.check(f"resume with what it has: {args}", ["train", "-o", run, "--resume", *args])


REFUSED = [
    "curriculum=[]",
    "curriculum=[{}]",
    'curriculum=[{"patch":[16,16,16],"epochs":9}]',
    'curriculum=[{"patch":"whole","epochs":1}]',
    'curriculum=[{"patch":"whole","batch":0,"epochs":9}]',
    'curriculum=[{"patch":"whole","epochs":2},{"patch":[-1,1,1]}]',
    'curriculum="whole"',
    "net.width=8",
    "optimizer.name=nadam",
    "optimizer.lr=-1",
    "optimizer.lr=nan",
    "execution.device=cuda:77",
    "execution.precision=fp8",
    "loader.threads=0",
    "curriculum.5.epochs=3",
    "validation.every_epochs=0",
    "curriculum.0.epochs=0",
    "checkpoint.every_seconds=-1",
    'execution={"device":"tpu"}',
]


def a_refused_resume_leaves_the_run_as_it_was(walk):
    """Every refused change, then the plain resume with the same optimizer."""
    for setting in REFUSED:
        run = walk.copy(walk.path("run"), "resumed")
        walk.check(
            f"resume --set {setting}", ["train", "-o", run, "--resume", "--set", setting], code=(2, 5), keeps=run
        )
        walk.check("the plain resume afterwards", ["train", "-o", run, "--resume"])
    for config in ('{"net": ', "{}", '{"net": {"width": 8}}'):
        walk.write("broken.json", config)
        run = walk.copy(walk.path("run"), "resumed")
        walk.check(f"resume -c {config}", ["train", "-o", run, "--resume", "-c", "broken.json"], code=2, keeps=run)
    run = walk.copy(walk.path("run"), "resumed")
    walk.check("resume -c none.json", ["train", "-o", run, "--resume", "-c", "no-such.json"], code=2, keeps=run)
    walk.check("resume -d none", ["train", "-o", run, "--resume", "-d", "no-such"], code=(2, 3), keeps=run)


def a_curriculum_without_optimizer_keeps_the_optimizer(walk):
    """Stages that are added take the run's AdamW, and the run goes on with it."""
    run = walk.copy(walk.path("run"), "resumed")
    stages = '[{"patch":"whole","batch":1,"epochs":2},{"patch":"whole","batch":1,"epochs":1}]'
    walk.check(
        "resume with a stage more",
        ["train", "-o", run, "--resume", "--set", f"curriculum={stages}"],
        right=lambda _: [
            None if len(rows_of(run / "metrics.csv")) == 3 else "not three epochs",
            *[f"stage {i} has {name}" for i, name in enumerate(optimizers(run)) if name != "adamw"],
        ],
    )
    walk.check("the plain resume afterwards", ["train", "-o", run, "--resume"])


def optimizers(run):
    """The optimizer of each stage in config.json."""
    config = json.loads((run / "config.json").read_text())
    common = config.get("optimizer", {})
    return [{**common, **stage.get("optimizer", {})}["name"] for stage in config["curriculum"]]


def settings_of_the_optimizer_hold_for_what_is_left(walk):
    """optimizer.* on a run with a stage left: metrics.csv shows the rate, config.json the rest; else a refusal."""
    config = config_file(
        walk,
        "staged.json",
        curriculum=[{"patch": "whole", "epochs": 1}, {"patch": "whole", "epochs": 30}],
        checkpoint={"every_seconds": 0},
        validation={"fraction": 0},
    )
    half = fresh(walk, "half")
    job = walk.start(["train", "-d", "data", "-c", config, "-o", half])
    wait_for_epochs(half, 2)
    job.terminate()
    job.communicate()
    walk.claim(
        "a training that was stopped",
        walk.run(["info", half]),
        None if job.returncode == 143 else f"exit {job.returncode}",
    )
    done = len(rows_of(half / "metrics.csv"))
    short = ["--set", f"curriculum.1.epochs={done + 1}"]
    for rate in (1e-6, 5e-4, 0.01):
        run = walk.copy(half, "resumed")
        walk.check(
            f"resume --set optimizer.lr={rate}",
            ["train", "-o", run, "--resume", "--set", f"optimizer.lr={rate}", *short],
            right=lambda _: [
                (
                    None
                    if abs(float(row["learning_rate"]) - rate) < 1e-6 * rate
                    else f"epoch {row['epoch']} ran with {row['learning_rate']}"
                )
                for row in rows_of(run / "metrics.csv")[done + 1 :]
            ],
        )
    for key, value in {"weight_decay": 0.1, "clip_norm": 2, "schedule": "cosine"}.items():
        run = walk.copy(half, "resumed")
        walk.check(
            f"resume --set optimizer.{key}={value}",
            ["train", "-o", run, "--resume", "--set", f"optimizer.{key}={value}", *short],
            right=lambda _: (
                None
                if json.loads((run / "config.json").read_text())["curriculum"][1].get("optimizer", {}).get(key) == value
                else "config.json does not say so"
            ),
        )
    run = walk.copy(half, "resumed")
    walk.check(
        "resume --set curriculum.1.optimizer.lr",
        ["train", "-o", run, "--resume", "--set", "curriculum.1.optimizer.lr=2e-5", *short],
        right=lambda _: (
            None if abs(float(rows_of(run / "metrics.csv")[-1]["learning_rate"]) - 2e-5) < 1e-9 else "another rate"
        ),
    )
    for setting in (
        "curriculum.0.optimizer.lr=1e-6",
        "curriculum.1.optimizer.name=sgd",
        "optimizer.name=sgd",
        "optimizer.rate=1",
        "optimizer.learning_rate=1",
    ):
        run = walk.copy(half, "resumed")
        walk.check(f"resume --set {setting}", ["train", "-o", run, "--resume", "--set", setting], code=2, keeps=run)
    for setting in ("optimizer.lr=1e-6", "optimizer.weight_decay=0.5", "curriculum.0.optimizer.lr=1e-6"):
        run = walk.copy(walk.path("run"), "resumed")
        walk.check(
            f"a finished run: --set {setting}", ["train", "-o", run, "--resume", "--set", setting], code=2, keeps=run
        )


def wait_for_epochs(run, count, seconds=90):
    """Waits until a training has saved some epochs."""
    end = time.monotonic() + seconds
    while not (run / "metrics.csv").exists() or len(rows_of(run / "metrics.csv")) < count:
        if time.monotonic() > end:
            raise TimeoutError(run)
        time.sleep(0.02)


LINES = {
    "A14": [a_resume_on_other_data_is_refused, a_resume_never_changes_what_was_trained],
    "A16": [a_refused_resume_leaves_the_run_as_it_was, a_curriculum_without_optimizer_keeps_the_optimizer],
    "A17": [settings_of_the_optimizer_hold_for_what_is_left],
}
