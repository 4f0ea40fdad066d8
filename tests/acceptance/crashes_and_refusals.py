#!/usr/bin/env python3
"""Walks the crashes (B), the refusals (C) and the ten rules (R1 to R10) of docs/reliability.md with the built program.

Every line is tried with its neighbours: one command a check, with its exit code, what it must say and what must be
untouched on disk. Right values come from definitions, numpy, nibabel, pydicom or SimpleITK, never from the program.
R7, limits of what is parsed and of memory, is B1 to B5 and B9. B16 is walked by shapes alone: one convolution beyond
2^31 elements takes 17 GB.

    python3 tests/acceptance/crashes_and_refusals.py build/lamp [--only B4,R6] [--json counts.json]

Needs Python 3.9 with numpy, nibabel, pydicom and SimpleITK, bash and setpriv; two cores, 6 GiB and 15 minutes.
"""

import sys

import crash_data
import crashes_files
import crashes_images
import crashes_json
import crashes_memory
import crashes_signals
import crashes_states
import refusals_images
import refusals_words
import ten_rules
import walk

MODULES = [crashes_json, crashes_states, crashes_memory, crashes_signals, crashes_files, crashes_images,
           refusals_images, refusals_words, ten_rules]
LINES = dict(sorted(((line, checks) for module in MODULES for line, checks in module.LINES.items()),
                    key=lambda row: (row[0][0], int(row[0][1:]) if row[0][1:].isdigit() else 0, row[0])))

if __name__ == "__main__":
    sys.exit(walk.main(__doc__, LINES, crash_data.prepare))
