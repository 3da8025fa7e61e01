"""yaxil: listings and a download."""

import os
import sys
import tempfile

import yaxil

url, user, password = sys.argv[1:4]
auth = yaxil.XnatAuth(url=url, username=user, password=password, cookie=None)
auth = auth._replace(cookie={"JSESSIONID": yaxil.start_session(auth)})
[subject] = yaxil.subjects(auth, project="DAX")
assert subject.label == "S1"
[experiment] = yaxil.experiments(auth, label="E1", project="DAX")
assert (experiment.subject_label, experiment.project) == ("S1", "DAX")
assert yaxil.accession(auth, "E1", "DAX") == experiment.id
scans = list(yaxil.scans(auth, label="E1", project="DAX"))
assert [(scan["id"], scan["type"], scan["quality"]) for scan in scans] == [("1", "T1w", "usable"), ("2", "BOLD", "usable")], scans
target = tempfile.mkdtemp(dir=os.getcwd())
yaxil.download(auth, "E1", ["1"], project="DAX", out_dir=target)
assert sorted(os.listdir(target)) == ["t1.dcm", "t1.nii"], os.listdir(target)
yaxil.end_session(auth)
print("yaxil is content")
