"""Log values from many threads for a while and print, for each run, the steps that were acknowledged."""

from __future__ import annotations

import json
import sys
import threading
import time

from mlflow import MlflowClient


def main(clients: int, seconds: float) -> None:
    runs = [MlflowClient().create_run("0").info.run_id for _ in range(clients)]
    acknowledged: dict[str, list[int]] = {run: [] for run in runs}
    until = time.monotonic() + seconds

    def log(run: str) -> None:
        client, step = MlflowClient(), 0
        while time.monotonic() < until:
            step += 1
            try:
                client.log_metric(run, "value", step, step=step)
            except Exception:  # whatever it was: this value was not acknowledged
                time.sleep(0.1)
                continue
            acknowledged[run].append(step)

    threads = [threading.Thread(target=log, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    print("logging", flush=True)
    for thread in threads:
        thread.join()
    print(json.dumps(acknowledged), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
