"""Lookups, bags and texts as ONNX operators.

ONNX has no operator that replaces a part of a text. ONNX Runtime's Tokenizer splits a text at the matches of a
regular expression, and a loop joins the pieces again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from mlctl.adapters.models.onnx_nodes import NodeWriter

ML_DOMAIN, CONTRIB_DOMAIN = "ai.onnx.ml", "com.microsoft"
WHITESPACE = r"[ \t\n\v\f\r]+"  # what TensorFlow splits at
_UNKNOWN = -2  # no table has this value
Description = Mapping[str, Any]


def write_lookup(write: NodeWriter, inputs: Sequence[str], output: str, description: Description) -> None:
    """Look up each key in a table. If it is strict, ONNX Runtime fails for an unknown key, as Keras does."""
    if not description["strict"]:
        _label_encoder(write, inputs[0], output, description)
        return
    found = _label_encoder(write, inputs[0], "", {**description, "default": _UNKNOWN})
    is_unknown = write.node("Equal", [found, write.constant(_UNKNOWN)])
    index = write.node("Cast", [is_unknown], to=TensorProto.INT64)
    nothing = write.node("Gather", [write.constant(np.array([0])), index])  # index 1 is out of bounds
    write.node("Add", [found, nothing], output)


def write_bag(write: NodeWriter, indices: str, output: str, depth: int, mode: str, weights: str = "") -> None:
    """Write rows (n, depth) that mark ("multi_hot") or count the indices (n, length); others are left out."""
    below = write.node("Less", [indices, write.constant(0)])
    above = write.node("GreaterOrEqual", [indices, write.constant(depth)])
    is_outside = write.node("Or", [below, above])
    columns = write.node("Where", [is_outside, write.constant(depth), indices])
    ones = weights or write.node("Expand", [write.constant(np.float32(1)), write.node("Shape", [indices])])
    rows = write.node("Shape", [indices], start=0, end=1)
    shape = write.node("Concat", [rows, write.constant(np.array([depth + 1]))], axis=0)
    zeros = write.node("Expand", [write.constant(np.float32(0)), shape])
    reduction = {} if mode == "multi_hot" else {"reduction": "add"}
    bag = write.node("ScatterElements", [zeros, columns, ones], axis=1, **reduction)
    _slice(write, bag, 0, depth, output)


def write_case(write: NodeWriter, inputs: Sequence[str], output: str, description: Description) -> None:
    """Change the case of ASCII letters, as TensorFlow does."""

    def change(texts: str, changed: str) -> None:
        # the locale C has ASCII letters only, and every machine has it
        write.node(
            "StringNormalizer", [texts], changed, case_change_action=description["kind"].upper(), locale="C"
        )

    _on_flat(write, inputs[0], output, change)


def write_strip(write: NodeWriter, inputs: Sequence[str], output: str, description: Description) -> None:
    """Remove whitespace at both ends of each text."""
    pattern = r"[^ \t\n\v\f\r](.*[^ \t\n\v\f\r])?"

    def strip(texts: str, stripped: str) -> None:
        _join(write, _tokenize(write, texts, tokenexp=pattern), "", stripped)

    _on_flat(write, inputs[0], output, strip)


def write_replace(write: NodeWriter, inputs: Sequence[str], output: str, description: Description) -> None:
    """Replace the matches of a regular expression. Neighbouring matches are replaced by one replacement."""
    pattern, rewrite = (_text(description[key]) for key in ("pattern", "rewrite"))

    def replace(texts: str, replaced: str) -> None:
        _join(write, _tokenize(write, texts, separators=[pattern]), rewrite, replaced)

    _on_flat(write, inputs[0], output, replace)


def write_texts(write: NodeWriter, inputs: Sequence[str], output: str, description: Description) -> None:
    """Split texts (n,) into words or characters, look these up and encode them: a TextVectorization layer."""
    words = inputs[0]
    if description["split"]:
        # an empty separator splits after each character
        separator = WHITESPACE if description["split"] == "whitespace" else ""
        words = _tokenize(write, words, separators=[separator])
    parts = [_ngrams(write, words, width) for width in description["ngrams"] or (1,)]
    words = parts[0] if len(parts) == 1 else write.node("Concat", parts, axis=1)
    is_word = write.node("Not", [write.node("Equal", [words, write.constant(_texts(""))])])
    found = _label_encoder(write, words, "", description)
    mode, depth, length = description["mode"], description["depth"], description["length"]
    if mode != "int":
        indices = write.node("Where", [is_word, found, write.constant(depth)])
        bag = write.name("bag")
        write_bag(write, indices, output if mode != "tf_idf" else bag, depth, mode)
        if mode == "tf_idf":
            write.node("Mul", [bag, write.constant(np.asarray(description["weights"], np.float32))], output)
        return
    ids = write.node("Where", [is_word, found, write.constant(0)])
    if len(parts) > 1:  # each width has gaps at its end
        ids = _compact(write, ids, is_word)
    if length is None:
        write.node("Identity", [ids], output)
        return
    padding = write.constant(np.array([0, 0, 0, length]))
    _slice(write, write.node("Pad", [ids, padding, write.constant(0)]), 0, length, output)


def _compact(write: NodeWriter, ids: str, is_word: str) -> str:
    """Move the ids (n, length) of words to the front of each row."""
    present = write.node("Cast", [is_word], to=TensorProto.INT64)
    ends = write.node("CumSum", [present, write.constant(1)])
    longest = write.node("ReduceMax", [ends], keepdims=0)
    places = write.node("Sub", [ends, write.constant(1)])
    places = write.node("Where", [is_word, places, longest])  # a last column, which is cut off
    one = write.constant(np.array([1]))
    columns = write.node("Unsqueeze", [longest, write.constant(np.array([0]))])
    width = write.node("Add", [columns, one])
    rows = write.node("Shape", [ids], start=0, end=1)
    shape = write.node("Concat", [rows, width], axis=0)
    zeros = write.node("Expand", [write.constant(0), shape])
    moved = write.node("ScatterElements", [zeros, places, ids], axis=1)
    return write.node("Slice", [moved, write.constant(np.array([0])), columns, one])


def _ngrams(write: NodeWriter, words: str, width: int) -> str:
    """Return the n-grams (n, length - width + 1) of words (n, length), with "" where a row has no more words."""
    if width == 1:
        return words
    # a row shorter than `width` needs columns too
    padding = write.node("Expand", [write.constant(_texts("")), _row_shape(write, words, width - 1)])
    padded = write.node("Concat", [words, padding], axis=1)
    count = write.node("Shape", [words], start=1, end=2)
    one = write.constant(np.array([1]))
    joined = last = words
    for offset in range(1, width):
        start = write.constant(np.array([offset]))
        end = write.node("Add", [count, start])
        last = write.node("Slice", [padded, start, end, one])
        joined = write.node("StringConcat", [joined, write.constant(_texts(" "))])
        joined = write.node("StringConcat", [joined, last])
    empty = write.constant(_texts(""))
    return write.node("Where", [write.node("Equal", [last, empty]), empty, joined])


def _row_shape(write: NodeWriter, rows: str, width: int) -> str:
    count = write.node("Shape", [rows], start=0, end=1)
    return write.node("Concat", [count, write.constant(np.array([width]))], axis=0)


def _label_encoder(write: NodeWriter, keys: str, output: str, description: Description) -> str:
    """Add a LabelEncoder for a table of texts or integers."""
    attributes: dict[str, Any] = {}
    for name, items in (("keys", description["keys"]), ("values", description["values"])):
        example = items[0] if items else description["default"]
        attributes[f"{name}_{'strings' if isinstance(example, str) else 'int64s'}"] = items
    default = description["default"]
    attributes[f"default_{'string' if isinstance(default, str) else 'int64'}"] = default
    if "keys_int64s" in attributes:
        keys = write.node("Cast", [keys], to=TensorProto.INT64)
    return write.node("LabelEncoder", [keys], output, domain=ML_DOMAIN, **attributes)


def _tokenize(write: NodeWriter, texts: str, **options: Any) -> str:
    """Split texts (n,) into pieces (n, k), padded with ""; empty pieces are left out."""
    return write.node(
        "Tokenizer", [texts], domain=CONTRIB_DOMAIN, mark=0, mincharnum=1, pad_value="", **options
    )


def _join(write: NodeWriter, pieces: str, between: str, output: str) -> None:
    """Join the pieces (n, k) of each text, with `between` between them."""
    one_text = write.node("Shape", [pieces], start=0, end=1)
    count = write.node("Squeeze", [write.node("Shape", [pieces], start=1, end=2)])
    empty = write.node("Expand", [write.constant(_texts("")), one_text])
    body = NodeWriter(write.name("loop"))
    texts, number, go_on = body.name("texts"), body.name("number"), body.name("go_on")
    piece = body.node("Gather", [pieces, number], axis=1)
    if between:
        nothing, separator = body.constant(_texts("")), body.constant(_texts(between))
        is_first = body.node("Equal", [texts, nothing])
        is_last = body.node("Equal", [piece, nothing])
        glue = body.node("Where", [body.node("Or", [is_first, is_last]), nothing, separator])
        piece = body.node("StringConcat", [glue, piece])
    joined = body.node("StringConcat", [texts, piece])
    still = body.node("Identity", [go_on])
    graph = helper.make_graph(
        body.nodes,
        "join",
        [
            helper.make_tensor_value_info(number, TensorProto.INT64, []),
            helper.make_tensor_value_info(go_on, TensorProto.BOOL, []),
            helper.make_tensor_value_info(texts, TensorProto.STRING, [None]),
        ],
        [
            helper.make_tensor_value_info(still, TensorProto.BOOL, []),
            helper.make_tensor_value_info(joined, TensorProto.STRING, [None]),
        ],
        body.initializers,
    )
    write.node("Loop", [count, "", empty], output, body=graph)


def _on_flat(write: NodeWriter, texts: str, output: str, change: Any) -> None:
    """Apply a change of texts (n,) to texts of any shape."""
    flat = write.node("Reshape", [texts, write.constant(np.array([-1]))])
    changed = write.name("changed")
    change(flat, changed)
    write.node("Reshape", [changed, write.node("Shape", [texts])], output)


def _slice(write: NodeWriter, rows: str, start: int, end: int, output: str) -> None:
    bounds = [write.constant(np.array([value])) for value in (start, end, 1)]
    write.node("Slice", [rows, *bounds], output)


def _texts(text: str) -> Any:
    return np.array(text, object)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
