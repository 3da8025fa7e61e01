"""What DAX's own listings say of the assessors of a project, and whether its builders would make them again. Prints JSON."""

import json
import os
import sys
import tempfile
from types import SimpleNamespace

url, user, password, project = sys.argv[1:5]
# DAX wants settings in the home folder; nothing here is a real one.
os.environ["HOME"] = tempfile.mkdtemp(dir=os.getcwd())

from dax import XnatUtils  # noqa: E402
from dax.processors_v3 import Processor_v3, SgpProcessor  # noqa: E402


def found(processor, proctype, arguments):
    """The label that a builder takes for these inputs; it may make none."""

    def refuse(*_):
        raise RuntimeError("DAX would make it again")

    stub = SimpleNamespace(xnat=xnat, get_proctype=lambda: proctype, create_assessor=refuse, create_assessor_pd=refuse)
    return processor.get_assessor(stub, *arguments)[1]["ASSR"]


with XnatUtils.get_interface(host=url, user=user, pwd=password) as xnat:
    listed = xnat.get_project_assessors(project)
    on_subjects = xnat.list_project_sgp(project)
    data = {
        "name": project,
        "assessors": XnatUtils.load_assr_data(xnat, [project]).to_dict("records"),
        "sgp": [one for one in XnatUtils.load_sgp_data(xnat, project).to_dict("records") if one["ASSR"]],
    }
    again = {}
    for one in data["assessors"]:
        if one["INPUTS"]:
            again[one["ASSR"]] = found(Processor_v3, one["PROCTYPE"], [one["SESSION"], one["INPUTS"], data])
    for one in data["sgp"]:
        if one["INPUTS"]:
            again[one["ASSR"]] = found(SgpProcessor, one["PROCTYPE"], [xnat, one["SUBJECT"], one["INPUTS"], data])
    keys = ("label", "procstatus", "qcstatus", "proctype", "procversion", "jobid", "resources")
    print(
        json.dumps(
            {
                "sessions": [{key: one.get(key) for key in keys} for one in listed],
                "subjects": [{key: one.get(key) for key in keys} for one in on_subjects],
                "taken": again,
            }
        )
    )
