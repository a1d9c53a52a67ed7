"""Measure drift reports: false alarms, shifts that are found, and what they cost.

    python tests/benchmarks/drift.py [--reports 200]

A report compares 500 live rows with the profile of 150, 500 or 5,000 training rows. The tables have ten columns of
every kind (false alarms) and twenty normal columns, one of which is shifted by half a standard deviation (found).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from mlctl.serving.traffic.profile import make_profile
from tests.serving.test_drift import COLUMNS, ROWS, draw_numbers, draw_table, drifted

PROFILES = 20  # reports that share one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reports", type=int, default=200)
    reports = parser.parse_args().reports
    print("training rows   false alarms   shifts found   profile   report")
    for rows in (150, 500, 5000):
        alarms = found = 0
        profile_s = report_s = 0.0
        for report in range(reports):
            if report % PROFILES == 0:
                table, numbers = draw_table(10_000 + report, rows), draw_numbers(20_000 + report, rows)
                started = time.thread_time()
                profile = make_profile(table)
                profile_s += time.thread_time() - started
                shifted_profile = make_profile(numbers)
            live, place = draw_table(report, ROWS), report % COLUMNS
            started = time.thread_time()
            alarms += bool(drifted(profile, live))
            report_s += time.thread_time() - started
            shifted = draw_numbers(report, ROWS)
            shifted[f"x{place}"] += 0.5 * (1 + place)
            found += f"x{place}" in drifted(shifted_profile, shifted)
        size = len(json.dumps(profile)) / 1000
        print(
            f"{rows:13,}   {alarms / reports:12.1%}   {found / reports:12.1%}   "
            f"{1000 * profile_s / (reports / PROFILES):.0f} ms, {size:.0f} kB   {1000 * report_s / reports:.1f} ms"
        )


if __name__ == "__main__":
    main()
