"""Memory layout and compilation: which, why, and with the same result."""

import json
import logging
from dataclasses import replace

import pytest
import torch

from multiblock.model.chain import Chain
from multiblock.networks import zoo
from multiblock.plan import Block, Plan
from multiblock.runtime import compilation
from multiblock.runtime.device import choose
from multiblock.training import checkpoint
from test_plan import phase, stage
from test_training import SETTINGS, run, same

SMALL = Block(network="mcan", options={"channels": 8, "residual_blocks": 1})
MCAN = Block(network="mcan", options={})
CPU = choose("cpu", "float32", gpus=0, threads=1)


def picked(spec: Block, layout: str = "auto", compile: str = "auto", **changes) -> compilation.Kernels:
    long = Plan(blocks=(spec,), phases=(replace(phase("1"), stages=(stage(**changes),)),)).task(1, seed=1)
    with torch.device("meta"):
        span = Chain.build([spec], [True])
    return compilation.choose(span, long, CPU, layout, compile)


def test_what_pays_is_compiled():
    short = picked(SMALL, iterations=1000, batch=8, patch=32)
    long = picked(MCAN, iterations=15000, batch=16, patch=48)
    assert not short.compile and short.compile_reason.startswith("does not pay for stages of about")
    assert long.compile and long.compile_reason.startswith("pays for stages of about")


def test_channels_last_unless_the_network_is_slower_with_it():
    assert picked(SMALL).layout == torch.channels_last
    dense = zoo.sample("sr_resunet_2")
    assert picked(dense).layout == torch.contiguous_format
    assert picked(dense).layout_reason == "faster for sr_resunet"


def test_the_config_has_the_last_word():
    how = picked(MCAN, "contiguous", "never", iterations=15000, batch=16, patch=48)
    assert (how.layout, how.compile) == (torch.contiguous_format, False)
    assert str(how) == "layout contiguous (configured), not compiled (configured)"
    assert picked(SMALL, compile="always").compile


def losses(folder) -> list[float]:
    return [float(line.split(",")[3]) for line in (folder / "history.csv").read_text().splitlines()[1:]]


def test_compiled_training_goes_the_same_way_and_is_resumed_to_the_same_bytes(arrays, tmp_path, monkeypatch):
    always = replace(SETTINGS, compile="always")
    eager, whole = run(arrays, tmp_path / "eager"), run(arrays, tmp_path / "whole", settings=always)
    assert losses(whole) == pytest.approx(losses(eager), rel=1e-3)
    compiled = [json.loads((out / "training.json").read_text())["segments"][0]["compiled"] for out in (eager, whole)]
    assert compiled == [False, True]

    save = checkpoint.save

    def killed(file, state):
        save(file, state)
        if state.step == 33:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(checkpoint, "save", killed)
        run(arrays, tmp_path / "resumed", settings=always, checkpoint_seconds=1e-9)
    assert same(run(arrays, tmp_path / "resumed", settings=always), whole)


def test_a_compiler_that_fails_leaves_the_training_as_it_was(arrays, tmp_path, monkeypatch, caplog):
    def failing(*_, **__):
        def compiled(_):
            raise RuntimeError("no C++ compiler\nmore")

        return compiled

    monkeypatch.setattr(torch, "compile", failing)
    with caplog.at_level(logging.INFO):
        made = run(arrays, tmp_path / "fallen_back", settings=replace(SETTINGS, compile="always"))
    assert "not compiled after all: no C++ compiler" in caplog.text
    assert same(made, run(arrays, tmp_path / "eager"))
