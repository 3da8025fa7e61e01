"""DAX: its own listing, creating and uploading code, unchanged."""

import os
import sys
import tempfile
import uuid

url, user, password = sys.argv[1:4]
# DAX wants settings in the home folder; nothing here is a real one.
os.environ["HOME"] = tempfile.mkdtemp(dir=os.getcwd())

from dax import XnatUtils  # noqa: E402

with XnatUtils.get_interface(host=url, user=user, pwd=password) as xnat:
    assert XnatUtils.has_genproc_datatypes(xnat)
    [session] = xnat.get_sessions("DAX")
    assert (session["session_label"], session["subject_label"], session["type"]) == ("E1", "S1", "MR"), session
    scans = xnat.get_project_scans("DAX")
    assert [(s["scan_id"], s["scan_type"], s["resources"]) for s in scans] == [("1", "T1w", ["DICOM", "NIFTI"]), ("2", "BOLD", ["NIFTI"])], scans
    assert [s["scan_id"] for s in xnat.get_scans("DAX", "S1", "E1")] == ["1", "2"]
    assert len(xnat.get_subjects("DAX")) == 1

    # As its third processor generation makes an assessor.
    guid = str(uuid.uuid4())
    label = f"DAX-x-S1-x-E1-x-demo_v1-x-{guid[:8]}"
    inputs = '{"t1": "/projects/DAX/subjects/S1/experiments/E1/scans/1"}'
    assessor = xnat.select_session("DAX", "S1", "E1").assessor(guid)
    assert not assessor.exists()
    assessor.create(
        assessors="proc:genprocdata",
        ID=guid,
        label=label,
        **{
            "proc:genprocdata/proctype": "demo_v1",
            "proc:genprocdata/procversion": "1.0.0",
            "proc:genprocdata/procstatus": "NEED_INPUTS",
            "proc:genprocdata/validation/status": "Job Pending",
            "proc:genprocdata/date": "2024-01-02",
            "proc:genprocdata/inputs": inputs,
        },
    )
    assert assessor.exists()

    # As its upload does: a folder as a zip that is unpacked, a single file, snapshots, then the end.
    folder = tempfile.mkdtemp(dir=os.getcwd())
    os.makedirs(os.path.join(folder, "sub"))
    for name in ("a.txt", "sub/b.txt"):
        with open(os.path.join(folder, name), "w") as file:
            file.write(name)
    assert XnatUtils.upload_folder_to_obj(folder, assessor.out_resource("DATA"), "DATA", removeall=True)
    pdf = os.path.join(os.getcwd(), "report.pdf")
    with open(pdf, "w") as file:
        file.write("%PDF-")
    assert XnatUtils.upload_file_to_obj(pdf, assessor.out_resource("PDF"), removeall=True)
    pictures = tempfile.mkdtemp(dir=os.getcwd())
    os.chdir(pictures)
    for name in ("snapshot_original.png", "snapshot_preview.png"):
        with open(name, "w") as file:
            file.write(name)
    assert XnatUtils.upload_assessor_snapshots(assessor, "snapshot_original.png", "snapshot_preview.png")
    assessor.attrs.mset({"proc:genprocdata/procstatus": "COMPLETE", "proc:genprocdata/validation/status": "Needs QA", "proc:genprocdata/jobid": "17"})
    assert assessor.attrs.get("proc:genprocdata/procstatus") == "COMPLETE"

    [listed] = xnat.get_project_assessors("DAX")
    assert listed["label"] == label, listed
    assert (listed["procstatus"], listed["qcstatus"], listed["proctype"], listed["jobid"]) == ("COMPLETE", "Needs QA", "demo_v1", "17"), listed
    assert sorted(listed["resources"]) == ["DATA", "PDF", "SNAPSHOTS"], listed
    assert sorted(assessor.out_resource("DATA").files().get()) == ["a.txt", "b.txt"]

    # The session's document, of which its builder reads everything.
    cached = XnatUtils.CachedImageSession(xnat, "DAX", "S1", "E1")
    assert [(scan.info()["scan_id"], sorted(r.info()["label"] for r in scan.resources())) for scan in cached.scans()] == [
        ("1", ["DICOM", "NIFTI"]),
        ("2", ["NIFTI"]),
    ]
    [own] = cached.assessors()
    assert own.info()["inputs"] == {"t1": "/projects/DAX/subjects/S1/experiments/E1/scans/1"}, own.info()
    assert sorted(r.info()["label"] for r in own.out_resources()) == ["DATA", "PDF", "SNAPSHOTS"]
print("DAX is content")
