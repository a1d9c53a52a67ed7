"""The content types of a request's body."""

from __future__ import annotations

from email.message import Message
from functools import lru_cache

from mlctl.serving.payloads.request_error import quote, unsupported_media_type

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
PARQUET_TYPES = (PARQUET, "application/x-parquet", "application/parquet")


@lru_cache(maxsize=32)
def parse_content_type(content_type: str) -> str:
    """Return JSON, CSV or PARQUET. Raises RequestError (415) for another type, parameter or charset."""
    if content_type in ("", JSON):
        return JSON
    header = Message()
    header["content-type"] = content_type
    kind = header.get_content_type() if "/" in content_type else content_type
    if kind not in (JSON, CSV, *PARQUET_TYPES):
        raise unsupported_media_type(
            f"content type {quote(content_type)} is not supported",
            f"send {JSON}; a model of tables also takes {CSV} and {PARQUET}",
        )
    for name, value in header.get_params([])[1:]:
        if name.lower() != "charset":
            raise unsupported_media_type(
                f"the parameter {quote(name)} of the content type is not supported", "remove it"
            )
        if str(value).lower() not in ("utf-8", "utf8"):
            raise unsupported_media_type(f"charset {quote(str(value))} is not supported", "send UTF-8")
    return PARQUET if kind in PARQUET_TYPES else kind
