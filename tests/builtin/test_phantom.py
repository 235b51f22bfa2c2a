"""The phantom: the same seed draws the same films, its table is NIH-like, its signs show."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from cxrbench import DataError, UnreadableImage
from cxrbench.builtin._phantom.exam import Exam, plan
from cxrbench.builtin.phantom import Phantom, cxrbench_datasets

MANY = 10**8
STATISTICS = [146.7, 70.2, 76.0, 204.9, 0.7]
HEALTHY = Exam(seed=0, patient=7, visit=0, view="PA", sex="M", first_age=50, findings=())
PLACES = ("Atelectasis", "Consolidation", "Effusion", "Fibrosis", "Hernia", "Infiltration")
PLACES += ("Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax", "Edema")


@pytest.fixture(scope="module")
def cohort():
    return Phantom().load()


@pytest.fixture(scope="module")
def small_films(cohort):
    """The first 800 films, (800, 32, 32) float32."""
    dataset, films = Phantom(size=96), []
    for source in cohort.sources[:800]:
        film = dataset.read(source, max_pixels=MANY)
        films.append(cv2.resize(film, (32, 32), interpolation=cv2.INTER_AREA))
    return np.array(films, np.float32)


def draw(exam, size=256):
    return Phantom(size=size).read(exam.text(), max_pixels=MANY)


def test_the_plugin_offers_the_phantom():
    assert cxrbench_datasets() == [Phantom]


def test_table_has_nih_labels_and_plausible_people(cohort):
    assert len(cohort.label_names) == 15
    assert cohort.label_names[-1] == cohort.no_finding == "No Finding"
    assert 1200 <= len(cohort) <= 1400
    assert len(set(cohort.patient_ids)) == 1000
    assert len(set(cohort.image_ids)) == len(cohort)
    assert set(cohort.sexes) == {"F", "M"}
    assert set(cohort.views) == {"PA", "AP"}
    assert cohort.ages.min() >= 0
    assert cohort.ages.max() <= 97
    assert abs(cohort.ages.mean() - 46.6) < 2
    counts = np.unique(cohort.patient_ids, return_counts=True)[1]
    assert 1.2 < counts.mean() < 1.5
    assert (counts == 1).mean() > 0.6
    assert 4 <= counts.max() <= 6


def test_no_finding_is_exactly_no_other_label(cohort):
    assert set(np.unique(cohort.labels)) == {0, 1}
    healthy = cohort.labels[:, :-1].sum(axis=1) == 0
    assert np.array_equal(cohort.labels[:, -1] == 1, healthy)
    assert 0.3 < healthy.mean() < 0.55


def test_common_findings_keep_their_nih_shares_and_rare_ones_are_raised(cohort):
    share = dict(zip(cohort.label_names, cohort.labels.mean(axis=0), strict=True))
    for name, nih in {"Infiltration": 0.177, "Effusion": 0.119, "Atelectasis": 0.103}.items():
        assert abs(share[name] - nih) < 0.02
    assert all(share[name] > 0.05 for name in cohort.label_names)


def test_known_companions_come_together(cohort):
    def lift(one, other):
        a, b = (cohort.labels[:, cohort.label_names.index(name)] for name in (one, other))
        return (a * b).mean() / (a.mean() * b.mean())

    assert lift("Edema", "Pneumonia") > 2.5
    assert lift("Emphysema", "Pneumothorax") > 2
    assert lift("Cardiomegaly", "Pneumothorax") < 1


def test_the_sick_are_more_often_taken_lying_down(cohort):
    bedside = np.array(cohort.views) == "AP"
    edema = cohort.labels[:, cohort.label_names.index("Edema")] == 1
    assert bedside[edema].mean() > 0.6 > 0.5 > bedside[~edema].mean()


def positive_test_patients(cohort, rng):
    """A stratified fifth of the patients: rarest label first, a fifth of its patients each."""
    patients, rows = np.unique(cohort.patient_ids, return_inverse=True)
    has = np.zeros((len(patients), cohort.labels.shape[1]), bool)
    np.logical_or.at(has, rows, cohort.labels == 1)
    test, left = np.zeros(len(patients), bool), np.ones(len(patients), bool)
    for label in np.argsort(has.sum(axis=0)):
        here = rng.permutation(np.flatnonzero(has[:, label] & left))
        wanted = round(0.2 * has[:, label].sum()) - (has[:, label] & test).sum()
        test[here[: max(wanted, 0)]] = True
        left[here] = False
    return has[test].sum(axis=0), has.sum(axis=0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_label_has_ten_positive_test_patients(seed):
    in_test, in_all = positive_test_patients(Phantom(seed=seed).load(), np.random.default_rng(0))
    assert in_all.min() >= 60
    assert in_test.min() >= 10


def test_the_table_comes_within_a_second():
    Phantom(patients=40).load()
    start = time.process_time()
    Phantom().load()
    assert time.process_time() - start < 1.5


def test_importing_the_plugin_loads_nothing_heavy():
    code = "import sys, cxrbench.builtin.phantom; print({'numpy', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_another_process_draws_the_same_bytes():
    code = (
        "import hashlib; from cxrbench.builtin.phantom import Phantom;"
        "p = Phantom(patients=30, size=128); c = p.load();"
        "d = hashlib.sha256(repr((c.sources, c.boxes, c.ages.tolist())).encode());"
        "[d.update(p.read(s, max_pixels=10**8).tobytes()) for s in c.sources[:12]];"
        "print(d.hexdigest())"
    )
    command = [sys.executable, "-c", code]
    digests = {
        subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in "ab"
    }
    assert len(digests) == 1


def test_threads_draw_the_same_bytes(cohort):
    dataset, sources = Phantom(size=128), cohort.sources[:24]
    alone = [dataset.read(source, max_pixels=MANY) for source in sources]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda s: dataset.read(s, max_pixels=MANY), sources))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_the_generator_is_the_one_that_its_version_names(cohort):
    """When this fails on purpose, raise GENERATOR: caches hold what older versions drew."""
    image = draw(HEALTHY, 320).astype(float)
    lungs, heart, air = image[130:190, 70:110], image[190:230, 160:190], image[2:12, 2:12]
    assert Phantom().signature("x") == "phantom generator 1, size 320, x"
    found = [image.mean(), image.std(), lungs.mean(), heart.mean(), air.mean()]
    assert found == pytest.approx(STATISTICS, abs=1.5)


def test_seeds_and_patients_differ():
    assert Phantom(seed=1).load().sources != Phantom().load().sources
    one, other = draw(HEALTHY), draw(replace(HEALTHY, patient=8))
    assert np.abs(one.astype(int) - other).mean() > 5


def test_a_patient_keeps_chest_and_lesions_over_visits():
    exam = replace(HEALTHY, findings=("Mass",))
    first, second = plan(exam), plan(replace(exam, visit=1))
    assert first.anatomy.lung_width == second.anatomy.lung_width
    (_, one), (_, two) = first.signs[0], second.signs[0]
    assert one.side == two.side
    assert abs(one.x - two.x) < 0.05
    assert not np.array_equal(draw(exam), draw(replace(exam, visit=1)))


@pytest.mark.parametrize("size", [64, 256, 321])
def test_pictures_are_grey_bytes_with_a_wide_range(size):
    image = draw(HEALTHY, size)
    assert image.shape == (size, size)
    assert image.dtype == np.uint8
    assert image.min() < 10
    assert image.max() > 200


def test_mean_brightness_alone_does_not_give_a_label_away(cohort, small_films):
    means = small_films.mean(axis=(1, 2))
    scores = [roc_auc_score(cohort.labels[:800, k], means) for k in range(15)]
    assert max(max(s, 1 - s) for s in scores) < 0.8


def test_boxes_lie_in_the_picture_and_belong_to_a_positive_label(cohort):
    rows = {image_id: row for row, image_id in enumerate(cohort.image_ids)}
    boxed = np.zeros(cohort.labels.shape, bool)
    for box in cohort.boxes:
        assert 0 <= box.x <= box.x + box.width <= 320.01
        assert 0 <= box.y <= box.y + box.height <= 320.01
        assert min(box.width, box.height) > 3
        boxed[rows[box.image_id], cohort.label_names.index(box.label)] = True
    assert np.array_equal(boxed[:, :-1], cohort.labels[:, :-1] == 1)
    assert not boxed[:, -1].any()


@pytest.mark.parametrize("name", PLACES)
def test_a_finding_changes_the_picture_inside_its_boxes(name):
    """Drawn with the finding and without: shapes of the chest are equal but for the sign."""
    inside, outside = [], []
    for patient in range(1, 13):
        exam = replace(HEALTHY, patient=patient, findings=(name,))
        change = np.abs(draw(exam).astype(float) - draw(replace(exam, findings=())))
        mask = np.zeros(change.shape, bool)
        for box in plan(exam).boxes("x", 256):
            left, top = int(box.x), int(box.y)
            mask[top : int(top + box.height) + 1, left : int(left + box.width) + 1] = True
        inside.append(change[mask].mean())
        outside.append(change[~mask].mean())
    assert np.mean(inside) > 4
    assert np.mean(inside) > 3 * np.mean(outside)


def test_cardiomegaly_passes_half_the_chest_and_ap_widens_the_heart():
    ratios = [
        [
            plan(replace(HEALTHY, patient=p, view=view, findings=found)).anatomy.heart_ratio
            for p in range(40)
        ]
        for view, found in (("PA", ()), ("AP", ()), ("PA", ("Cardiomegaly",)))
    ]
    usual, bedside, large = map(np.mean, ratios)
    assert usual < 0.48 < large
    assert usual < bedside < large


def test_emphysema_darkens_the_lungs_and_effusion_brightens_an_angle():
    def lung(exam):
        return np.mean([draw(replace(exam, patient=p))[80:170, 60:200].mean() for p in range(12)])

    assert lung(replace(HEALTHY, findings=("Emphysema",))) < lung(HEALTHY) - 4
    assert lung(replace(HEALTHY, findings=("Edema",))) > lung(HEALTHY) + 4


def test_keypoints_are_as_many_as_on_real_films(cohort):
    """Medians on NIH films at 512 x 512: ORB 188 and SIFT 113 (at most 500)."""
    orb, sift, counts = cv2.ORB_create(500), cv2.SIFT_create(500), []
    for source in cohort.sources[:24]:
        image = cv2.resize(Phantom().read(source, max_pixels=MANY), (512, 512))
        counts.append((len(orb.detect(image)), len(sift.detect(image))))
    medians = np.median(counts, axis=0)
    assert 60 < medians[0] < 400
    assert 50 < medians[1] < 300


def test_findings_can_be_learned_but_are_not_trivial(cohort, small_films):
    pixels = small_films.reshape(800, -1)
    y_true = cohort.labels[:800]
    parts = np.unique(cohort.patient_ids[:800], return_inverse=True)[1] % 3
    y_score = np.zeros(y_true.shape)
    for part in range(3):
        train, test = parts != part, parts == part
        pca = PCA(50, whiten=True, random_state=0).fit(pixels[train])
        known, new = pca.transform(pixels[train]), pca.transform(pixels[test])
        for k in range(15):
            fitted = LogisticRegression(C=0.05, max_iter=300).fit(known, y_true[train, k])
            y_score[test, k] = fitted.predict_proba(new)[:, 1]
    aurocs = [roc_auc_score(y_true[:, k], y_score[:, k]) for k in range(15)]
    assert 0.62 < np.mean(aurocs) < 0.85


def test_too_many_pixels_are_refused_before_drawing(cohort):
    with pytest.raises(UnreadableImage, match="320 x 320"):
        Phantom().read(cohort.sources[0], max_pixels=320**2 - 1)


@pytest.mark.parametrize(
    "source",
    ["", "x.png", "0/1/0/PA/M/50/Gout", "0/1/0/LL/M/50/", "0/1/0/PA/M/old/", "-1/1/0/PA/M/9/"],
)
def test_a_foreign_source_is_refused(source):
    with pytest.raises(UnreadableImage, match="not a phantom image"):
        Phantom().read(source, max_pixels=MANY)


@pytest.mark.parametrize("option", [{"patients": 0}, {"size": 8}, {"size": 10**6}, {"seed": -1}])
def test_options_that_cannot_be_drawn_are_refused(option):
    with pytest.raises(DataError, match="cannot be drawn"):
        Phantom(**option).load()


@pytest.mark.parametrize("patients", [20, 61])
def test_a_small_cohort_still_has_every_label(patients):
    small = Phantom(patients=patients).load()
    assert (small.labels.sum(axis=0) >= 1).all()
    assert len(set(small.patient_ids)) == patients


def test_signatures_follow_everything_that_changes_pixels(cohort):
    one, other = cohort.sources[:2]
    texts = [Phantom().signature(one), Phantom().signature(other), Phantom(size=64).signature(one)]
    assert all(a != b for a, b in pairwise([*texts, texts[0]]))
