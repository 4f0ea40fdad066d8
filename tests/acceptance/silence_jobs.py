"""Line A13: one output has one process at work."""

import os
import signal
import time
from subprocess import DEVNULL

import numpy as np

import volumes
from material import config_file, fresh


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
    "A13": [a_second_training_is_refused, other_commands_lock_their_folder],
}
