"""Files and flags that say something other than was meant: refused with file, line, and the way out."""

import argparse
import re
from pathlib import Path

import pytest

import forked
from multiblock import config
from multiblock.cli import main
from multiblock.config.reading import argument, overrides
from multiblock.errors import UserError, nearest
from multiblock.workflow.call import check, configuration
from test_workflow import command, finished_study, jobs, snakemake, write_config

WRONG = {
    "a tab": (b"seeds: [1]\n\tdevice: cpu\n", "line 2: cannot be read as YAML: found a tab; allowed are blanks"),
    "a tab further in": (
        b"training:\n  keep: best\n\thistory_every: 5\n",
        "line 3: cannot be read as YAML: found a tab",
    ),
    "no colon": (
        b"seeds: [1]\ndevice cpu\ndata:\n  scale: 2\n",
        "line 2: cannot be read as YAML: found no colon after a key",
    ),
    "no colon, at the top": (
        b"device cpu\nseeds: [1]\n",
        "line 2: cannot be read as YAML: mapping values are not allowed",
    ),
    "a key twice": (b"seeds: [1]\ndevice: cpu\nseeds: [2]\n", "line 3: key 'seeds' is in line 1 already"),
    "a key twice, further in": (
        b"recipes:\n  a:\n    - iterations: 3\n      lr: 1\n      lr: 2\n",
        "line 5: key 'lr' is in line 4 already",
    ),
    "a key twice in one line": (b"training: {keep: best, keep: last}\n", "line 1: key 'keep' is in line 1 already"),
    "a quote": (b"seeds: [1]\nstudy: 'a\ndevice: cpu\n", "line 2: cannot be read as YAML: found a quote that is not"),
    "a key twice in JSON": (b'{"training": {"keep": "best", "keep": "last"}}', "key 'keep' is there twice"),
    "lists without an end": (b"[" * 1500, "cannot be read as YAML: maximum recursion depth exceeded"),
    "UTF-16": ("seeds: [1]\n".encode("utf-16"), "line 1: cannot be read as YAML: found bytes that are not UTF-8"),
    "Latin-1": ("seeds: [1]\nstudy: h\xe9\n".encode("latin-1"), "line 2: cannot be read as YAML: found bytes that are"),
}


@pytest.mark.parametrize(("content", "says"), WRONG.values(), ids=WRONG)
def test_files_that_say_something_else(tmp_path, content, says):
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"^{re.escape(f'{file}: {says}')}") as error:
        config.read([file])
    assert "\n" not in str(error.value)


NUMBERS = ["0010", "-0010", "1:30", "1:30.5", "08", 7, 1000, 0, 0.5, -0.0005, 500]
"""What looks like a number and would be another one is text: a name, or refused where a number is needed."""


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        (b"\xef\xbb\xbfseeds: [3]\n", {"seeds": [3]}),
        (b'{\n\t"seeds": [3]\n}', {"seeds": [3]}),
        (b"a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n", {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}),
        # What is merged and has merged itself, also where it stands deeper than who merges it.
        (
            b"a: &a {x: 1}\nb: {c: {d: &d {<<: *a, x: 2}}}\ne: {<<: *d}\n",
            {"a": {"x": 1}, "b": {"c": {"d": {"x": 2}}}, "e": {"x": 2}},
        ),
        (b"a: [0010, -0010, 1:30, 1:30.5, 08, +7, 1_000, 0, 0.5, -.5e-3, 5.E+2]\n", {"a": NUMBERS}),
        (b"", {}),
    ],
)
def test_files_that_are_fine(tmp_path, content, holds):
    (tmp_path / "a.yaml").write_bytes(content)
    assert config.read([tmp_path / "a.yaml"]) == holds


@pytest.mark.parametrize(("name", "given"), [("a tab", True), ("a key twice", True), ("UTF-16", False)])
def test_snakemake_says_so_too(tmp_path, name, given):
    content, says = WRONG[name]
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    # With --configfile it is Snakemake that reads first; without it, config.yaml is read here.
    arguments = command(tmp_path, "--dry-run", *(["--configfile", str(file)] if given else []))
    done = forked.run(arguments)
    printed = done.stdout + done.stderr
    lines = [line for line in printed.splitlines() if "rror" in line]
    assert done.returncode == 1 and len(lines) == 1, printed
    assert lines[0] == f"multiblock: error: {file if given else 'config.yaml'}: {lines[0].partition('.yaml: ')[2]}"
    assert lines[0].partition(".yaml: ")[2].startswith(says)


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "---\n"])
def test_a_file_without_keys_is_named(tmp_path, content):
    mine, empty = tmp_path / "mine.yaml", tmp_path / "empty.yaml"
    mine.write_text("seeds: [1]\n")
    empty.write_text(content)
    for given in ([empty], [mine, empty]):
        with pytest.raises(SystemExit) as end:
            check(["snakemake", "-n", "--configfile", *map(str, given)])
        assert str(end.value).startswith(f"multiblock: error: {empty}: holds no keys; allowed is a mapping of keys")


def test_what_is_to_be_made_is_not_taken_for_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("seeds: [1]\n")
    check(["snakemake", "phase2", "--configfile", "mine.yaml"])
    with pytest.raises(SystemExit, match="found phase2, and there is no such file; what is to be made comes before"):
        check(["snakemake", "--configfile", "mine.yaml", "phase2"])


# -- Several files, and what is laid over them -----------------------------------------------------------------


def files(folder: Path) -> tuple[Path, Path]:
    mine, short = folder / "mine.yaml", folder / "short.yaml"
    mine.write_text("data: {scale: 2, train: {hr: a}, test: {hr: b}}\n")
    short.write_text("shrink: {max_iterations: 3}\n")
    return mine, short


def test_a_flag_that_is_given_twice(tmp_path):
    mine, short = files(tmp_path)
    assert (
        configuration([mine, short], {}, ["--configfile", "mine.yaml", "short.yaml"])["shrink"]["max_iterations"] == 3
    )
    for again in (["--configfile", "a", "--configfile", "b"], ["--configfiles", "a", "--configfile=b"]):
        with pytest.raises(
            UserError, match="^--configfile: found twice, of which Snakemake keeps the last; give it once"
        ):
            configuration([short], {}, again)
    with pytest.raises(UserError, match="^--config: found twice"):
        configuration([mine], {}, ["--configfile", "mine.yaml", "--config", "a=1", "-C", "b=2"])


def test_a_file_that_is_meant_to_be_laid_over_another(tmp_path, capsys):
    mine, short = files(tmp_path)
    says = f"{short}: found neither data nor runs; a file that is laid over others is named after them"
    with pytest.raises(UserError, match=re.escape(says)):
        configuration([short], {}, [])
    assert main(["plan", str(short)]) == 1
    assert says in capsys.readouterr().err
    assert main(["plan", str(mine), str(short)]) == 0


def test_names_that_look_like_numbers(tmp_path):
    file, stage = tmp_path / "a.yaml", "{iterations: 2, lr: 1e-3}"
    file.write_text(
        "study: 1e5\nresults: '2e5'\nreport: {baseline: '1e5', losses: {'4e5': ['1e5']}}\n"
        "data: {name: '3e5', scale: 2, train: {hr: a}, test: {hr: b}}\n"
        f"blocks: {{1e5: {{network: toy, depth: 2e0}}}}\nrecipes: {{'1e5': [{stage}]}}\n"
        "runs:\n  1e5: {chain: ['1e5'], plan: [{span: 1, stages: '1e5'}]}\n"
        "  2e5: {chain: [1e5], equal_to: '1e5', plan: [{span: 1e0, stages: 1e5}]}\n"
    )
    study = config.load(config.read([file]))
    assert (study.name, study.results, list(study.runs), study.baseline) == ("1e5", "2e5", ["1e5", "2e5"], "1e5")
    assert list(study.data) == ["3e5"] and study.loss_figures == {"4e5": ["1e5"]}
    run = study.runs["2e5"]
    assert run.chain == ("1e5",) and run.plan.blocks[0].options["depth"] == 2 and run.equal_to.run == "1e5"
    assert run.plan.phase(1).stages[0].lr == 0.001 and run.plan.phase(1).last == 1


def test_settings_of_the_command_line():
    given = {"evaluation": {"border": "3"}, "seeds": ["2", "3"], "deterministic": "true", "device": "cpu"}
    assert overrides(given) == {"evaluation": {"border": 3}, "seeds": [2, 3], "deterministic": True, "device": "cpu"}
    assert overrides({"training": {"checkpoint_seconds": "1e2"}}) == {"training": {"checkpoint_seconds": 100}}
    assert overrides({"study": "2024-01-01", "results": "1e5", "report": {"baseline": "NO"}}) == {
        "study": "2024-01-01",
        "results": "1e5",
        "report": {"baseline": "NO"},
    }
    assert overrides({"report": {"baseline": "null"}, "data": {"name": "true"}}) == {
        "report": {"baseline": None},
        "data": {"name": "true"},
    }
    with pytest.raises(UserError, match="^--config: seeds, seed 1: found datetime"):
        overrides({"seeds": ["2024-01-01"]})


def test_settings_of_the_command_line_reach_every_job(tmp_path_factory):
    study = finished_study(tmp_path_factory)
    assert jobs(study, "--config", "seeds=[2, 3]", "device=cpu")["phase1_1"] == 4
    target = ["--keep-going", "results/one_go/seed1/phase1/psnr.csv"]  # the flag ends what --resources takes
    border = ["--config", "evaluation={border: 3}"]
    done = snakemake(study, *target, *border)
    assert done.returncode == 0 and "one_go, phase 1: " in done.stderr, done.stderr
    assert jobs(study, *target, *border) == {}
    done = snakemake(study, "--dry-run", "--config", "device=cpu", "phase1")
    assert "multiblock: error: --config: found 'phase1'; allowed are settings such as seeds=[2]; what" in done.stderr
    assert "Traceback" not in done.stderr


# -- Bounds for the command line -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("evaluation.border", "-1", "found -1; allowed are scale, or a whole number from 0 to 8"),
        ("evaluation.border", "x", "found 'x'; allowed are scale, or"),
        ("inference.memory_gib", "0", "found 0; allowed is at least 0.05"),
        ("inference.memory_gib", "nan", "found 'nan'; allowed is a number"),
        ("inference.memory_gib", ".nan", "found '.nan'; allowed is a number from 0.05"),
        ("inference.memory_gib", "[", "found '['; allowed is a number from 0.05"),
        ("data.scale", "-2", "found -2; did you mean '2'?; allowed are 1, 2, 3, 4"),
        ("data.test.lr_name", "x2", "found 'x2'; allowed is a name with {name} in it"),
    ],
)
def test_arguments_beyond_the_bounds(key, text, says):
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(says)):
        argument(key)(text)


# -- What a file of one's own got ------------------------------------------------------------------------------


def test_plan_shows_the_defaults(tmp_path, capsys):
    mine, _ = files(tmp_path)
    assert main(["plan", str(mine)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        "  training: keep last, history_every 50, validate_every 200, below_input stop, checkpoint_seconds 60" in lines
    )
    assert "  data: name images, degradation bicubic, validation 0.1, max_side 1500" in lines
    assert any(
        line.startswith("  study default, results results") and "runs as in config.yaml" in line for line in lines
    )
    mine.write_text(
        mine.read_text()
        + "training: {keep: last}\nrecipes: {joint: [{iterations: 1, lr: 1}, {iterations: 2}], single: []}\n"
    )
    mine.write_text(mine.read_text().replace("single: []", "single: [{iterations: 1, batch: 2}]"))
    assert main(["plan", str(mine)]) == 0
    lines = capsys.readouterr().out.splitlines()
    stages = next(line for line in lines if line.startswith("  stages: "))
    assert "lr 0.0001 (2)" in stages and "batch 16 (2)" in stages and "optimiser adam (3)" in stages
    assert "  training: history_every 50, validate_every 200, below_input stop, checkpoint_seconds 60" in lines


def test_plan_names_the_folders_that_are_not_there(pairs, capsys):
    mine = pairs / "mine.yaml"
    tested = f"test: {{hr: {pairs}/test/HR, lr: {pairs}/tset/LR}}"
    mine.write_text(
        f"data: {{name: x, scale: 1, train: {{hr: {pairs}/train/HR, lr: {pairs}/train/LR}}, {tested}}}\n"
        "upscale: {images: nowhere}\n"
    )
    assert main(["plan", str(mine)]) == 0
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert lines[0].startswith("checked 4 phases")
    assert lines[1].startswith(f"data x: {pairs}/tset/LR: cannot be listed: No such file or directory")
    assert lines[2].startswith("upscale.images: nowhere: cannot be listed")


def test_hints():
    assert nearest("tv", ["tv"]) == ""
    assert nearest("tv", ["l1", "tv"]) == ""
    assert nearest("L1", ["l1"]) == "; did you mean 'l1'? Capitals count"
    assert nearest("u\u0308ber", ["\u00fcber"]).endswith("The letters are the same, composed otherwise")
    assert nearest("ptach", ["patch", "batch"]) == "; did you mean 'patch'?"


def test_no_cores_are_refused(tmp_path):
    """Snakemake would wait for them."""
    write_config(tmp_path)
    words = [*command(tmp_path, "--configfile", str(tmp_path / "config.yaml")), "--cores", "0"]
    done = forked.run(words, timeout=60)
    assert done.returncode == 1
    assert "multiblock: error: --cores: found 0; allowed are 1 or more, or all" in done.stderr
