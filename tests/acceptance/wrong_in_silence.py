#!/usr/bin/env python3
"""Walks 20 kinds of silent faults (A1 ... A20) with the built program: exit 0 and a wrong result, or data lost.

    python tests/acceptance/wrong_in_silence.py build/lamp [--only A5,A6] [--json counts.json]

Each line stands for bug reports against programs of this field, with their neighbours: A1 foreign files are
overwritten. A2 padding counts in the loss. A3 the best network is not defined. A4 sides are lost by
mirroring. A5 DICOM files are dropped. A6 NRRD geometry is mirrored. A7 channel numbers are ignored. A8 NIfTI
contradicts itself. A9 MONOCHROME1 is inverted. A10 JSON keys stand twice. A11 a full standard output is
success. A12 outputs collide. A13 two jobs share an output. A14 a resume on other data. A15 windows beyond the
volume. A16 a refused resume destroys the run. A17 settings of a resume are ignored. A18 inputs are left out.
A19 probabilities contradict the label map. A20 values unlike those of training.

Right values come from numpy, nibabel, pydicom and SimpleITK, which Python needs (`make walk` installs them). Takes some
minutes on two cores.
"""

import sys

import material
import silence_folders
import silence_geometry
import silence_inputs
import silence_jobs
import silence_names
import silence_outputs
import silence_results
import silence_resumes
import silence_stored_values
import silence_texts
import silence_training
import silence_value_ranges
import walk

MODULES = (
    silence_folders,
    silence_geometry,
    silence_inputs,
    silence_jobs,
    silence_names,
    silence_outputs,
    silence_results,
    silence_resumes,
    silence_stored_values,
    silence_texts,
    silence_training,
    silence_value_ranges,
)
LINES = {name: steps for module in MODULES for name, steps in module.LINES.items()}

if __name__ == "__main__":
    ordered = dict(sorted(LINES.items(), key=lambda item: int(item[0][1:])))
    sys.exit(walk.main(__doc__, ordered, material.prepare))
