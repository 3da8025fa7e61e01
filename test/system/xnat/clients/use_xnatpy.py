"""xnatpy: connect (which builds classes from the server's schemas), make a tree, upload, download, import, delete."""

import datetime
import os
import sys
import tempfile
import zipfile

import xnat

url, user, password, dicom_zip = sys.argv[1:5]
work = tempfile.mkdtemp(dir=os.getcwd())


def write(name, text):
    path = os.path.join(work, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    return path


with xnat.connect(url, user=user, password=password, loglevel="ERROR", no_parse_model=False) as session:
    assert session.xnat_version == "1.8.10", session.xnat_version
    session.put("/data/projects/XPY?accessibility=private")
    project = session.projects["XPY"]
    subject = session.classes.SubjectData(parent=project, label="S1")
    subject.demographics.gender = "male"
    subject.demographics.yob = 1980
    assert (subject.demographics.gender, subject.demographics.yob) == ("male", 1980)
    subject.fields["cohort"] = "B"
    assert dict(subject.fields) == {"cohort": "B"}

    experiment = session.classes.MrSessionData(parent=subject, label="XE1")
    experiment.date = datetime.date(2020, 2, 3)
    assert experiment.date == datetime.date(2020, 2, 3)
    scan = session.classes.MrScanData(parent=experiment, id="1", type="T1w")
    scan.quality = "usable"
    assert (scan.id, scan.type, scan.quality) == ("1", "T1w", "usable")

    resource = scan.create_resource("NIFTI")
    resource.upload(write("a.nii", "hello"), "a.nii")
    write("tree/x.txt", "x")
    write("tree/sub/y.txt", "yy")
    resource.upload_dir(os.path.join(work, "tree"))
    assert sorted(one.path for one in resource.files.values()) == ["a.nii", "sub/y.txt", "x.txt"]
    assert resource.files["a.nii"].digest == "5d41402abc4b2a76b9719d911017c592"
    resource.files["a.nii"].download(os.path.join(work, "b.nii"))
    assert open(os.path.join(work, "b.nii")).read() == "hello"
    resource.download(os.path.join(work, "r.zip"))
    names = zipfile.ZipFile(os.path.join(work, "r.zip")).namelist()
    assert "XE1/scans/1-T1w/resources/NIFTI/files/sub/y.txt" in names, names
    experiment.download_dir(os.path.join(work, "out"))
    assert os.path.isfile(os.path.join(work, "out/XE1/scans/1-T1w/resources/NIFTI/files/a.nii"))

    check = session.classes.QcAssessmentData(parent=experiment, label="QC1")
    check.create_resource("PDF").upload(write("r.pdf", "pdf"), "r.pdf")
    result = session.classes.ProcGenProcData(parent=experiment, label="GP1")
    result.procstatus = "COMPLETE"
    assert result.procstatus == "COMPLETE"
    assert sorted(one.label for one in experiment.assessors.values()) == ["GP1", "QC1"]

    table = project.experiments.tabulate(columns=["ID", "label", "date"])
    assert [(row.label, row.date) for row in table] == [("XE1", "2020-02-03")], table
    assert [one.label for one in project.experiments.filter(label="XE*").values()] == ["XE1"]
    found = session.classes.MrSessionData.query().filter(session.classes.MrSessionData.label == "XE1").tabulate_dict()
    assert [row["session_id"] for row in found] == [experiment.id], found

    imported = session.services.import_(dicom_zip, project="XPY", subject="S2", experiment="IMPORTED")
    assert imported.label == "IMPORTED", imported
    assert len(imported.scans) == 1 and len(imported.scans[0].resources["DICOM"].files) > 0
    assert list(session.prearchive.sessions(project="XPY")) == []

    experiment.label = "XE2"
    session.clearcache()
    assert session.projects["XPY"].experiments["XE2"].id == experiment.id
    session.projects["XPY"].subjects["S1"].delete()
    assert [one.label for one in session.projects["XPY"].subjects.values()] == ["S2"]
print("xnatpy is content")
