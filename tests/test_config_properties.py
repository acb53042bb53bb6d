"""Any configuration either can be planned or ends in clear lines: mutated studies, and what the keys' rules allow."""

import ast
import copy
import dataclasses
import datetime
import difflib
import os
import re
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from conftest import ROOT, STUDIES, picture
from multiblock import config
from multiblock.config.keys import ConfigKeys
from multiblock.config.rules import resolved, rule_at
from multiblock.data import images
from multiblock.data.inspection import Inspection, inspect
from multiblock.errors import UserError, in_full
from multiblock.files import Digests
from multiblock.networks import registry, zoo
from multiblock.plan import INPUT, CachedSet
from test_config import changed
from test_workflow import snakemake

LONG = "MULTIBLOCK_LONG" in os.environ

HERE = [config.read([ROOT / "config.yaml"]), config.read([ROOT / "tests" / "tiny.yaml"])]
"""Configs whose images are everywhere, so that they can be planned to the end."""

BASES = [*HERE * 4, *(config.read([file]) for file in STUDIES)]

SETTINGS = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """The folder that all tests run in: no images but a few, of which those in ``tiny`` are half as large."""
    before, folder = Path.cwd(), tmp_path_factory.mktemp("here")
    os.chdir(folder)
    for name, side in (("small", 128), ("tiny", 64)):
        (folder / name).mkdir()
        for number in range(3):
            images.write(folder / name / f"{number}.png", picture(side, side, seed=number))
    yield folder
    os.chdir(before)


# -- What is put where something else belongs ------------------------------------------------------------------

TEXTS = ["", " ", "a", "small", "ü", "\u202e漢字", "a\nb", "\x00", "\x7f", "\x85", "\ud800", "x" * 300, "x" * 5000]
TEXTS += ["{", "{a}", "{name}{a}", "1e5", "1e999", "-1", "nan", "~no-one/x", "none.py", "x" * 300 + ".py", "random"]
TEXTS += ["none.safetensors", "x" * 300 + ".safetensors"]
NUMBERS = [0, 1, -1, 2, 3, 8, 100, 10**6, 10**30, -(10**30), 10**400, 0.0, 0.5, 1.0, 2.0, 1e-300, 1e300]
NUMBERS += [float("nan"), float("inf"), float("-inf")]
OTHERS = [None, True, False, datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1), b"x", {"a"}, [], {}, [[]]]
KEYS = [None, True, False, 0, 1, 2.5, 10**400, 16**5000, datetime.date(2024, 1, 1), (1, 2)]
SPANS = ["1-2", "2-1", "0", "1-", "-1", "1-3-4", "a-b", "1 - 2", "１", "²", "1-99999", "9" * 4000, "1,2", ""]

# No dots and slashes: no folder above the one that the tests run in.
leaves = st.one_of(
    *map(st.sampled_from, (OTHERS, NUMBERS, TEXTS)),
    st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="./")),
)
junk = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*TEXTS, *KEYS]), inner, max_size=3),
    max_leaves=4,
)
numbers_of_blocks = st.integers(0, 4)
spans = st.one_of(
    st.sampled_from(SPANS), numbers_of_blocks, st.builds("{}-{}".format, numbers_of_blocks, numbers_of_blocks), junk
)

OPTIONS = {
    "int": st.sampled_from([1, 2, 3, 4, 8, 2.0, 0, 10**9]),
    "float": st.sampled_from([0, 0.1, 1.0, float("nan")]),
    "bool": st.booleans(),
    "str": st.sampled_from(["random", "none.pth"]),
    "tuple[int, ...]": st.lists(st.sampled_from([1, 2, 4, 0]), max_size=3),
}


@st.composite
def blocks(draw) -> dict:
    """A network of the zoo with some of its options."""
    network = draw(st.sampled_from(sorted(zoo.ENTRIES)))
    known = registry.options(zoo.find(network).family)
    made = {"network": network}
    for name, (kind, _) in known.items():
        if name.endswith("_weights") or draw(st.integers(0, 5)) == 0:
            literal = kind.startswith("Literal")
            words = st.sampled_from(ast.literal_eval(kind.removeprefix("Literal"))) if literal else OPTIONS[kind]
            made[name] = draw(st.one_of(words, words, words, junk))
    return made


# -- Configs out of the keys' rules ---------------------------------------------------------------------------------

NAMES = st.sampled_from(["small", "tiny", "single", "few", "joint", "default", "a"])


@st.composite
def values(draw, rules: dict):
    """A value out of the keys' rules, at its bounds and next to them too; now and then junk."""
    rules = resolved(rules)
    if draw(st.integers(0, 40)) == 40:
        return draw(junk)
    if "enum" in rules:
        return draw(st.sampled_from(list(rules["enum"])))
    if "anyOf" in rules:
        return draw(values(draw(st.sampled_from(rules["anyOf"]))))
    kinds = rules.get("type", "object")
    match kinds if isinstance(kinds, str) else draw(st.sampled_from(kinds)):
        case "object":
            return draw(mappings(rules))
        case "array":
            return draw(st.lists(values(rules["items"]), min_size=rules.get("minItems", 0), max_size=3))
        case "boolean":
            return draw(st.booleans())
        case "integer" | "number" as kind:
            bounds = [rules[key] for key in ("minimum", "exclusiveMinimum", "maximum") if key in rules]
            near = [bound + step for bound in bounds for step in (0, 0, 1, 1, -1)]
            return draw(st.sampled_from([*near, 16, 48, *([0.1, 0.25] if kind == "number" else [])]))
    return draw(NAMES)


@st.composite
def mappings(draw, rules: dict) -> dict:
    """A mapping out of the keys' rules: what is needed, some of what may be there, and entries by names of its own."""
    known, needed, others = (rules.get(key, {}) for key in ("properties", "required", "additionalProperties"))
    if "network" in known:
        return draw(blocks())
    made = {name: draw(values(rule)) for name, rule in known.items() if name in needed or draw(st.integers(0, 3)) == 0}
    if others:
        made |= {name: draw(values(others)) for name in draw(st.lists(NAMES, min_size=1, max_size=2, unique=True))}
    if "span" in known:
        made["span"] = draw(spans)
    return made


# -- Studies with mistakes -------------------------------------------------------------------------------------


def walk(draw, tree) -> list:
    """The path of a place at random depth."""
    path = []
    while isinstance(tree, dict | list) and tree and (not path or draw(st.integers(0, 4))):
        path.append(draw(st.sampled_from(list(tree) if isinstance(tree, dict) else range(len(tree)))))
        tree = tree[path[-1]]
    return path


def at(tree, path: list):
    for part in path:
        tree = tree[part]
    return tree


def misspelt(draw, word: str) -> str:
    """A word with a letter dropped, added, or swapped with the next one."""
    place = draw(st.integers(0, len(word) - 1))
    before, after = word[:place], word[place:]
    added = before + draw(st.sampled_from("aexz_")) + after
    return draw(st.sampled_from([before + after[1:], added, before + after[1:2] + after[:1] + after[2:]]))


def replace(draw, tree):
    *parents, last = walk(draw, tree)
    at(tree, parents)[last] = draw(junk)


def replace_by_the_rules(draw, tree):
    *parents, last = walk(draw, tree)
    if rules := rule_at(ConfigKeys, [*parents, last]):
        at(tree, parents)[last] = draw(spans if last == "span" else values(rules))


def misspell(draw, tree):
    *parents, last = walk(draw, tree)
    place = at(tree, parents)
    place[misspelt(draw, last)] = place.pop(last)


def delete(draw, tree):
    *parents, last = walk(draw, tree)
    del at(tree, parents)[last]


def add(draw, tree):
    names = [*KEYS, *TEXTS, "lr", "hr", "scale", "schedule", "shrink", "data", "parts", "tiny_losses"]
    place = at(tree, walk(draw, tree))
    place |= {draw(st.sampled_from(names)): draw(junk)}


def duplicate(draw, tree):
    place = at(tree, walk(draw, tree))
    place.append(place[draw(st.integers(0, len(place) - 1))])


MUTATIONS = [*[replace_by_the_rules] * 7, *[delete, duplicate] * 2, replace, misspell, add]


@st.composite
def studies(draw, bases=BASES) -> dict:
    """A study with one to four mistakes, some of which are none."""
    tree = copy.deepcopy(draw(st.sampled_from(bases)))
    for _ in range(draw(st.integers(1, 4))):
        # The place may be of another kind, or an earlier mutation has taken away what this one needs.
        with suppress(LookupError, TypeError, ValueError, AttributeError):
            draw(st.sampled_from(MUTATIONS))(draw, tree)
    return tree


configs = st.one_of(studies(), studies(), studies(), values(ConfigKeys).filter(lambda made: isinstance(made, dict)))


# -- What has to hold ------------------------------------------------------------------------------------------


def one_clean_line(text: str) -> bool:
    """Whether a text has no characters that break lines, or do worse on a terminal."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)


SAYS_WHAT_IS_ALLOWED = re.compile(
    r"allow|known are|is missing|no such file|needed|needs|a span is|leaves a gap|has to be|goes past|may enlarge|"
    r"give each|have to|windows are cut"
)


def check(message: str, tree: dict) -> None:
    """A message is one line that begins with a key and says what is allowed."""
    assert one_clean_line(message), message
    keys = [key for key in tree if isinstance(key, str)]
    known = ["config", *resolved(ConfigKeys)["properties"], *keys, *map(repr, keys)]
    assert message.startswith(tuple(f"{key}{end}" for key in known for end in (":", ".", ","))), message
    assert SAYS_WHAT_IS_ALLOWED.search(message), message
    assert len(message) < 10_000


INSPECTION = Inspection(Digests(Path("inspection.json")))


def refusal(tree: dict) -> str | None:
    """What :func:`refused` ends in, a line a problem."""
    error = refused(tree)
    return error and str(error)


def refused(tree: dict) -> UserError | None:
    """Do all that a dry run does; the error that it ends in, if it does."""
    try:
        study = config.load(tree)
    except UserError as error:
        for problem in error.problems:
            check(problem, tree)
        assert len(set(error.problems)) == len(error.problems)
        return error
    for run in study.runs.values():
        plan = run.plan
        assert study.border(run) >= 0
        for number in plan.numbers:
            for seed in study.seeds:
                assert str(seed).isdecimal() and dataclasses.asdict(plan.task(number, seed))
            assert plan.task(number, 0).block_pixels >= 0 and all(map(os.path.isfile, plan.task(number, 0).files))
            assert number in plan.reruns(number) and plan.title(number)
            assert all(phase < number for phase in plan.reads_weights(number))
            assert plan.reads_set(number).phase == INPUT or plan.set_weights(plan.reads_set(number))
            for block in plan.makes_sets(number):
                assert plan.set_weights(CachedSet(phase=number, block=block))
    assert study.baseline in study.runs and study.loss_figures
    try:
        for name, data in study.data.items():
            inspect(data, INSPECTION, study.largest_patch(name))
    except UserError as error:
        assert one_clean_line(str(error))
        return error
    return None


@settings(SETTINGS, max_examples=1500 if LONG else 150)
@given(tree=configs)
def test_any_config_can_be_planned_or_ends_in_one_line(tree):
    refusal(tree)


LOOP: list = []
LOOP.append(LOOP)
BOMB: list = [1]
for _ in range(15):
    BOMB = [BOMB] * 10
RUN = {"chain": ["small"], "plan": [{"span": 1, "stages": "single"}]}


TOO_LARGE = "allowed are numbers up to 1e+15"


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("seeds", LOOP, "seeds: found too much; allowed are 100000 values, 20 levels deep"),
        ("seeds", BOMB, "seeds: found too much"),
        ("seeds", [[[1] * 1000] * 1000], "seeds: found too much"),
        ("seeds.0", 10**30, f"seeds, seed 1: found 1000000000000000000000000000000; {TOO_LARGE}"),
        ("seeds.0", 16**5000, f"seeds, seed 1: found int of too many digits; {TOO_LARGE}"),
        ("data.validation", float("inf"), f"data.validation: found inf; {TOO_LARGE}"),
        ("recipes.single.0.lr", float("nan"), f"recipes.single, stage 1, lr: found nan; {TOO_LARGE}"),
        ("recipes.single.0.lr", "1e999", f"recipes.single, stage 1, lr: found inf; {TOO_LARGE}"),
        ("study", datetime.date(2024, 1, 1), "study: found datetime.date(2024, 1, 1); allowed are numbers, true, f"),
        ("study", "a\n", "study: found 'a\\n'; allowed is text of up to 4096 characters, no control ones"),
        ("study", "a" * 101, "study: found 'aaaaaaaaaaaa...aaaaaaaaaaaaa'; allowed is 1 to 100 of the letters"),
        ("runs", {1: RUN}, "runs: found the key 1; allowed is text, in quotes where YAML takes it for something else"),
        ("runs", {16**5000: RUN}, "runs: found the key int of too many digits; allowed is text"),
        ("runs", {"a\nb": RUN}, "runs: found 'a\\nb'; allowed is text"),
        ("runs.default.chain", ["small"] * 101, "runs.default.chain: found ['small', 'small', 'small', 'small', "),
        ("runs.default.plan.0.span", "9" * 4000, "runs.default.plan, phase 1, span: found '999"),
        ("runs.default.plan.0.start", "x" * 300 + ".safetensors", "runs.default.plan, phase 1, start: xxx"),
        ("blocks.small.network", "x" * 300 + ".py", "blocks.small.network: xxx"),
        ("results", "x" * 300, "results: xxx"),
        ("results", "x" * 501, "results: found 'xxxxxxxxxxxx...xxxxxxxxxxxxx'; allowed are at most 500 characters"),
        ("seeds", [2.0], None),
        ("recipes.single.0.batch", "1e1", None),
        ("results", "a//b/", None),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else type(value).__name__,
)
def test_what_was_found_this_way(path, value, says):
    message = refusal(changed(path, value))
    assert message is None if says is None else (message or "").startswith(says), message


def test_whole_numbers_and_folders_are_made_plain():
    study = config.load(changed("recipes.single.0.batch", "1e1") | {"seeds": [2.0], "results": "a//b/"})
    stage = study.runs["default"].plan.phase(1).stages[0]
    assert (repr(study.seeds), repr(stage.batch), study.results) == ("(2,)", "10", "a/b")


@pytest.mark.parametrize("name", ["a{b}.safetensors", "{run}.safetensors"])
def test_files_whose_names_snakemake_would_read_as_wildcards(name):
    Path(name).touch()
    message = refusal(changed("runs.default.plan.0.start", name))
    assert message.startswith(f"runs.default.plan, phase 1, start: found {name}; allowed are names without braces")


def test_the_largest_plan_is_planned_at_once():
    plan = [{"span": number, "start": "default", "stages": "single"} for number in range(1, 101)]
    run = config.load(changed("runs.default", {"chain": ["small"] * 100, "plan": plan})).runs["default"]
    assert [run.plan.makes_sets(number) for number in run.plan.numbers[:-1]] == [(number,) for number in range(1, 100)]


def close(wrong: str, right: str) -> float:
    return difflib.SequenceMatcher(None, right, wrong).ratio()


def meant(message: str, wrong: str, right: str) -> None:
    """The hint names the right word, or one that is at least as close."""
    hint = re.search(r"; did you mean '([^']+)'\?", message)
    assert hint, message
    assert hint[1] in (right, wrong) or close(wrong, hint[1]) >= close(wrong, right), message


@settings(SETTINGS, max_examples=1500 if LONG else 100)
@given(data=st.data())
def test_a_misspelt_key_is_recognised(data):
    tree = copy.deepcopy(data.draw(st.sampled_from(BASES)))
    *parents, right = walk(data.draw, tree)
    rules, place = rule_at(ConfigKeys, parents), at(tree, parents)
    assume(
        isinstance(right, str) and (right in rules.get("properties", {}) or parents[-1:] in (["options"], ["schedule"]))
    )
    wrong = misspelt(data.draw, right)
    assume(wrong not in place and wrong not in rules.get("properties", {}) and close(wrong, right) >= 0.6)
    place[wrong] = place.pop(right)
    meant(refusal(tree), wrong, right)


# -- Files -----------------------------------------------------------------------------------------------------

PIECES = ["a", "seeds", "study", ": ", "- ", ", ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "? ", "| ", "> ", "# "]
PIECES += ["\n  ", "!!int ", "!!bool ", "!!timestamp ", "!!binary ", "!!set ", "!x ", "2024-13-45", "0x_", "0b_", "._"]
PIECES += ["\n", "1:99", "9" * 5000, "0x" + "f" * 5000, "---\n", "...\n", "%YAML 9\n", "\t", "'", '"', "\\ud800"]
PIECES += ["[" * 1000]


def dumped(tree: dict) -> str:
    """A config as YAML; nothing for one that YAML cannot hold."""
    try:
        text = yaml.safe_dump(tree)
        yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):  # numbers of too many digits; lists as keys
        return ""
    return text


contents = st.one_of(
    st.binary(),
    st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map(lambda pieces: "".join(pieces).encode()),
    studies(HERE).map(lambda tree: dumped(tree).encode()),
)


@settings(SETTINGS, max_examples=1500 if LONG else 150)
@given(content=contents)
@example(b"a: &a [*a]")
@example(b"a: &a {b: *a}")
@example(b"a: &a {? *a : 1}")
@example(b"".join([b"a: &a0 [1]\n", *(b"b%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 60))]))
@example(b"false")
@example(b"[]")
def test_any_file_is_a_config_or_ends_in_one_line(content):
    file = Path("any.yaml")
    file.write_bytes(content)
    try:
        tree = config.read([file])
    except UserError as error:
        assert all(line.startswith("any.yaml: ") and one_clean_line(line) for line in error.problems)
    else:
        assert config.read([file, file]) == tree
        refusal(tree)


# -- Networks of a third party ---------------------------------------------------------------------------------

CLASS = "class Own:\n    def __init__(self, *, scale={scale}, own_weights='random', other=1): pass\n"


@pytest.mark.parametrize(
    ("code", "options", "says"),
    [
        (CLASS.format(scale=1), {}, None),
        (CLASS.format(scale=1), {"other": {"a": [1.5, None]}}, None),
        (CLASS.format(scale=1), {"scale": "x"}, "scale: found 'x'; own.py allows 1, 2,"),
        (CLASS.format(scale=1), {"scale": [10**9]}, "scale: found [1000000000]; own.py allows 1, 2,"),
        (CLASS.format(scale=1), {"own_weights": ["x"]}, "own_weights: found ['x']; allowed is a value of type str"),
        (CLASS.format(scale=1), {"own_weights": "x"}, "own_weights: x: no such file"),
        (CLASS.format(scale="1 << 1"), {}, "network: own.py: an option's default is computed; plain values are needed"),
        (CLASS.format(scale=None), {}, "scale: found None; own.py allows 1, 2,"),
        ("", {}, "network: own.py: found no class; a class named like the file is needed"),
        ("class", {}, "network: own.py: is not a Python file: "),
        ("\0", {}, "network: own.py: is not a Python file: "),
        ("x = " + "-" * 100_000 + "1", {}, "network: own.py: is not a Python file: "),
    ],
)
def test_files_of_networks(monkeypatch, tmp_path, code, options, says):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(code)
    message = refusal({**HERE[1], "blocks": {"tiny": {"network": "own.py", **options}}})
    assert message is None if says is None else (message or "").startswith(f"blocks.tiny.{says}"), message


# -- Dry runs --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample(folder) -> dict[bool, list[str]]:
    """Texts of configs that can be planned, and of such that cannot."""
    found: dict[bool, dict[str, None]] = {True: {}, False: {}}

    @settings(SETTINGS, max_examples=1000 if LONG else 60)
    @given(tree=studies(HERE))
    def collect(tree):
        if text := dumped(tree):
            found[refusal(yaml.safe_load(text)) is None][text] = None

    collect()
    return {valid: list(texts)[:: max(1, len(texts) // COUNT)] for valid, texts in found.items()}


COUNT = 50 if LONG else 2


@pytest.mark.parametrize("number", range(COUNT))
@pytest.mark.parametrize("valid", [True, False])
def test_a_dry_run_plans_or_ends_in_the_same_lines(folder, sample, valid, number):
    file = Path("config.yaml")
    file.write_text(sample[valid][number])
    try:
        error = refused(config.read([file]))
    except UserError as problems:
        error = problems
    done = snakemake(folder, "--dry-run")
    printed = (done.stdout + done.stderr).replace(f"{folder}/config.yaml", "config.yaml")
    assert "Traceback" not in printed and printed.count("multiblock: error: ") == 1 - valid
    assert (error is None) == valid and (valid or f"multiblock: error: {in_full(error)}\n" in printed)
    assert done.returncode == 1 - valid
