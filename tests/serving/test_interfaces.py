"""What programs and other pages see of an endpoint: OpenAPI, details of answers, HEAD and CORS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from mlctl.domain import outputs as meaning
from mlctl.serving.endpoint_spec import ServedVersion
from mlctl.serving.interfaces.details import DetailedAnswers, explain
from mlctl.serving.interfaces.openapi import describe_api
from mlctl.serving.model import ServedModel
from mlctl.serving.payloads.signature import read_signature
from mlctl.serving.prediction import parse_request
from mlctl.serving.router import Route

from .conftest import RunningEndpoint, StartEndpoint

IMAGE = {"inputs": [[[7] * 8 for _ in range(8)]]}
ROUTES = ("/invocations", "/feedback", "/v2/", "/ping", "/version")
PAGE = "https://app.example.com"
PREFLIGHT = {"origin": PAGE, "access_control_request_method": "POST"}


def api_of(model: ServedModel) -> dict[str, Any]:
    """Return the OpenAPI document of a model, without a server."""
    folder = model.folder
    served = ServedVersion(name=folder.name, version="3", uri="", folder=str(folder))
    routes = [Route(path=path, handler=None, methods=("GET",)) for path in ROUTES]  # type: ignore[arg-type]
    return describe_api(model, served, routes=routes)


def validator(api: dict[str, Any], name: str) -> jsonschema.Draft202012Validator:
    """Return what checks a document against a schema of the API, whose references it resolves."""
    schema = {**api["components"]["schemas"][name], "components": api["components"]}
    return jsonschema.Draft202012Validator(schema)


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [name for value in part.values() for name in references(value)]
    return [name for value in part for name in references(value)] if isinstance(part, list) else []


def check_openapi(api: dict[str, Any]) -> None:
    """Check what OpenAPI 3.1 demands of a document."""
    assert api["openapi"].startswith("3.1.")
    assert set(api) <= {"openapi", "info", "paths", "components", "security"}
    assert set(api["info"]) == {"title", "version", "description"}
    for schema in api["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in references(api):
        found = api
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
    identifiers = []
    for path, operations in api["paths"].items():
        assert path.startswith("/")
        for method, operation in operations.items():
            assert method in ("get", "post")
            identifiers.append(operation["operationId"])
            assert operation["responses"]
            for response in operation["responses"].values():
                assert "$ref" in response or response["description"]
            for parameter in operation.get("parameters", ()):
                assert {"name", "in", "schema"} <= set(parameter)
            for media in operation.get("requestBody", {"content": {}})["content"].values():
                jsonschema.Draft202012Validator.check_schema(media["schema"])
    assert len(set(identifiers)) == len(identifiers)


def test_every_models_api_is_valid_and_takes_its_example(
    models: dict[str, Path], named: dict[str, Path]
) -> None:
    for folder in (*models.values(), *named.values()):
        model = ServedModel(folder)
        api = api_of(model)
        check_openapi(api)
        assert model.example is not None
        validator(api, "Request").validate(json.loads(model.example))
        infer = api["paths"][f"/v2/models/{folder.name}/infer"]["post"]["requestBody"]["content"]
        example = infer["application/json"]["examples"]["example"]["value"]
        validator(api, "InferenceRequest").validate(example)
        call = parse_request(model, model.example, "application/json")
        assert call is not None
        served = ServedVersion(name="m", version="3", uri="", folder="")
        detailed = DetailedAnswers(served, model.info.outputs).encode(call.predict(), request_id="seven")
        validator(api, "DetailedAnswer").validate(json.loads(detailed))


def test_pictures_and_files_have_a_content_type(models: dict[str, Path], named: dict[str, Path]) -> None:
    def types(folder: Path) -> set[str]:
        return set(api_of(ServedModel(folder))["paths"]["/invocations"]["post"]["requestBody"]["content"])

    pictures, files = (
        {"image/png", "image/jpeg", "multipart/form-data"},
        {"text/csv", "application/vnd.apache.parquet"},
    )
    assert types(models["pictures"]) == {"application/json"} | pictures
    assert types(models["table"]) == types(named["people"]) == {"application/json"} | files
    assert types(named["tickets"]) == {"application/json"}
    request = validator(api_of(ServedModel(models["pictures"])), "Request")
    request.validate({"inputs": [{"b64": "aGk="}]})
    request.validate({"inputs": ["data:image/png;base64,aGk="]})


WRONG_BODIES = {
    "pictures": [
        {"inputs": [[[7] * 7 for _ in range(8)]]},
        {"inputs": [[[256] * 8 for _ in range(8)]]},
        {"inputs": [[["7"] * 8 for _ in range(8)]]},
        {"inputs": [], "instances": []},
        {},
    ],
    "table": [
        {"dataframe_records": [{"rooms": "many", "place": "INLAND"}]},
        {"dataframe_records": []},
        {"dataframe_split": {"columns": ["rooms"]}},
    ],
}


@pytest.mark.parametrize("name", WRONG_BODIES)
def test_the_schema_refuses_what_the_endpoint_refuses(models: dict[str, Path], name: str) -> None:
    schema = validator(api_of(ServedModel(models[name])), "Request")
    for body in WRONG_BODIES[name]:
        assert not schema.is_valid(body), body


@pytest.mark.unit
def test_columns_of_every_kind_have_a_schema() -> None:
    from mlctl.serving.interfaces.schemas import InputSchemas
    from mlctl.serving.payloads.named_tensors import TensorRules
    from mlctl.serving.payloads.tables import TableRules

    kinds = ("double", "float", "long", "integer", "boolean", "string")
    entries = [{"name": kind, "type": kind, "required": kind != "long"} for kind in kinds]
    signature = read_signature({"inputs": json.dumps(entries)})
    lenient = TableRules(gaps=frozenset({"double"}))
    forms = InputSchemas(
        signature, {"string": ["a", "b"]}, table_rules=lenient, tensor_rules=TensorRules()
    ).forms()
    rows = jsonschema.Draft202012Validator(forms["dataframe_records"])
    good = {"double": None, "float": 1, "long": None, "integer": -1, "boolean": True, "string": "a"}
    rows.validate([good, {**good, "long": 2**63 - 1, "string": "another"}])
    for wrong in ({"integer": 2**31}, {"long": 2**63}, {"integer": None}, {"boolean": 1}, {"string": 1}):
        assert not rows.is_valid([{**good, **wrong}]), wrong
    assert forms["dataframe_records"]["items"]["properties"]["string"]["examples"] == ["a", "b"]
    assert not jsonschema.Draft202012Validator(forms["inputs"]).is_valid([[1]])
    rows.validate([{**good, "unknown": 1}])
    no_gaps = TableRules(extra=False, gaps=frozenset())
    strict = InputSchemas(signature, {}, table_rules=no_gaps, tensor_rules=TensorRules()).forms()
    strict_rows = jsonschema.Draft202012Validator(strict["dataframe_records"])
    strict_rows.validate([{**good, "double": 1}])
    for wrong in ({"double": None}, {"double": 1, "unknown": 1}):
        assert not strict_rows.is_valid([{**good, **wrong}]), wrong


@pytest.mark.live
def test_the_endpoint_describes_itself(pictures: RunningEndpoint) -> None:
    api = pictures.request("/openapi.json").json
    check_openapi(api)
    assert "security" not in api
    known = pictures.request("/nothing").json["hint"].removeprefix("it has ").split(", ")
    pages = {path for path in known if path in ("/", "/docs") or path.endswith("/")}
    assert {"/invocations", "/v2/models/pictures/versions/1/infer", *known} - pages <= set(api["paths"])
    content = api["paths"]["/invocations"]["post"]["responses"]["200"]["content"]["application/json"]
    answered = content["examples"]["example"]["value"]
    validator(api, "Answer").validate(answered)
    assert pictures.request("/docs").headers["content-type"].startswith("text/html")
    assert pictures.request("/docs/docs.js").status == 200
    assert pictures.request("/docs/../app.py").status == 404
    for path in ("/ping", "/version", "/docs", "/openapi.json", "/"):
        got, head = pictures.request(path), pictures.request(path, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-type"] == got.headers["content-type"]
    assert pictures.request("/invocations", method="HEAD").status == 405


@pytest.mark.live
def test_details_say_what_an_answer_means(
    pictures: RunningEndpoint, table: RunningEndpoint, texts: RunningEndpoint
) -> None:
    plain = pictures.post(IMAGE).json["predictions"][0]
    reply = pictures.request(
        "/invocations?details=true",
        json.dumps(IMAGE),
        content_type="application/json",
        x_request_id="seven",
    ).json
    assert (reply["model"], reply["version"], reply["request_id"]) == ("pictures", "1", "seven")
    assert reply["outputs"][0]["classes"] == list("0123456789")
    (row,) = reply["predictions"]
    assert list(row["probabilities"].values()) == plain
    assert row["label"] == str(int(np.argmax(plain)))
    assert row["probability"] == max(plain)
    rows = {"dataframe_records": [{"rooms": 3.0, "age": None, "place": "INLAND"}]}
    value = table.request("/invocations?details=1", json.dumps(rows)).json
    assert value["predictions"] == [{"value": table.post(rows).json["predictions"][0][0], "unit": "USD"}]
    text = {"instances": ["a good film"]}
    (probability,) = texts.post(text).json["predictions"][0]
    (both,) = texts.request("/invocations?details=true", json.dumps(text)).json["predictions"]
    assert both["label"] == ("positive" if probability > 0.5 else "negative")
    assert both["probabilities"]["positive"] == pytest.approx(probability)
    assert pictures.request("/invocations?details=false", json.dumps(IMAGE)).json == {"predictions": [plain]}
    wrong = pictures.request("/invocations?details=maybe", json.dumps(IMAGE))
    assert (wrong.status, wrong.json["hint"]) == (400, "send ?details=true")


@pytest.mark.unit
def test_details_of_every_kind_of_output() -> None:
    shares = np.array([[0.2, 0.7, 0.6]], np.float64)
    assert explain(shares, (meaning.labels("a", "b", "c"),)) == [
        {"labels": ["b", "c"], "probabilities": {"a": 0.2, "b": 0.7, "c": 0.6}}
    ]
    steps = np.array([[[0.9, 0.1], [0.25, 0.75]]])
    assert explain(steps, (meaning.sequence("x", "y"),)) == [
        {"labels": ["x", "y"], "probabilities": [0.9, 0.75]}
    ]
    assert explain(steps[..., 1:], (meaning.pixels("x", "y"),)) == [
        {"shape": [2], "shares": {"x": 0.5, "y": 0.5}}
    ]
    assert explain(np.array([[1.5]]), (meaning.values("h"),)) == [{"value": 1.5, "unit": "h"}]
    assert explain(np.array([1, 2]), ()) == [{"value": 1}, {"value": 2}]
    assert explain(["a", None], ()) == [{"value": "a"}, {"value": None}]
    several = (meaning.classes("no", "yes", name="sure"), meaning.values(name="size"))
    assert explain({"sure": np.array([[0.25]]), "size": np.array([[1.0, 2.0]])}, several) == {
        "sure": [{"label": "no", "probability": 0.75, "probabilities": {"no": 0.75, "yes": 0.25}}],
        "size": [{"value": [1.0, 2.0]}],
    }
    same_names = explain(np.array([[0.4, 0.6]]), (meaning.classes("x", "x"),))
    assert same_names[0]["probabilities"] == {"0": 0.4, "1": 0.6}  # type: ignore[index]


@pytest.mark.live
def test_other_sites_pages_may_use_the_endpoint_if_they_are_named(
    models: dict[str, Path], serve: StartEndpoint, tmp_path: Path
) -> None:
    from mlctl.services.serving import keys

    key = keys.create_key(tmp_path / "keys", "anna").secret
    endpoint = serve(models["pictures"], cors=(PAGE,), key_file=str(tmp_path / "keys"))
    asked = endpoint.request(
        method="OPTIONS", **PREFLIGHT, access_control_request_headers="authorization, content-type"
    )
    assert asked.status == 200
    assert asked.headers["access-control-allow-origin"] == PAGE
    assert asked.headers["access-control-allow-headers"] == "authorization, content-type"
    assert asked.headers["access-control-allow-methods"] == "POST"
    answer = endpoint.post(IMAGE, origin=PAGE, authorization=f"Bearer {key}")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    assert endpoint.post(IMAGE, origin=PAGE).status == 401
    other = endpoint.request(method="OPTIONS", **{**PREFLIGHT, "origin": "https://other.example.com"})
    assert (other.status, other.json["error_code"]) == (403, "ORIGIN_REFUSED")
    unknown = endpoint.post(IMAGE, origin="null", authorization=f"Bearer {key}")
    assert "access-control-allow-origin" not in unknown.headers
    assert unknown.headers["vary"] == "origin"
    for reply in (asked, answer, other, unknown):
        assert "access-control-allow-credentials" not in reply.headers
    protected = endpoint.request("/openapi.json", authorization=f"Bearer {key}").json
    check_openapi(protected)
    assert protected["security"] == [{"apiKey": []}]
    assert protected["paths"]["/ping"]["get"]["security"] == []
    assert protected["paths"]["/v2/health/live"]["get"]["security"] == []
    assert endpoint.request("/v2/health/ready").status == 200
    refused = endpoint.request("/v2/models/pictures")
    assert (refused.status, list(refused.json)) == (401, ["error"])
    endpoint.stop()


@pytest.mark.unit
def test_any_origin_gets_no_credentials() -> None:
    from mlctl.serving.interfaces.cors import CorsPolicy

    policy = CorsPolicy(["*"])
    headers = dict(policy.headers({b"origin": b"https://a.example"}))
    assert headers[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in headers
    assert policy.preflight({b"origin": b"https://a.example"}, ("POST",)).status == 200
    assert not policy.preflight(
        {b"origin": b"https://a.example", b"access-control-request-headers": b"a\r\nb: c"}, ()
    ).headers[2:]


@pytest.mark.unit
@pytest.mark.parametrize(
    "origin", ["app.example.com", "https://app.example.com/", "https://", "null", "ftp://a"]
)
def test_an_origin_has_a_scheme_and_no_path(origin: str, tmp_path: Path) -> None:
    from mlctl import settings
    from mlctl.errors import UsageError
    from mlctl.services.serving.serve import EndpointOptions, serve

    with pytest.raises(UsageError, match="--cors"):
        serve(settings.load(), EndpointOptions(model=str(tmp_path), cors=(origin,)))
