"""Log values from many threads for a while, or until SIGTERM; print the steps that were acknowledged, by run."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time

from mlflow import MlflowClient


def main(clients: int, seconds: float) -> None:
    runs = [MlflowClient().create_run("0").info.run_id for _ in range(clients)]
    acknowledged: dict[str, list[int]] = {run: [] for run in runs}
    until = time.monotonic() + seconds
    enough = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: enough.set())

    def log(run: str) -> None:
        client, step = MlflowClient(), 0
        while time.monotonic() < until and not enough.is_set():
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
