"""Compares what the processors wrote with an independent computation by nibabel, numpy, scipy and dipy.

    python3 check.py SAMPLE RESULTS

RESULTS is a folder as run.mjs leaves it. Prints one line a number; exit code 1 when any is outside its tolerance.
Nothing here is shared with the processors: only the definitions in stats.json are the same.
"""

import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel
from scipy import ndimage

# Relative tolerance, and an absolute one for numbers near 0. Maps are float32 on disk: 2e-6 is a few of their steps.
TOLERANCE = {
    "exact": (0, 0),
    "number": (1e-6, 1e-9),  # same definition, double precision on both sides
    "map": (2e-6, 1e-6),  # largest difference of a map from ours, relative to its own largest value
    "tensor": (1e-4, 1e-6),  # two solvers of the same least squares
    "tensor map": (1e-3, 1e-5),  # the same, in the worst voxel
}

rows = []


def compare(where, metric, ours, independent, kind="number"):
    relative, absolute = TOLERANCE[kind]
    if ours is None or independent is None:
        ok, difference = ours is None and independent is None, 0.0
    elif isinstance(ours, str) or isinstance(independent, str):
        ok, difference = ours == independent, 0.0
    else:
        difference = abs(float(ours) - float(independent))
        ok = bool(difference <= absolute + relative * abs(float(independent)))
    rows.append((where, metric, ours, independent, difference, kind, ok))


def compare_map(where, metric, ours, independent, kind="map"):
    """The worst voxel, in units of the map's largest value."""
    scale = float(np.abs(independent).max()) or 1.0
    worst = float(np.abs(ours - independent).max()) / scale
    relative, absolute = TOLERANCE[kind]
    rows.append((where, metric, "map", "map", worst, kind, worst <= relative + absolute))


def stats_of(folder):
    return json.loads((folder / "outputs" / "stats.json").read_text())


def load(folder):
    image = nib.load(next((folder / "inputs" / "image").glob("*.nii.gz")))
    return image, image.get_fdata(dtype=np.float64)


def loaded(folder, name):
    return nib.load(folder / "outputs" / name).get_fdata(dtype=np.float64)


def geometry(where, metrics, image):
    for axis, size in zip("ijk", image.shape):
        compare(where, f"dim_{axis}", metrics[f"dim_{axis}"], size, "exact")
    for axis, size in zip("ijk", image.header.get_zooms()[:3]):
        compare(where, f"voxel_{axis}_mm", metrics[f"voxel_{axis}_mm"], float(size))
    header = image.header
    if header["sform_code"] > 0 or header["qform_code"] > 0:
        letters = "".join(nib.aff2axcodes(image.affine))
        compare(where, "orientation", metrics["orientation"], letters, "exact")


def mad(values):
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def clip_level(values):
    positive = values[values > 0]
    level, following = 0.0, (positive**2).sum() / positive.sum() / 2
    while following != level:
        level = following
        following = np.median(values[values >= level]) / 2
    return following


def robust_z(values):
    spread = mad(values)
    return (values - np.median(values)) / spread if spread > 0 else np.zeros_like(values)


def robust_residual(series, limit=3.5):
    t = np.arange(len(series))
    rest = series - np.polyval(np.polyfit(t, series, 1), t)
    before = None
    for _ in range(10):
        kept = np.abs(robust_z(rest)) <= limit
        if before is not None and (kept == before).all():
            break
        before = kept
        rest = series - np.polyval(np.polyfit(t[kept], series[kept], 1), t)
    return rest


# ---------------------------------------------------------------- anatomical


def otsu(values, bins=256):
    counts, edges = np.histogram(values, bins=bins)
    below = np.cumsum(counts)
    above = counts.sum() - below
    index = np.arange(bins)
    weighted = np.cumsum(counts * index)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (weighted / below - (weighted[-1] - weighted) / above) ** 2
    return edges[int(np.nanargmax(between[:-1])) + 1]


def check_head(folder):
    where, metrics = folder.name, stats_of(folder)["metrics"]
    image, data = load(folder)
    data = data.reshape(data.shape[:3])
    geometry(where, metrics, image)

    threshold = otsu(np.clip(data, None, np.percentile(data, 99.9)).ravel())
    foreground = data >= threshold
    # Air: what a flood from a rim laid round the image reaches through voxels below the threshold.
    low = np.pad(~foreground, 1, constant_values=True)
    labels, _ = ndimage.label(low)
    air = (labels == labels[0, 0, 0])[1:-1, 1:-1, 1:-1]
    signal, noise = data[foreground], data[air]
    deviation, spread = noise.std(ddof=1), mad(noise)
    ratio = lambda a, b: float(a / b) if b > 0 else None

    compare(where, "otsu_threshold", metrics["otsu_threshold"], threshold)
    compare(where, "foreground_percent", metrics["foreground_percent"], 100 * foreground.mean())
    compare(where, "air_percent", metrics["air_percent"], 100 * air.mean())
    compare(where, "snr", metrics["snr"], ratio(signal.mean(), deviation))
    compare(where, "snr_rayleigh", metrics["snr_rayleigh"], ratio(signal.mean() * np.sqrt(2 - np.pi / 2), deviation))
    compare(where, "snr_robust", metrics["snr_robust"], ratio(np.median(signal), spread))
    compare(where, "fber", metrics["fber"], ratio((signal**2).mean(), (noise**2).mean()))
    compare(where, "foreground_mean", metrics["foreground_mean"], signal.mean())
    compare(where, "foreground_median", metrics["foreground_median"], np.median(signal))
    compare(where, "foreground_cv", metrics["foreground_cv"], signal.std(ddof=1) / signal.mean())
    compare(where, "air_mean", metrics["air_mean"], noise.mean())
    compare(where, "air_sd", metrics["air_sd"], deviation)
    share = np.abs(data) / np.sqrt((data**2).sum())
    share = share[share > 0]
    greatest = np.sqrt(data.size) * np.log(np.sqrt(data.size))
    compare(where, "efc", metrics["efc"], -(share * np.log(share)).sum() / greatest)
    for name, value in [
        ("intensity_min", data.min()),
        ("intensity_p02", np.percentile(data, 2)),
        ("intensity_median", np.median(data)),
        ("intensity_mean", data.mean()),
        ("intensity_sd", data.std(ddof=1)),
        ("intensity_p98", np.percentile(data, 98)),
        ("intensity_max", data.max()),
    ]:
        compare(where, name, metrics[name], value)


# ---------------------------------------------------------------- functional


def check_series(folder, seconds):
    where, stats = folder.name, stats_of(folder)
    metrics = stats["metrics"]
    image, data = load(folder)
    geometry(where, metrics, image)
    T = data.shape[3]
    compare(where, "repetition_time_s", metrics["repetition_time_s"], seconds)

    mean = data.mean(axis=3)
    t = np.arange(T, dtype=float)
    design = np.column_stack([np.ones(T), t])
    flat = data.reshape(-1, T).T
    fitted, *_ = np.linalg.lstsq(design, flat, rcond=None)
    residual = flat - design @ fitted
    deviation = np.sqrt((residual**2).sum(axis=0) / (T - 2)).reshape(mean.shape)
    level = clip_level(mean.ravel())
    mask = mean >= level
    tsnr = np.zeros_like(mean)
    np.divide(mean, deviation, out=tsnr, where=mask & (deviation > 1e-9))

    compare(where, "clip_level", metrics["clip_level"], level)
    compare(where, "mask_voxels", metrics["mask_voxels"], int(mask.sum()), "exact")
    compare_map(where, "mask.nii.gz", loaded(folder, "mask.nii.gz"), mask.astype(float))
    compare_map(where, "mean.nii.gz", loaded(folder, "mean.nii.gz"), mean)
    compare_map(where, "std.nii.gz", loaded(folder, "std.nii.gz"), deviation)
    compare_map(where, "tsnr.nii.gz", loaded(folder, "tsnr.nii.gz"), tsnr)
    ours = nib.load(folder / "outputs" / "tsnr.nii.gz").affine
    if image.header["sform_code"] > 0 or image.header["qform_code"] > 0:
        compare_map(where, "affine", ours, image.affine)
    inside = tsnr[mask]
    compare(where, "tsnr_median", metrics["tsnr_median"], np.median(inside))
    compare(where, "tsnr_mean", metrics["tsnr_mean"], inside.mean())
    compare(where, "tsnr_p05", metrics["tsnr_p05"], np.percentile(inside, 5))
    compare(where, "tsnr_p95", metrics["tsnr_p95"], np.percentile(inside, 95))

    course = data[mask].mean(axis=0)
    slope, start = np.polyfit(t, course, 1)
    rest = course - (slope * t + start)
    compare(where, "drift_percent", metrics["drift_percent"], 100 * slope * (T - 1) / course.mean())
    compare(where, "global_sd_percent", metrics["global_sd_percent"], 100 * np.sqrt((rest**2).sum() / (T - 2)) / course.mean())
    grand = mean[mask].mean()
    compare(where, "grand_mean", metrics["grand_mean"], grand)
    change = 100 * np.sqrt((np.diff(data[mask], axis=1) ** 2).mean(axis=0)) / grand
    compare(where, "change_median_percent", metrics["change_median_percent"], np.median(change))
    compare(where, "change_max_percent", metrics["change_max_percent"], change.max())

    limit, slice_limit = stats["params"]["outlierZ"], stats["params"]["sliceOutlierZ"]
    global_z = np.abs(robust_z(robust_residual(course)))
    change_z = np.concatenate([[0], robust_z(change)])
    outliers = [int(n) for n in np.flatnonzero((global_z > limit) | (change_z > limit))]
    compare(where, "outlierVolumes", str(stats["outlierVolumes"]), str(outliers), "exact")
    slices = []
    for k in range(data.shape[2]):
        if mask[:, :, k].sum() < 10:
            continue
        z = robust_z(robust_residual(data[:, :, k][mask[:, :, k]].mean(axis=0)))
        slices += [(k, int(n)) for n in np.flatnonzero(np.abs(z) > slice_limit)]
    found = [(one["slice"], one["volume"]) for one in stats["outlierSlices"]]
    compare(where, "outlierSlices", str(found), str(slices), "exact")

    table = np.genfromtxt(folder / "outputs" / "volumes.tsv", names=True, delimiter="\t", missing_values="n/a")
    compare_map(where, "volumes.tsv mean_signal", table["mean_signal"], course)
    compare_map(where, "volumes.tsv change_percent", table["change_percent"][1:], change)


# ---------------------------------------------------------------- diffusion


def check_diffusion(folder):
    where, stats = folder.name, stats_of(folder)
    metrics = stats["metrics"]
    image, data = load(folder)
    geometry(where, metrics, image)
    inputs = folder / "inputs" / "image"
    bvals = np.loadtxt(next(inputs.glob("*.bval")))
    bvecs = np.loadtxt(next(inputs.glob("*.bvec"))).T
    length = np.linalg.norm(bvecs, axis=1)
    bvecs[length > 0] /= length[length > 0][:, None]
    b0 = bvals <= 50

    mean = data.mean(axis=3)
    level = clip_level(mean.ravel())
    mask = mean >= level
    compare_map(where, "mean-b0.nii.gz", loaded(folder, "mean-b0.nii.gz"), data[..., b0].mean(axis=3))
    compare(where, "clip_level", metrics["clip_level"], level)
    compare(where, "mask_voxels", metrics["mask_voxels"], int(mask.sum()), "exact")
    compare(where, "b0_volumes", metrics["b0_volumes"], int(b0.sum()), "exact")
    compare(where, "weighted_volumes", metrics["weighted_volumes"], int((~b0).sum()), "exact")
    compare(where, "b_max", metrics["b_max"], bvals.max())
    course = data[mask].mean(axis=0)
    table = np.genfromtxt(folder / "outputs" / "volumes.tsv", names=True, delimiter="\t", missing_values="n/a")
    compare_map(where, "volumes.tsv mean_signal", table["mean_signal"], course)
    compare(where, "b0_signal", metrics["b0_signal"], course[b0].mean())
    compare(where, "weighted_signal", metrics["weighted_signal"], course[~b0].mean())

    # The smallest positive signal in the mask stands in for what is not positive, as dipy does by default.
    gradients = gradient_table(bvals, bvecs, b0_threshold=50, atol=1e-2)
    positive = data[mask]
    fit = TensorModel(gradients, fit_method="WLS", min_signal=positive[positive > 0].min()).fit(data, mask=mask)
    fa, md = np.where(mask, fit.fa, 0), np.where(mask, fit.md, 0)
    compare_map(where, "fa.nii.gz", loaded(folder, "fa.nii.gz"), fa, "tensor map")
    compare_map(where, "md.nii.gz", loaded(folder, "md.nii.gz"), md, "tensor map")
    compare(where, "fa_mean", metrics["fa_mean"], fa[mask].mean(), "tensor")
    compare(where, "fa_median", metrics["fa_median"], np.median(fa[mask]), "tensor")
    compare(where, "fa_p95", metrics["fa_p95"], np.percentile(fa[mask], 95), "tensor")
    compare(where, "md_mean", metrics["md_mean"], 1e3 * md[mask].mean(), "tensor")
    compare(where, "md_median", metrics["md_median"], 1e3 * np.median(md[mask]), "tensor")

    # Slices against the others of their shell; shells: within 5 % (at least 50) of the lowest b-value of the shell.
    shells, order = [], np.argsort(bvals, kind="stable")
    for n in order:
        first = bvals[shells[-1][0]] if shells else None
        joins = first is not None and (bvals[n] <= 50 or (first > 50 and bvals[n] - first <= max(50, 0.05 * first)))
        shells[-1].append(n) if joins else shells.append([n])
    compare(
        where,
        "shells",
        metrics["shells"],
        ", ".join(str(int(np.floor(bvals[shell].mean() + 0.5))) for shell in shells if bvals[shell[0]] > 50),
        "exact",
    )
    outliers = []
    for k in range(data.shape[2]):
        if mask[:, :, k].sum() < 10:
            continue
        series = data[:, :, k][mask[:, :, k]].mean(axis=0)
        for shell in shells:
            if len(shell) >= 10:
                z = robust_z(series[shell])
                outliers += [(k, int(shell[n])) for n in np.flatnonzero(np.abs(z) > stats["params"]["sliceOutlierZ"])]
    found = [(one["slice"], one["volume"]) for one in stats["outlierSlices"]]
    compare(where, "outlierSlices", str(sorted(found)), str(sorted(outliers)), "exact")


# ---------------------------------------------------------------- DICOM to NIfTI


def check_conversion(results, sample):
    """Voxels that went NIfTI, DICOM, dcm2niix are those that set out; directions come back as they were."""
    reference = nib.load(sample / "bids" / "sub-01" / "dwi" / "sub-01_dwi.nii.gz")
    folder = results / "dicom-07-dwi_24dir" / "outputs"
    converted = nib.load(next(folder.glob("*.nii.gz")))
    closest = lambda image: nib.as_closest_canonical(image)
    ours, theirs = closest(converted), closest(reference.slicer[..., :25])
    compare_map("dcm2niix dwi", "voxels", ours.get_fdata(), theirs.get_fdata(), "exact")
    compare_map("dcm2niix dwi", "affine", ours.affine, theirs.affine, "tensor map")

    def world(image, file):
        """Directions of an FSL table in the scanner's frame."""
        vectors = np.loadtxt(file)[:, :25].T
        axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
        flip = np.diag([-1 if np.linalg.det(axes) > 0 else 1, 1, 1])
        return vectors @ flip @ axes.T

    one = world(converted, next(folder.glob("*.bvec")))
    other = world(reference, sample / "bids" / "sub-01" / "dwi" / "sub-01_dwi.bvec")
    cosines = np.abs((one * other).sum(axis=1))[1:]
    compare("dcm2niix dwi", "least cosine of directions", float(cosines.min()), 1.0, "tensor map")
    bvals = np.loadtxt(next(folder.glob("*.bval")))
    expected = np.loadtxt(sample / "bids" / "sub-01" / "dwi" / "sub-01_dwi.bval")[:25]
    compare_map("dcm2niix dwi", "b-values", bvals, expected, "tensor map")


def main():
    sample, results = Path(sys.argv[1]), Path(sys.argv[2])
    for name in ["sub-01-t1", "sub-02-t1", "dicom-t1"]:
        check_head(results / name)
    for name, seconds in [("sub-01-bold", 1.35), ("sub-02-bold", 1.35), ("dicom-bold", 2.0)]:
        check_series(results / name, seconds)
    for name in ["sub-01-dwi", "sub-02-dwi", "dicom-dwi"]:
        check_diffusion(results / name)
    check_conversion(results, sample)

    show = lambda value: f"{value:.8g}" if isinstance(value, (int, float, np.number)) else str(value)[:22]
    print("\ntolerances (relative + absolute):")
    for kind, (relative, absolute) in TOLERANCE.items():
        print(f"  {kind:<11} {relative:g} + {absolute:g}")
    print(f"\n{'image':<13} {'metric':<28} {'ours':>22} {'independent':>22} {'difference':>11}  tolerance")
    for where, metric, ours, independent, difference, kind, ok in rows:
        flag = "ok" if ok else "MISS"
        print(f"{where:<13} {metric:<28} {show(ours):>22} {show(independent):>22} {difference:>11.3g}  {kind:<11} {flag}")
    misses = [row for row in rows if not row[-1]]
    print(f"\n{len(rows)} numbers compared, {len(misses)} outside tolerance")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
