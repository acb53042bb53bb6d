"""A loss, optimiser, schedule, degradation, measure or start is one entry in one file; the rest is read from there."""

import re

import pytest

from multiblock import config
from multiblock.config.explain import reference
from multiblock.data.degradations import DEGRADATIONS, Degradation
from multiblock.errors import UserError
from multiblock.inference.measures import MEASURES, Measure
from multiblock.training import schedules
from multiblock.training.losses import LOSSES, LossTerm
from multiblock.training.optimisers import OPTIMISERS, Optimiser, build
from multiblock.training.schedules import SCHEDULES, Plateau, Schedule
from multiblock.training.starts import STARTS, Start
from test_config import changed
from test_plan import stage

SHARE = {"type": "number", "minimum": 0, "maximum": 1, "default": 0.25}

ADDED = {
    "loss": (LOSSES, LossTerm(what="is made up", of=lambda output, target: (output - target).pow(4).mean())),
    "optimiser": (OPTIMISERS, Optimiser(kind="RMSprop", what="is made up", options={"alpha": SHARE})),
    "schedule": (
        SCHEDULES,
        Schedule(what="is made up", options={"share": SHARE}, factor=lambda stage, options, i, seen: options["share"]),
    ),
    "degradation": (
        DEGRADATIONS,
        Degradation(what="is made up", make=lambda full, data, item: full[:: data.scale, :: data.scale]),
    ),
    "start": (STARTS, Start(what="is made up", draw=lambda weight: weight.zero_())),
    "measure": (MEASURES, Measure(title="Madeup", what="is made up", higher=True, of=lambda image, reference: 0.5)),
}
PLACES = {
    "loss": ("recipes.single.0.loss", lambda name: name),
    "optimiser": ("recipes.single.0", lambda name: {"iterations": 1, "optimiser": name, "options": {"alpha": 0.5}}),
    "schedule": ("recipes.single.0.schedule", lambda name: {"kind": name, "share": 0.5}),
    "degradation": ("data.degradation", lambda name: name),
    "start": ("runs.default.plan.0.start", lambda name: name),
    "measure": ("evaluation.measures", lambda name: [name]),
}


@pytest.fixture(params=ADDED)
def added(request, monkeypatch):
    """The kind of which there is one more, called ``madeup``."""
    entries, entry = ADDED[request.param]
    monkeypatch.setitem(entries, "madeup", entry)
    return request.param


def test_one_entry_is_enough(added):
    path, value = PLACES[added]
    assert config.load(changed(path, value("madeup")))
    assert "`madeup`" in reference() or "`kind: madeup`" in reference()
    assert "is made up" in reference()
    with pytest.raises(UserError, match="did you mean 'madeup'") as error:
        config.load(changed(path, value("madeupp")))
    assert re.search(r"allowed are .*\bmadeup\b", str(error.value))


@pytest.mark.parametrize("kind", ["optimiser", "schedule"])
def test_an_entry_brings_its_options(monkeypatch, kind):
    entries, entry = ADDED[kind]
    monkeypatch.setitem(entries, "madeup", entry)
    path, _ = PLACES[kind]
    option, place = ("alpha", "options") if kind == "optimiser" else ("share", "schedule")
    assert f"{option} (0.25), a number from 0 to 1" in reference()
    left_out = {"iterations": 1, "optimiser": "madeup"} if kind == "optimiser" else {"kind": "madeup"}
    filled = config.load(changed(path, left_out)).runs["default"].plan.phase(1).stages[0]
    assert getattr(filled, place)[option] == 0.25
    wrong = {**left_out, "options": {"alpha": 2}} if kind == "optimiser" else {**left_out, "share": 2}
    with pytest.raises(UserError, match=rf"recipes\.single, stage 1, {place}\.{option}: found 2; allowed is at most 1"):
        config.load(changed(path, wrong))


def test_an_added_optimiser_and_schedule_work(monkeypatch):
    import torch

    monkeypatch.setitem(OPTIMISERS, "madeup", ADDED["optimiser"][1])
    monkeypatch.setitem(SCHEDULES, "madeup", ADDED["schedule"][1])
    made = build("madeup", [torch.nn.Parameter(torch.ones(1))], 0.1, {})
    assert isinstance(made, torch.optim.RMSprop) and made.defaults["alpha"] == 0.25
    assert schedules.factor(stage(schedule={"kind": "madeup"}), 3, Plateau()) == 0.25
