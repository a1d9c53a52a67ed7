"""Log values from many threads for some seconds, or until SIGTERM; print the acknowledged steps of each run."""

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
    deadline = time.monotonic() + seconds
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())

    def log(run: str) -> None:
        client, step = MlflowClient(), 0
        while time.monotonic() < deadline and not stopped.is_set():
            step += 1
            try:
                client.log_metric(run, "value", step, step=step)
            except Exception:  # for whatever reason, the server did not acknowledge this value
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
