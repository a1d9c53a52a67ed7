"""Start KerasTuner's chief and two workers, as in its guide to distributed tuning; print the best score."""

import json
import os
import subprocess
import sys
from pathlib import Path

program = [sys.executable, str(Path(__file__).with_name("tuning_kerastuner.py")), *sys.argv[1:]]
oracle = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": sys.argv[3]}
processes = [
    subprocess.Popen(program, env={**os.environ, **oracle, "KERASTUNER_TUNER_ID": name})
    for name in ("chief", "tuner0", "tuner1")
]
for process in processes:
    process.wait()
files = Path(sys.argv[2]).glob("search/trial_*/trial.json")
print("best", max(score for file in files if (score := json.loads(file.read_text())["score"])))
