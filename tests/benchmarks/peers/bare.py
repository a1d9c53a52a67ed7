"""The lower limit: ASGI and ONNX Runtime without any validation."""

import os

import numpy as np
import onnxruntime
import orjson

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["BENCH_ONNX"], options)
name = session.get_inputs()[0].name
HEADERS = [(b"content-type", b"application/json")]


async def app(scope, receive, send) -> None:
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    x = np.array(orjson.loads(body)["inputs"], dtype="float32")[..., np.newaxis] / 255
    answer = orjson.dumps({"predictions": session.run(None, {name: x})[0].tolist()})
    headers = [*HEADERS, (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
