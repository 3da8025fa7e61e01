"""Assessors as DAX's own builders make them, set to where its upload would have left them. Prints their labels as JSON."""

import json
import os
import sys
import tempfile
from types import SimpleNamespace

url, user, password = sys.argv[1:4]
# DAX wants settings in the home folder; nothing here is a real one.
os.environ["HOME"] = tempfile.mkdtemp(dir=os.getcwd())

from dax import XnatUtils  # noqa: E402
from dax.processors_v3 import Processor_v3, SgpProcessor  # noqa: E402


def scan(session):
    return f"/projects/DAX/subjects/S1/experiments/{session}/scans/1"


labels = {}
with XnatUtils.get_interface(host=url, user=user, pwd=password) as xnat:
    builder = SimpleNamespace(xnat=xnat, proctype="Demo_v1", procversion="1.0.0", xsitype="proc:genProcData")
    for session, status, quality in (
        ("E1", "COMPLETE", "Needs QA"),
        ("E2", "JOB_RUNNING", "Job Pending"),
        ("E3", "JOB_FAILED", "Needs QA"),
    ):
        assessor, info = Processor_v3.create_assessor_pd(builder, "DAX", "S1", session, {"t1": scan(session)})
        assessor.attrs.mset({"proc:genprocdata/procstatus": status, "proc:genprocdata/validation/status": quality})
        labels[session] = info["ASSR"]
    builder = SimpleNamespace(proctype="group_v1", procversion="1.0.0")
    inputs = {"t1": [scan(session) for session in ("E1", "E2", "E3")]}
    assessor, info = SgpProcessor.create_assessor(builder, xnat, "DAX", "S1", inputs)
    assessor.attrs.mset({"proc:subjgenprocdata/procstatus": "COMPLETE", "proc:subjgenprocdata/validation/status": "Passed"})
    labels["S1"] = info["ASSR"]
print(json.dumps(labels))
