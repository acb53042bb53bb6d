"""A version number for the arithmetic of each kind of result.

A result is addressed by what it is made of; the code that makes it counts by its number here. Whoever changes what a
kind of result computes raises its number by hand, and every result of that kind is made again; a change that only
rewords, moves or speeds up code leaves it. ``tests/test_kept_values.py`` holds the numbers to the code: it repeats
tiny conversions, trainings and measurements, and fails where their figures have moved and the number has not.

Networks are not named here: they count by a digest of their files, as people edit those.
"""

VERSIONS = {
    "convert": 1,  # images to arrays: reading, colour, depth, degradation, windows, pair checks
    "enlarge": 1,  # LR enlarged to the size of HR
    "folds": 1,  # near copies, families, and which fold each image is dealt to
    "train": 1,  # sampling, losses, optimisers, schedules, starts, clamps, averages, freezing, validation
    "generate": 1,  # the cached sets LR_k: tiles, rounding
    "evaluate": 1,  # pictures, PSNR, SSIM and the other measures of test images
    "take_apart": 1,  # the same after each block of a joint network
    "upscale": 2,  # a user's own pictures
    "table": 1,
    "figures": 1,
    "page": 1,
    "by_block": 1,
    "residuals": 1,
    "tensorboard": 1,
    "compare": 3,
    "study_page": 2,
    "losses": 1,
    "budget": 1,
}
