"""Each protocol's figures once more, in plain float64 and without any of its code: slow, and written to be read.

``READINGS[name](images)`` gives {figure: float or None where it is undefined}; an image is a ``Plain``. A protocol
without an entry fails ``test_plain_readings``.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage


@dataclass
class Plain:
    id: str
    score: np.ndarray  # float64 [H, W]; a confidence for protocols that read one
    labels: np.ndarray
    predicted: np.ndarray
    anomaly: np.ndarray


def wrong_and_right(images):
    known = [image.labels != 255 for image in images]
    wrong = [(image.labels != image.predicted) & there for image, there in zip(images, known, strict=True)]
    right = [(image.labels == image.predicted) & there for image, there in zip(images, known, strict=True)]
    return pooled(images, wrong), pooled(images, right)


def anomaly_and_normal(images):
    return pooled(images, [i.anomaly == 1 for i in images]), pooled(images, [i.anomaly == 0 for i in images])


def pooled(images, masks):
    return np.concatenate([image.score[mask] for image, mask in zip(images, masks, strict=True)])


def points(positive, negative):
    """(hits, alarms, threshold) at every score that occurs, from the largest down."""
    scores = sorted({*positive.tolist(), *negative.tolist()}, reverse=True)
    return [(int((positive >= t).sum()), int((negative >= t).sum()), t) for t in scores]


def auroc(positive, negative):
    above = (positive[:, None] > negative).sum() + (positive[:, None] == negative).sum() / 2
    return above / positive.size / negative.size


def step_ap(positive, negative):
    total, before = 0.0, 0
    for hits, alarms, _ in points(positive, negative):
        total += (hits - before) / positive.size * hits / (hits + alarms)
        before = hits
    return total


def trapezoid_ap(positive, negative):
    total, recall, precision = 0.0, 0.0, 1.0
    for hits, alarms, _ in points(positive, negative):
        total += (hits / positive.size - recall) * (precision + hits / (hits + alarms)) / 2
        recall, precision = hits / positive.size, hits / (hits + alarms)
    return total


def fpr95(positive, negative):
    return next(a / negative.size for h, a, _ in points(positive, negative) if 20 * h >= 19 * positive.size)


def fpr95_strict(positive, negative):
    return next(a / negative.size for h, a, _ in points(positive, negative) if 20 * h > 19 * positive.size)


def fpr95_interpolated(positive, negative):
    """The last point with TPR <= 0.95, joined by a straight line to the next."""
    curve = [(0, 0, None), *points(positive, negative)]
    for (h0, a0, _), (h1, a1, _) in pairwise(curve):
        if 20 * h1 > 19 * positive.size:
            return (a0 + (a1 - a0) * (0.95 * positive.size - h0) / (h1 - h0)) / negative.size
    raise AssertionError


def fpr95_closest(positive, negative):
    """The TPR nearest to 0.95, the larger of two; its last point, but of full recall its first."""
    curve = points(positive, negative)
    recalls = sorted({h / positive.size for h, _, _ in curve if h}, key=lambda r: (abs(r - 0.95), -r))
    at = [a for h, a, _ in curve if h / positive.size == recalls[0]]
    return (at[0] if recalls[0] == 1 else at[-1]) / negative.size


def best_f1(positive, negative):
    """(F1, the largest score that has it)."""
    curve = [(2 * h / (h + a + positive.size), t) for h, a, t in points(positive, negative)]
    best = max(f1 for f1, _ in curve)
    return best, next(t for f1, t in curve if f1 == best)


def tuned(positive, negative):
    """The smallest score with the best F1 of precision and recall."""
    best, chosen = -1.0, None
    for hits, alarms, threshold in reversed(points(positive, negative)):
        precision, recall = hits / (hits + alarms), hits / positive.size
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        if f1 > best:
            best, chosen = f1, threshold
    return chosen


def ranking(positive, negative, names=("auroc", "ap", "fpr95", "best_f1", "best_f1_threshold")):
    if not positive.size or not negative.size:
        return dict.fromkeys(names)
    f1, threshold = best_f1(positive, negative)
    known = {
        "auroc": auroc(positive, negative),
        "ap": step_ap(positive, negative),
        "fpr95": fpr95(positive, negative),
        "best_f1": f1,
        "best_f1_threshold": threshold,
    }
    return {name: known[name] for name in names}


def selective(wrong, right):
    names = ("aurc", "e_aurc", "augrc", "prr")
    if not wrong.size or not right.size:
        return dict.fromkeys(names)
    risks, bad_before, before = [], 0, 0
    for score in sorted({*wrong.tolist(), *right.tolist()}):
        bad, size = int((wrong == score).sum()), int((wrong == score).sum() + (right == score).sum())
        risks += [(bad_before + bad * k / size) / (before + k) for k in range(1, size + 1)]
        bad_before, before = bad_before + bad, before + size
    perfect = [max(0, k - right.size) / k for k in range(1, before + 1)]
    area, share = auroc(wrong, right), wrong.size / before
    aurc, best = float(np.mean(risks)), float(np.mean(perfect))
    generalised = (1 - area) * share * (1 - share) + share**2 / 2
    return {"aurc": aurc, "e_aurc": aurc - best, "augrc": generalised, "prr": 2 * area - 1}


def single(images):
    """The images with scores that float32 holds."""
    with np.errstate(over="ignore"):
        return [Plain(i.id, i.score.astype(np.float32).astype(np.float64), *rest(i)) for i in images]


def rest(image):
    return image.labels, image.predicted, image.anomaly


def fishyscapes(images):
    positive, negative = anomaly_and_normal(single(images))
    figures = ranking(positive, negative, ("ap", "fpr95", "auroc"))
    return figures | ({"ap": 1.0} if positive.size and not negative.size else {})


def ood_metrics(positive, negative):
    if not positive.size or not negative.size:
        return dict.fromkeys(("auroc", "ap", "fpr95"))
    known = auroc(positive, negative), trapezoid_ap(positive, negative), fpr95_interpolated(positive, negative)
    return dict(zip(("auroc", "ap", "fpr95"), known, strict=True))


def mean_of(rows, names):
    """The means over the images that have figures."""
    rows = [row for row in rows if row is not None]
    return {name: float(np.mean([row[name] for row in rows])) if rows else None for name in names}


def by_image(images, sides, figures, names):
    rows = []
    for image in images:
        positive, negative = sides([image])
        rows.append(figures(positive, negative) if positive.size and negative.size else None)
    return mean_of(rows, names)


def idm(images):
    images = single(images)
    names = ("auroc", "ap", "fpr95", "best_f1_threshold")

    def figures(wrong, right):
        return ood_metrics(wrong, right) | {"best_f1_threshold": tuned(wrong, right)}

    whole = ranking(*wrong_and_right(images), ("auroc", "ap", "fpr95"))
    return by_image(images, wrong_and_right, figures, names) | {f"{n}_pooled": v for n, v in whole.items()}


def idm_ood_cdd(images):
    images = single(images)
    wrong, right = wrong_and_right(images)
    void = pooled(images, [image.labels == 255 for image in images])
    sides = {
        "idm": (wrong, right),
        "ood": (void, np.concatenate([wrong, right])),
        "cdd": (np.concatenate([wrong, void]), right),
    }
    return {f"{truth}_{n}": v for truth, pair in sides.items() for n, v in ood_metrics(*pair).items()}


def open_miou(images):
    """FlowEneDet's own steps: a mean threshold, then 19 is 'rejected' on both sides."""
    taus = []
    for image in single(images):
        wrong = image.labels != image.predicted
        if wrong.any():
            taus.append(tuned(image.score[wrong], image.score[~wrong]))
    if not taus:
        return dict.fromkeys(("open_miou", "open_mean_accuracy", "open_pixel_accuracy", "threshold"))
    total = 0.0
    for tau in taus:
        total += tau
    threshold = total / len(taus)
    inside, predicted_total, labelled_total = np.zeros((3, 20))
    narrow = all((image.score == image.score.astype(np.float32)).all() for image in images)
    edge = float(np.float32(threshold)) if narrow else threshold
    for image in images:
        labels = np.where(image.labels != image.predicted, 19, image.labels)
        predicted = np.where(image.score > edge, 19, image.predicted)
        for c in range(20):
            inside[c] += ((labels == c) & (predicted == c)).sum()
            predicted_total[c] += (predicted == c).sum()
            labelled_total[c] += (labels == c).sum()
    union = predicted_total + labelled_total - inside
    return {
        "open_miou": float(np.mean([i / u for i, u in zip(inside, union, strict=True) if u])),
        "open_mean_accuracy": float(np.mean([i / n for i, n in zip(inside, labelled_total, strict=True) if n])),
        "open_pixel_accuracy": inside.sum() / labelled_total.sum(),
        "threshold": threshold,
    }


def open_iou(images):
    """The source's confusion matrices, at thresholds that are read off all pixels."""
    normal = [(image.labels < 19) & (image.anomaly == 0) for image in images]
    positive, negative = pooled(images, [i.anomaly == 1 for i in images]), pooled(images, normal)

    def mean_iou(threshold):
        inside, predicted_total, labelled_total = np.zeros((3, 20))
        for image, known in zip(images, normal, strict=True):
            truth = np.where(image.anomaly == 1, 19, np.where(known, image.labels, 255))
            if threshold is None:
                truth = np.where(truth == 19, 255, truth)
            rejected = np.zeros(truth.shape, bool) if threshold is None else image.score > threshold
            predicted = np.where(rejected, 19, image.predicted)[truth != 255]
            truth = truth[truth != 255]
            for c in range(19):
                inside[c] += ((truth == c) & (predicted == c)).sum()
                predicted_total[c] += (predicted == c).sum()
                labelled_total[c] += (truth == c).sum()
        union = predicted_total + labelled_total - inside
        return sum(i / u for i, u in zip(inside, union, strict=True) if u) / 19

    found = dict.fromkeys((
        *("open_iou_tpr95", "open_iou_fpr5", "closed_iou", "tpr_at_fpr5", "threshold_tpr95", "threshold_fpr5"),
    ))  # fmt: skip
    if negative.size:
        found["closed_iou"] = mean_iou(None)
    for name, side, share in (("tpr95", positive, 0.95), ("fpr5", negative, 0.05)):
        if not side.size:
            continue
        threshold = max(t for t in side.tolist() if (side >= t).sum() >= share * side.size - 1e-9)
        found[f"threshold_{name}"] = threshold if np.isfinite(threshold) else None
        if negative.size:
            found[f"open_iou_{name}"] = mean_iou(threshold)
        if name == "fpr5" and positive.size:
            found["tpr_at_fpr5"] = (positive >= threshold).mean()
    return found


def streethazards(images):
    def figures(positive, negative):
        return {**ranking(positive, negative, ("auroc", "ap")), "fpr95": fpr95_closest(positive, negative)}

    return by_image(images, anomaly_and_normal, figures, ("auroc", "ap", "fpr95"))


def labelled(mask):
    """One mask per 8-connected component."""
    components, count = ndimage.label(mask, np.ones((3, 3)))
    return [components == number for number in range(1, count + 1)]


def component_figures(frames, min_predicted, min_truth, more=False):
    """sIoU, PPV and mean F1 of (predicted, truth) frames, one component at a time."""
    sious, ppvs = [], []
    for predicted, truth in frames:
        truth = truth.copy()
        found = [p for p in labelled(predicted & (truth != 255)) if p.sum() >= min_predicted]
        objects = []
        for thing in labelled(truth == 1):
            if thing.sum() >= min_truth:
                objects.append(thing)
            else:
                truth[thing] = 255
        found = [p & (truth != 255) for p in found]
        found = [p for p in found if p.any()]
        for thing in objects:
            touching = np.any([p for p in found if (p & thing).any()] or [np.zeros_like(thing)], axis=0)
            others = np.any([o for o in objects if o is not thing] or [np.zeros_like(thing)], axis=0)
            sious.append((thing & touching).sum() / (thing | touching & ~others).sum())
        every = np.any(objects or [np.zeros(truth.shape, bool)], axis=0)
        ppvs += [(p & every).sum() / p.sum() for p in found]
    f1s, at = [], {}
    for index, tau in enumerate(np.linspace(0.25, 0.75, 11)):
        hit = sum(value >= tau for value in sious)
        missed, alarms = len(sious) - hit, sum(value < tau for value in ppvs)
        whole = 2 * hit + missed + alarms
        f1s.append(2 * hit / whole if whole else None)
        if index in (0, 5, 10):
            name = round(100 * tau)
            at |= {f"f1_{name}": f1s[-1], f"fn_{name}": missed, f"fp_{name}": alarms}
    return {
        "siou": float(np.mean(sious)) if sious else None,
        "ppv": float(np.mean(ppvs)) if ppvs else None,
        "mean_f1": None if None in f1s else float(np.mean(f1s)),
    } | (at if more else {})


def components(images):
    positive, negative = anomaly_and_normal(images)
    if not positive.size or not negative.size:
        return dict.fromkeys(("siou", "ppv", "mean_f1", "threshold"))
    _, threshold = best_f1(positive, negative)
    frames = [(image.score >= threshold, image.anomaly) for image in images]
    return component_figures(frames, 50, 10) | {"threshold": threshold}


def smiyc(min_predicted, min_truth):
    """The official evaluator's steps, on float16."""

    def read(images):
        halves = [image.score.astype(np.float16) for image in images]
        exact = [Plain(i.id, half.astype(np.float64), *rest(i)) for i, half in zip(images, halves, strict=True)]
        positive, negative = anomaly_and_normal(exact)
        figures = {f"{n}_exact": v for n, v in ranking(positive, negative, ("auroc", "ap", "fpr95", "best_f1")).items()}
        if not positive.size or not negative.size:
            return figures
        entries = []  # (threshold, hits, alarms), descending in each frame
        for image, half in zip(images, halves, strict=True):
            sides = [half[image.anomaly == 1], half[image.anomaly == 0]]
            values = np.concatenate(sides).astype(np.float64)
            if not values.size:
                continue
            margin = max(0.01 * (values.max() - values.min()), 0.01)
            edges = [values.min() - margin, values.max() + margin]
            for side in sides:
                if side.size:
                    edges += list(np.quantile(side, np.linspace(0, 1, min(384, side.size))).astype(np.float64))
            edges = np.unique(edges)
            hits, alarms = (np.histogram(side, edges)[0] for side in sides)
            entries += list(zip(edges[:-1], hits, alarms, strict=True))[::-1]
        if len(entries) <= 16:  # as NumPy 1.23 sorts so few, turned round
            ordered = sorted(enumerate(entries), key=lambda e: (e[1][0], e[0]))[::-1]
            ordered = [entry for _, entry in ordered]
        else:
            ordered = sorted(entries, key=lambda entry: -entry[0])
        curve, hits, alarms = [(None, 0, 0)], 0, 0
        for index, (threshold, h, a) in enumerate(ordered):
            hits, alarms = hits + h, alarms + a
            last = index + 1 == len(ordered) or ordered[index + 1][0] != threshold
            if last or index == 0:
                curve.append((threshold, hits, alarms))
        f1s = [(2 * h / (h + a + positive.size), t) for t, h, a in curve if t is not None]
        best = max(f1 for f1, _ in f1s)
        threshold = next(t for f1, t in f1s if f1 == best)
        figures["best_f1"], figures["best_f1_threshold"] = best, threshold
        rates = [(h / positive.size, a / negative.size, h / (h + a) if h + a else 1.0) for _, h, a in curve]
        figures["ap"] = sum((b[0] - a[0]) * b[2] for a, b in pairwise(rates))
        figures["auroc"] = sum((b[1] - a[1]) * (a[0] + b[0]) / 2 for a, b in pairwise(rates))
        figures["fpr95"] = next(rate[1] for rate in rates if rate[0] >= 0.95)
        frames = [(half > np.float16(threshold), image.anomaly) for image, half in zip(images, halves, strict=True)]
        return figures | component_figures(frames, min_predicted, min_truth, more=True)

    return read


def histogram_figures(positive, negative):
    """AUROC, AP and FPR95 of 100 bins, by scikit-learn as in the source; None where a side has no score in [0, 1]."""
    from sklearn.metrics import auc as area_under
    from sklearn.metrics import average_precision_score, roc_curve

    out, normal = (np.histogram(side, np.linspace(0, 1, 101))[0] for side in (positive, negative))
    if not out.sum() or not normal.sum():
        return dict.fromkeys(("auroc", "ap", "fpr95"))
    bins, truth = np.tile(np.arange(100), 2), np.repeat([1, 0], 100)
    alike = np.concatenate([np.floor(side / side.sum() * 1e5) for side in (out, normal)])
    fpr, tpr, _ = roc_curve(truth, bins, sample_weight=alike)
    share = out.sum() / (out.sum() + normal.sum())
    parts = [np.floor(side / side.sum() * 1e7 * part) for side, part in ((out, share), (normal, 1 - share))]
    return {
        "auroc": area_under(fpr, tpr),
        "ap": average_precision_score(truth, bins, sample_weight=np.concatenate(parts)),
        "fpr95": fpr[np.argmin(abs(tpr - 0.95))],
    }


def entropy_max(images):
    positive, negative = anomaly_and_normal(images)
    exact = ranking(positive, negative, ("auroc", "ap", "fpr95"))
    official = (
        histogram_figures(positive, negative) if exact["auroc"] is not None else dict.fromkeys(("auroc", "ap", "fpr95"))
    )
    return official | {f"{name}_exact": value for name, value in exact.items()}


RULES = {
    "fpr95_first": fpr95,
    "fpr95_strict": fpr95_strict,
    "fpr95_interpolated": fpr95_interpolated,
    "fpr95_closest": fpr95_closest,
    "ap_step": step_ap,
    "ap_trapezoid": trapezoid_ap,
    "auroc": auroc,
}


def definitions(sides):
    def every(positive, negative):
        return {name: rule(positive, negative) for name, rule in RULES.items()}

    def read(images):
        figures = {}
        unclean = [image for image in images if sides([image])[0].size]
        for pooling, some in (("pooled", images), ("no_clean", unclean)):
            positive, negative = sides(some) if some else (np.empty(0), np.empty(0))
            both = positive.size and negative.size
            figures |= {
                f"{n} {pooling}": v for n, v in (every(positive, negative) if both else dict.fromkeys(RULES)).items()
            }
        figures |= {f"{n} images": v for n, v in by_image(images, sides, every, RULES).items()}
        positive, negative = sides(images)
        inside = all(((side >= 0) & (side <= 1)).all() for side in (positive, negative))
        both = positive.size and negative.size and inside
        figures["fpr95_histogram pooled"] = histogram_figures(positive, negative)["fpr95"] if both else None
        return figures

    return read


def confusion(images, classes=19):
    table = np.zeros((classes, 256))
    for image in images:
        for label, predicted in zip(image.labels.ravel(), image.predicted.ravel(), strict=True):
            if label != 255:
                table[label, predicted] += 1
    return table


def miou(images):
    table = confusion(images)
    if not table.sum():
        return {"miou": None, "pixel_accuracy": None}
    ious = []
    for c in range(19):
        union = table[c].sum() + table[:, c].sum() - table[c, c]
        ious += [table[c, c] / union] if union else []
    return {"miou": float(np.mean(ious)), "pixel_accuracy": np.trace(table[:, :19]) / table.sum()}


def calibration(images, bins=15):
    wrong, right = wrong_and_right(images)
    confidence = np.concatenate([wrong, right])
    if not confidence.size:
        return {"ece": None, "brier": None}
    hit = np.concatenate([np.zeros(wrong.size), np.ones(right.size)])
    error = 0.0
    for index in range(bins):
        inside = (confidence <= (index + 1) / bins) & ((confidence > index / bins) | (index == 0))
        error += abs(hit[inside].sum() - confidence[inside].sum())
    return {"ece": error / hit.size, "brier": float(((confidence - hit) ** 2).mean())}


def bravo(images):
    """All figures of a subset whose pixels are few enough to be all ranked; a level of confidence is one tie."""
    kinds = {"right": [], "wrong": [], "invalid": []}
    table = np.zeros((19, 19))
    for image in images:
        level = np.minimum(np.floor(image.score * 65536), 65535)
        known = (image.labels != 255) & (image.anomaly <= 1)
        valid = known & (image.anomaly == 0)
        kinds["right"].append(level[valid & (image.labels == image.predicted)])
        kinds["wrong"].append(level[valid & (image.labels != image.predicted)])
        kinds["invalid"].append(level[known & (image.anomaly == 1)])
        for label, predicted in zip(image.labels[valid], image.predicted[valid], strict=True):
            table[label, predicted] += 1
    right, wrong, invalid = (np.concatenate(parts) for parts in kinds.values())
    every = np.concatenate([right, wrong])
    figures = dict.fromkeys(("ece", "miou"))
    if every.size:
        union = table.sum(axis=0) + table.sum(axis=1) - np.diag(table)
        figures["miou"] = float(np.mean((np.diag(table) / np.where(union, union, 1))[union > 0]))
        limits = [round(i * 65536 / 15) for i in range(16)]
        gaps = []
        for low, high in pairwise(limits):
            inside, hits = ((side >= low) & (side < high) for side in (every, right))
            if inside.any():
                mean = ((every[inside] + 0.5) / 65536).mean()
                gaps.append((inside.sum() / every.size, abs(mean - hits.sum() / inside.sum())))
        figures["ece"] = sum(weight * gap for weight, gap in gaps)
    names = ("auroc", "auprc_success", "auprc_error", "fpr95")
    if right.size and wrong.size:
        known = auroc(right, wrong), step_ap(right, wrong), step_ap(-wrong, -right), fpr95(right, wrong)
        figures |= dict(zip(names, known, strict=True))
    else:
        figures |= dict.fromkeys(names)
    known = ranking(-invalid, -every, ("auroc", "ap", "fpr95")).values()
    figures |= dict(zip(("auroc_ood", "auprc_ood", "fpr95_ood"), known, strict=True))
    upright = [1 - v if n.startswith(("ece", "fpr95")) else v for n, v in figures.items() if v is not None]
    complete = len(upright) == len(figures)
    figures["hmean"] = (0.0 if min(upright) == 0 else len(upright) / sum(1 / v for v in upright)) if complete else None
    return figures


def at_threshold(positive, negative, threshold):
    names = ("tpr", "fpr", "precision", "f1", "threshold")
    if not positive.size or not negative.size:
        return dict.fromkeys(names)
    hits, alarms = int((positive >= threshold).sum()), int((negative >= threshold).sum())
    precision = hits / (hits + alarms) if hits + alarms else None
    known = (
        hits / positive.size,
        alarms / negative.size,
        precision,
        2 * hits / (hits + alarms + positive.size),
        threshold,
    )
    return dict(zip(names, known, strict=True))


def operating_point(images, threshold=0.0):
    positive, negative = anomaly_and_normal(images)
    figures = at_threshold(positive, negative, threshold)
    false = hit = known = 0
    for image in images:
        alarms = labelled((image.score >= threshold) & (image.anomaly != 255))
        objects = labelled(image.anomaly == 1)
        false += sum(not (alarm & (image.anomaly == 1)).any() for alarm in alarms)
        hit += sum(any((alarm & thing).any() for alarm in alarms) for thing in objects)
        known += len(objects)
    nothing = not positive.size and not negative.size
    figures["false_alarms"] = None if nothing else false / len(images)
    figures["objects_found"] = hit / known if known else None
    return figures


def segments(images, threshold=0.7):
    alarms = hits = missed = objects = 0
    ranks, positive = [], []
    for image in images:
        truth = image.anomaly
        narrow = (image.score == image.score.astype(np.float32)).all()
        reached = image.score >= (float(np.float32(threshold)) if narrow else threshold)
        for segment in labelled(reached):
            if (truth[segment] == 255).all():
                continue
            on_object = (truth[segment] == 1).any()
            hits, alarms = hits + on_object, alarms + (not on_object)
            ranks.append(image.score[segment].mean())
            positive.append(on_object)
        for thing in labelled(truth == 1):
            objects += 1
            missed += not (thing & reached).any()
    if not any((image.anomaly != 255).any() for image in images):
        return None
    precision = hits / (hits + alarms) if hits + alarms else None
    recall = (objects - missed) / objects if objects else None
    f1 = 2 * precision * recall / (precision + recall) if precision is not None and recall is not None else None
    frames = [
        (
            image.score
            >= (float(np.float32(threshold)) if (image.score == image.score.astype(np.float32)).all() else threshold),
            image.anomaly,
        )
        for image in images
    ]
    ranks, positive = np.array(ranks), np.array(positive, bool)
    return {
        "errors": alarms + missed,
        "false_alarms": alarms,
        "missed": missed,
        "objects": objects,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "segment_ap": step_ap(ranks[positive], ranks[~positive]) if positive.any() else None,
    } | component_figures(frames, 50, 10)


def objects(image):
    """Instances of a frame: the parts of its mask, cut apart in the middle; -1 where it is ignored."""
    parts, _ = ndimage.label(image.anomaly == 1, np.ones((3, 3)))
    halves = np.arange(parts.shape[1])[None] > parts.shape[1] // 2
    truth = np.where(parts > 0, 2 * parts + halves - 1, 0)
    return np.where(image.anomaly == 255, -1, truth).astype(np.int32)


def instances(truth_of):
    """AP by loops over predictions and instances, at the threshold of the best F1 of pixels."""

    def judged(images, threshold, overlap):
        scores, hits, missed, have = [], [], 0, False
        for image in images:
            truth = truth_of(image)
            parts, count = ndimage.label(image.score >= threshold, np.ones((3, 3)))
            masks = [parts == n for n in range(1, count + 1) if (parts == n).sum() >= 10]
            values = [image.score[mask].mean() for mask in masks]
            sets = [truth == n for n in np.unique(truth[truth > 0])]
            iou = np.array([[(m & s).sum() / (m | s).sum() for s in sets] for m in masks]).reshape(
                len(masks), len(sets)
            )
            small = truth == -1
            for number, each in enumerate(sets):
                if each.sum() < 10:
                    small = small | each
                    continue
                have = True
                met = sorted(values[m] for m in range(len(masks)) if iou[m, number] > overlap)
                if met:
                    scores, hits = [*scores, *met[::-1]], [*hits, 1, *[0] * (len(met) - 1)]
                else:
                    missed += 1
            for m, mask in enumerate(masks):
                if not (iou[m] > overlap).any() and (mask & small).sum() / mask.sum() <= overlap:
                    scores, hits = [*scores, values[m]], [*hits, 0]
        return np.array(scores), np.array(hits), missed, have

    def area(scores, hits, missed):
        curve = [(0.0, 1.0)]
        for threshold in sorted(set(scores))[::-1]:
            kept = hits[scores >= threshold]
            curve.append((kept.sum() / (hits.sum() + missed), kept.mean()))
        return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(curve))

    def figures(images):
        positive, negative = anomaly_and_normal(images)
        if not positive.size or not negative.size:
            return {"ap": None, "ap50": None, "threshold": None}
        _, threshold = best_f1(positive, negative)
        areas = []
        for overlap in np.arange(0.5, 1.0, 0.05):
            scores, hits, missed, have = judged(images, threshold, overlap)
            areas.append(area(scores, hits, missed) if have else None)
        none = None in areas
        return {"ap": None if none else np.mean(areas), "ap50": None if none else areas[0], "threshold": threshold}

    return figures


READINGS = {
    "anomaly": lambda images: ranking(*anomaly_and_normal(images)),
    "misclassification": lambda images: ranking(*wrong_and_right(images)) | selective(*wrong_and_right(images)),
    "fishyscapes": fishyscapes,
    "fed_anomaly": lambda images: ood_metrics(*anomaly_and_normal(single(images))),
    "idm": idm,
    "idm_ood_cdd": idm_ood_cdd,
    "open_miou": open_miou,
    "open_iou": open_iou,
    "streethazards": streethazards,
    "components": components,
    "smiyc_anomaly": smiyc(500, 100),
    "smiyc_obstacle": smiyc(50, 10),
    "entropy_max": entropy_max,
    "definitions": definitions(anomaly_and_normal),
    "definitions_misclassification": definitions(wrong_and_right),
    "miou": miou,
    "calibration": calibration,
    "bravo": bravo,
    "operating_point": operating_point,
    "operating_point_misclassification": lambda images: at_threshold(*wrong_and_right(images), 0.0),
    "segments": segments,
    "instances": instances(objects),
    "mask_instances": instances(
        lambda image: np.where(image.anomaly == 255, -1, ndimage.label(image.anomaly == 1, np.ones((3, 3)))[0])
    ),
}
