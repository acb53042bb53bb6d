"""Intervals with folds, p values, their correction, and what a design finds: against simulation and other libraries."""

import importlib.util
import math

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from conftest import ROOT
from multiblock.report.differences import Error, errors, finds, half_width, holm, p_value, paired

STUDIES = 8_000


def dealt(seeds, images, folds, of, studies=STUDIES, seed=1):
    """Differences of studies in which there is none, (studies, seeds, images), and the fold of each image.

    Args:
        of: standard deviations of what is peculiar to a network, to an image, and of the rest.
    """
    rng, fold = np.random.default_rng(seed), np.arange(images) % folds
    networks = rng.normal(size=(studies, seeds, folds))[..., fold]
    of_images, rest = rng.normal(size=(studies, 1, images)), rng.normal(size=(studies, seeds, images))
    return of[0] * networks + of[1] * of_images + of[2] * rest, of[1] * of_images, fold


def least(share, studies=STUDIES):
    """What a share is at least, of so many studies, if it is meant to be that: three standard errors less."""
    return share - 3 * math.sqrt(share * (1 - share) / studies)


# -- Intervals with folds ----------------------------------------------------------------------------------------------


def test_intervals_with_folds_by_hand():
    """Two seeds; fold 1 holds the images a, b, c and fold 2 holds d."""
    made = np.array([[1.0, 2.0, 3.0, 8.0], [2.0, 4.0, 3.0, 6.0]])
    found = paired(made, np.array([1, 1, 1, 2]))
    assert found.mean == pytest.approx(29 / 8) and found.sd == pytest.approx(abs(3.5 - 3.75) / math.sqrt(2))
    # Means of fold 1: 2 and 3, variance 0.5; of fold 2: 8 and 6, variance 2. Pooled 1.25, of two degrees of freedom.
    error = math.sqrt(1.25 / 2 * ((3 / 4) ** 2 + (1 / 4) ** 2))
    seeds = stats.t.ppf(0.975, 2) * error
    assert found.over_seeds == pytest.approx((29 / 8 - seeds, 29 / 8 + seeds))
    images = stats.ttest_1samp(made.mean(axis=0), 0).confidence_interval(0.95)
    assert found.over_images == pytest.approx(images)
    assert found.over_both[1] - found.mean == pytest.approx(math.hypot(seeds, images[1] - 29 / 8))


@pytest.mark.parametrize("design", [(3, 95, 5), (2, 13, 2), (3, 23, 9)])
@pytest.mark.parametrize("of", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 3, 1), (1, 1, 4)])
def test_intervals_with_folds_cover_the_truth(design, of):
    made, of_images, fold = dealt(*design, of)
    over_seeds, _, both = errors(made, fold)
    mean = made.mean(axis=(1, 2))
    assert (np.abs(mean) <= half_width(*both) + 1e-12).mean() > least(0.95)
    # Over seeds: the images are these, and what is peculiar to them is part of what is true.
    apart = np.abs(mean - of_images.mean(axis=(1, 2)))
    share = (apart <= half_width(over_seeds) + 1e-12).mean()
    assert share > least(0.95) and (share < 0.97 or of == (0, 1, 0))  # it is no wider than it has to be


@pytest.mark.parametrize("of", [(1, 0, 0), (0, 1, 0), (1, 3, 1)])
def test_one_seed_has_an_interval_over_its_folds(of):
    made, _, fold = dealt(1, 95, 5, of)
    over_seeds, _, both = errors(made, fold)
    share = (np.abs(made.mean(axis=(1, 2))) <= half_width(*both)).mean()
    assert over_seeds is None and 2 * 0.95 - least(0.95) > share > least(0.95)
    found = paired(made[0], fold)
    of_folds = [made[0][0, fold == one].mean() for one in range(5)]  # 19 images each
    assert found.headline == pytest.approx(stats.ttest_1samp(of_folds, 0).confidence_interval(0.95))
    assert paired(made[0]).headline is None  # as one network it has none


# -- p values ----------------------------------------------------------------------------------------------------------


def test_a_p_value_is_scipys_where_there_is_one_error():
    values = np.array([0.02, 0.05, 0.01, 0.04])
    found = paired(values[:, None])
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert p_value(0.0, Error(np.array(1.0), 3)) == 1.0
    assert p_value(9.0, Error(np.array(0.0), 3)) == p_value(9.0, Error(np.array(1e-9), 30)) == 1e-9


def test_the_p_value_of_both_is_where_their_interval_ends_at_0():
    errors_of = Error(np.array(0.02), 10), Error(np.array(0.01), 94)
    p = p_value(0.06, *errors_of)
    ends = [stats.t.isf(p / 2, one.freedom) * one.size for one in errors_of]
    assert math.hypot(*ends) == pytest.approx(0.06)
    wider = p_value(float(half_width(*errors_of)), *errors_of)
    assert wider == pytest.approx(0.05)
    made, _, fold = dealt(3, 20, 4, (1, 1, 1), studies=2000)
    values = np.array([p_value(one.mean(), *errors(one, fold)[2]) for one in made])
    assert all((values <= level).mean() < 2 * level - least(level, 2000) for level in (0.05, 0.2))


def test_holms_correction_is_that_of_his_example():
    """Four values: 0.01 x 4, 0.02 x 3, and 0.03 x 2, which may not be below the one before; one has no interval."""
    found = holm(pd.Series([0.03, 0.01, float("nan"), 0.5, 0.02], index=[7, 3, 5, 1, 9]))
    assert found.loc[[3, 9, 7, 1]].tolist() == pytest.approx([0.04, 0.06, 0.06, 0.5]) and math.isnan(found[5])
    assert holm(pd.Series([0.4, 0.6])).tolist() == pytest.approx([0.8, 0.8])


# -- What a design finds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freedom", [2, 4, 14])
def test_with_one_error_it_is_the_power_of_a_t_test(freedom):
    reach = stats.t.ppf(0.975, freedom)
    exact = optimize.brentq(lambda d: stats.nct.sf(reach, freedom, d / 0.02) - 0.8, 0, 1)
    assert finds(Error(np.array(0.02), freedom)) == pytest.approx(exact, rel=5e-3)


@pytest.mark.parametrize("design", [(3, 95, 5), (2, 40, 4), (3, 5, 1), (5, 12, 1)])
@pytest.mark.parametrize("of", [(1, 0.01, 0), (1, 1, 0), (1, 8, 0)])
def test_a_difference_of_that_size_is_found_in_8_of_10_studies(design, of):
    seeds, images, folds = design
    made, _, fold = dealt(*design, of)
    truth = (
        Error(np.array(of[0] / math.sqrt(seeds * folds)), folds * (seeds - 1)),
        Error(np.array(of[1] / math.sqrt(images)), images - 1),
    )
    found = (made.mean(axis=(1, 2)) + finds(*truth) > half_width(*errors(made, fold)[2])).mean()
    assert 0.77 < found < 0.83


def test_the_script_gets_the_scatter_back_that_studies_were_made_with():
    spec = importlib.util.spec_from_file_location("power", ROOT / "benchmarks" / "power.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made, _, _ = dealt(30, 400, 1, (0.5, 1.0, 2.0), studies=20)
    squares = [np.square(script.deviations(one)) for one in made]
    assert np.sqrt(np.mean(squares, axis=0)) == pytest.approx([0.5, 1.0, 2.0], rel=0.1)
    drawn = script.drawn((0.05, 0.07, 0.1), np.arange(95) % 5, 3)
    size = script.smallest(drawn, np.arange(95) % 5)
    assert script.power(drawn + size, np.arange(95) % 5) == pytest.approx(0.8, abs=0.04)
