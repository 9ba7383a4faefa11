"""The simulation of a large sweep, and what docs/cluster.md says of it."""

import re

from tests.helpers import ROOT
from tools.cluster_simulation import RULES, lines, simulate


def test_the_page_says_what_it_gives():
    page = " ".join((ROOT / "docs" / "cluster.md").read_text(encoding="utf-8").split())
    _, *rules, shares = lines(64, 5)
    assert len(rules) == len(RULES)
    for line in rules:
        hours, busy, gigabytes = re.findall(r"([\d.]+) h; GPUs busy (\d+)%.* ([\d,]+) GB", line)[0]
        terabytes = f"{float(gigabytes.replace(',', '')) / 1000:.1f} TB"
        assert re.search(rf"\| \**{hours}\** \| \**{busy} %\** \| {terabytes} \|", page), line
    assert "gsm8k 19%, hellaswag 15%, ifeval 14%, mmlu 14%" in shares
    assert "GSM8K takes longest (19 % of all time; HellaSwag 15, IFEval and MMLU 14 each)" in page


def test_every_cell_is_run_once_by_every_rule():
    sums = {name: simulate(rule, 7).computing for name, rule in RULES.items()}
    assert max(sums.values()) - min(sums.values()) < 1e-6 * max(sums.values())


def test_one_gpu_waits_for_nobody():
    alone = simulate(RULES["in order, shared"], 1)
    assert abs(alone.makespan - alone.computing - alone.loading) < 1e-6 * alone.makespan
