"""Means, intervals, subgroups, and the files of an evaluation."""

import csv
import json
import math
import re

import numpy as np
import pytest

from DeepSegLogic import Evaluation, InputError, write_evaluation
from DeepSegLogic.evaluation.metrics import METRICS
from DeepSegLogic.evaluation.scoring import Score
from DeepSegLogic.evaluation.statistics import ALL, mean_of, read_attributes, summarize


def evaluation(dice, title="Liver", attributes=None):
    """One structure, with these Dice by case."""

    def score(case, value):
        ml = (0.0, 0.0) if math.isnan(value) else (90.0 * value, 100.0)
        known = {"dice": value, "surface_dice": value, "hd95_mm": math.inf}
        known |= {"prediction_ml": ml[0], "reference_ml": ml[1]}
        known |= {"volume_error_ml": ml[0] - ml[1] if any(ml) else math.nan}
        return Score(case, "liver", title, dict.fromkeys(METRICS, math.nan) | known)

    scores = [score(f"case_{n}", value) for n, value in enumerate(dice)]
    return Evaluation(scores, cases=[s.case for s in scores], attributes=attributes or {})


def test_the_interval_is_that_of_a_normal_mean():
    """Of many cases, where the closed formula holds: mean ± 1.96 s/√n."""
    values = np.random.default_rng(0).normal(0.8, 0.05, 400)
    found = mean_of(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert found.mean == pytest.approx(values.mean()) and found.n == 400
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05 * half)
    assert mean_of(values) == found


def test_what_is_not_finite_is_left_out():
    assert mean_of([math.nan, 2.0, math.inf, 2.0]).n == 2
    assert mean_of([math.inf]).n == 0
    one = mean_of([3.0])
    assert (one.mean, one.n) == (3.0, 1) and math.isnan(one.low)


def test_gaps_between_subgroups():
    sexes = {f"case_{n}": {"sex": "FM"[n % 2], "scanner": ""} for n in range(3)}
    found = summarize(evaluation([0.9, 0.7, 0.8, 0.1], attributes=sexes))
    assert found.groups.keys() == {"sex"}
    assert found.groups["sex"]["F"]["liver"]["dice"].mean == pytest.approx(0.85)
    gap = found.gaps[0]
    assert (gap.attribute, gap.better, gap.worse) == ("sex", "F", "M") and gap.difference == pytest.approx(0.15)


def test_groups_that_do_not_differ_have_no_gap():
    sexes = {f"case_{n}": {"sex": "FM"[n % 2]} for n in range(2)}
    assert summarize(evaluation([0.8, 0.8], attributes=sexes)).gaps == []


def test_agreement_of_volumes_is_bland_and_altmans():
    found = summarize(evaluation([0.9, 0.7, math.nan, 0.8])).volumes["liver"]  # one has no liver on either side
    differences = np.array([81, 63, 72]) - 100.0
    assert found.bias == pytest.approx(differences.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * differences.std(ddof=1))


def test_the_files(tmp_path):
    found = evaluation([0.9, 0.0, math.nan], "=SUM(1)<b>")
    assert [p.name for p in write_evaluation(found, tmp_path)] == ["metrics.csv", "report.html", "summary.json"]
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text("utf-8").splitlines()))
    assert [row["dice"] for row in rows] == ["0.9", "0.0", ""] and rows[0]["hd95_mm"] == "inf"
    assert rows[0]["structure"].startswith("'=")  # no formula for spreadsheets

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    facts = json.loads((tmp_path / "summary.json").read_text("utf-8"), parse_constant=refuse)
    assert facts["means"]["liver"]["dice"]["mean"] == pytest.approx(0.45)
    assert facts["means"][ALL]["dice"]["n"] == 2 and "hd95_mm" not in facts["means"]["liver"]
    assert facts["counts"]["liver"] == {"cases": 3, "missed": 1, "invented": 0}
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and "<script" not in page


@pytest.mark.parametrize("separator", [",", ";"])
def test_attributes_come_from_a_table(tmp_path, separator):
    """As Excel writes it in several countries."""
    table = tmp_path / "groups.csv"
    table.write_text("case, sex,scanner\ncase_1, F,GE\n\ncase_2,M,\n".replace(",", separator), "utf-8-sig")
    assert read_attributes(table) == {"case_1": {"sex": "F", "scanner": "GE"}, "case_2": {"sex": "M", "scanner": ""}}
    for wrong in ("case\ncase_1\n", "case,sex\ncase_1\n", ""):
        table.write_text(wrong, "utf-8")
        with pytest.raises(InputError, match="not a table"):
            read_attributes(table)
    with pytest.raises(InputError):
        read_attributes(tmp_path / "none.csv")
