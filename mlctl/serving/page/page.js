// The web page of an endpoint: it reads /model, builds a form for the model's input, and shows the answer.
"use strict";

const SHEET_SIZE = 280;     // side of the drawing area, in pixels
const PEN_WIDTH = 22;
const SMALL_HEIGHT = 16;    // as in `mlctl predict`: a drawing fills images up to this height; larger ones have a margin
const MARGIN = 4 / 28;
const INK_THRESHOLD = 0.15; // fainter pixels do not count when the edges of the drawing are searched
const MAX_BARS = 12;

const byId = (id) => document.getElementById(id);
let model = null;

function createElement(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// A page that was opened as http://user:key@host may not fetch such addresses itself; the browser adds the key.
function address(path) {
  const url = new URL(path, location.href);
  url.username = url.password = "";
  return url.href;
}

async function start() {
  const reply = await fetch(address("model"));
  if (!reply.ok) return showError(await reply.json());
  model = await reply.json();
  document.title = `${model.name} ${model.version}`.trim();
  byId("name").textContent = model.name + " ";
  if (model.version) byId("name").append(createElement("span", `version ${model.version}`));
  byId("about").textContent = [model.recipe && `recipe ${model.recipe}`, model.task, model.runtime].filter(Boolean).join(" · ");
  showSignature();
  const shape = model.tensor && model.tensor.shape.slice(1);
  const gray = shape && (shape.length === 2 || (shape.length === 3 && shape[2] === 1)) && Math.min(...shape) > 0;
  if (gray && shape[0] > 1) addDrawing(shape);
  else if (model.columns.length === 1 && model.columns[0].kind === "string") addTextBox(model.columns[0]);
  else if (model.columns.length) addFields();
  else addJsonBox();
  showPrograms(model.example || { inputs: [] });
}

function showSignature() {
  const rows = model.tensor
    ? [["tensor", model.tensor.dtype, `(${model.tensor.shape.map((n) => (n < 0 ? "n" : n)).join(", ")})`]]
    : model.columns.map((column) => [column.name, column.kind, column.required ? "" : "optional"]);
  for (const row of rows) {
    const line = byId("signature").appendChild(createElement("tr"));
    row.forEach((text, index) => line.append(createElement(index ? "td" : "th", text)));
  }
  if (!rows.length) byId("signature").append(createElement("caption", "The model has no simple signature."));
}

function addButtons(clear) {
  byId("form").append(createElement("button", "Predict", { type: "submit", id: "predict" }));
  const second = createElement("button", "Clear", { type: "button", class: "second", id: "clear" });
  second.addEventListener("click", () => { clear(); show("No answer yet"); byId("bars").replaceChildren(); });
  byId("form").append(second);
}

function onSubmit(payload) {
  byId("form").addEventListener("submit", (event) => { event.preventDefault(); requestPrediction(payload()); });
}

// --- drawing -------------------------------------------------------------------------------

function addDrawing(shape) {
  const canvas = createElement("canvas", "", { id: "sheet", width: SHEET_SIZE, height: SHEET_SIZE, "aria-label": "draw here", tabindex: "0" });
  const preview = createElement("canvas", "", { class: "preview", width: shape[1], height: shape[0], "aria-label": "what the model sees" });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const wipe = () => {
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, SHEET_SIZE, SHEET_SIZE);
    preview.getContext("2d").clearRect(0, 0, shape[1], shape[0]);
  };
  wipe();
  pen.strokeStyle = "#fff";
  pen.lineWidth = PEN_WIDTH;
  pen.lineCap = pen.lineJoin = "round";
  const position = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * SHEET_SIZE / box.width, (event.clientY - box.top) * SHEET_SIZE / box.height];
  };
  let down = false;
  canvas.addEventListener("pointerdown", (event) => {
    down = true;
    canvas.setPointerCapture(event.pointerId);
    pen.beginPath();
    pen.moveTo(...position(event));
    pen.lineTo(...position(event));
    pen.stroke();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!down) return;
    pen.lineTo(...position(event));
    pen.stroke();
  });
  const payload = () => {
    const light = fitDrawing(pen.getImageData(0, 0, SHEET_SIZE, SHEET_SIZE).data, shape[0], shape[1]);
    showModelInput(preview, light);
    const isInteger = /int/.test(model.tensor.dtype);
    const scale = model.full_scale || 1;
    const pixel = (value) => (isInteger ? Math.round(value * scale) : Math.round(value * scale * 1000) / 1000);
    const row = (line) => line.map((value) => (shape.length === 3 ? [pixel(value)] : pixel(value)));
    return { inputs: [light.map(row)] };
  };
  const up = () => { if (down) { down = false; requestPrediction(payload()); } };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  byId("form").append(canvas, preview);
  addButtons(wipe);
  onSubmit(payload);
}

// Crop the drawing and fit it into the frame; each pixel is the mean of the area that it covers.
function fitDrawing(data, height, width) {
  const light = (x, y) => data[4 * (y * SHEET_SIZE + x)] / 255;
  let top = SHEET_SIZE, left = SHEET_SIZE, bottom = 0, right = 0;
  for (let y = 0; y < SHEET_SIZE; y++) for (let x = 0; x < SHEET_SIZE; x++) if (light(x, y) > INK_THRESHOLD) {
    top = Math.min(top, y); bottom = Math.max(bottom, y + 1); left = Math.min(left, x); right = Math.max(right, x + 1);
  }
  const frame = Array.from({ length: height }, () => new Array(width).fill(0));
  if (bottom <= top) return frame;
  const margin = height <= SMALL_HEIGHT ? 0 : MARGIN;
  const scale = Math.min(height * (1 - 2 * margin) / (bottom - top), width * (1 - 2 * margin) / (right - left));
  const high = Math.max(1, Math.round((bottom - top) * scale)), wide = Math.max(1, Math.round((right - left) * scale));
  const down = Math.floor((height - high) / 2), over = Math.floor((width - wide) / 2);
  let brightest = 1e-6;
  for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) {
    const fromY = top + y * (bottom - top) / high, toY = top + (y + 1) * (bottom - top) / high;
    const fromX = left + x * (right - left) / wide, toX = left + (x + 1) * (right - left) / wide;
    let sum = 0, count = 0;
    for (let sy = Math.floor(fromY); sy < Math.max(toY, fromY + 1); sy++)
      for (let sx = Math.floor(fromX); sx < Math.max(toX, fromX + 1); sx++) { sum += light(Math.min(sx, SHEET_SIZE - 1), Math.min(sy, SHEET_SIZE - 1)); count++; }
    frame[down + y][over + x] = sum / count;
    brightest = Math.max(brightest, sum / count);
  }
  return frame.map((line) => line.map((value) => value / brightest));
}

function showModelInput(canvas, light) {
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  light.flat().forEach((value, index) => image.data.set([value * 255, value * 255, value * 255, 255], 4 * index));
  pen.putImageData(image, 0, 0);
}

// --- other forms --------------------------------------------------------------------------------------

function addTextBox(column) {
  const box = createElement("textarea", "", { id: "text", "aria-label": column.name, placeholder: "Write a text." });
  byId("form").append(box);
  addButtons(() => { box.value = ""; });
  onSubmit(() => ({ dataframe_split: { columns: [column.name], data: [[box.value]] } }));
}

function addFields() {
  const first = exampleRow();
  const inputs = model.columns.map((column) => {
    const label = createElement("label", column.name + (column.required ? "" : " (optional)"));
    const numeric = column.kind !== "string" && column.kind !== "boolean";
    const input = createElement("input", "", { name: column.name, type: numeric ? "number" : "text", step: "any" });
    input.value = first[column.name] ?? "";
    label.append(input);
    byId("form").append(label);
    return () => {
      if (input.value === "" && (numeric || !column.required)) return null;
      if (column.kind === "boolean") return input.value.trim().toLowerCase() === "true";
      return numeric ? Number(input.value) : input.value;
    };
  });
  addButtons(() => byId("form").querySelectorAll("input").forEach((input) => { input.value = ""; }));
  onSubmit(() => ({ dataframe_split: { columns: model.columns.map((column) => column.name), data: [inputs.map((value) => value())] } }));
}

function exampleRow() {
  const split = model.example && model.example.dataframe_split;
  return split ? Object.fromEntries(split.columns.map((name, index) => [name, split.data[0][index]])) : {};
}

function addJsonBox() {
  const box = createElement("textarea", JSON.stringify(model.example || { inputs: [] }), { id: "text", "aria-label": "JSON" });
  byId("form").append(box);
  addButtons(() => { box.value = ""; });
  onSubmit(() => { try { return JSON.parse(box.value); } catch (error) { showError({ message: String(error) }); return null; } });
}

// --- requests and answers -------------------------------------------------------------------------------

let lastRequest = 0;

async function requestPrediction(payload) {
  if (!payload) return;
  const request = ++lastRequest;
  showPrograms(payload);
  try {
    const reply = await fetch(address("invocations"), {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(payload),
    });
    const document = await reply.json();
    if (request !== lastRequest) return;  // a newer request is under way
    if (reply.ok) showPredictions(document.predictions);
    else showError(document);
  } catch (error) {
    showError({ message: "the endpoint does not answer", hint: String(error) });
  }
}

function showError(error) {
  byId("bars").replaceChildren();
  show([error.message, error.hint].filter(Boolean).join(" — "), true);
}

function show(text, isError = false) {
  byId("answer").textContent = text;
  byId("answer").classList.toggle("wrong", isError);
}

function showPredictions(predictions) {
  const row = Array.isArray(predictions) ? [predictions[0]].flat() : null;
  if (!row || !row.every((value) => typeof value === "number")) return show(JSON.stringify(predictions));
  const classes = model.classes;
  if (!classes.length) return show(formatValue(row[0]));
  const probabilities = classes.length === 2 && row.length === 1 ? [1 - row[0], row[0]] : row;
  const best = probabilities.indexOf(Math.max(...probabilities));
  const digit = model.tensor && /^\d$/.test(classes[best]);
  show(digit ? `This number is a${classes[best] === "8" ? "n" : ""} ${classes[best]}` : classes[best]);
  const order = probabilities.map((_, index) => index);
  if (probabilities.length > MAX_BARS) order.sort((a, b) => probabilities[b] - probabilities[a]);
  byId("bars").replaceChildren(...order.slice(0, MAX_BARS).map((index) => {
    const bar = createElement("div", "", { class: index === best ? "bar best" : "bar" });
    const length = createElement("i");
    length.style.width = `${100 * probabilities[index]}%`;
    const track = createElement("div");
    track.append(length);
    bar.append(createElement("span", classes[index] ?? String(index)), track, createElement("span", `${(100 * probabilities[index]).toFixed(1)} %`));
    return bar;
  }));
}

function formatValue(value) {
  if (/^[A-Z]{3}$/.test(model.unit)) {
    return new Intl.NumberFormat("en", { style: "currency", currency: model.unit, maximumFractionDigits: 0 }).format(value);
  }
  return `${Number(value.toPrecision(5))} ${model.unit}`.trim();
}

function showPrograms(payload) {
  const url = address("invocations");
  const body = JSON.stringify(payload);
  const quoted = body.replaceAll("'", "'\\''");
  const curl = [`curl ${url}`, "-H 'Content-Type: application/json'"];
  if (model.keys) curl.push('-H "Authorization: Bearer $API_KEY"');
  byId("curl").textContent = [...curl, `-d '${quoted}'`].join(" \\\n  ");
  const key = model.keys ? ',\n                      headers={"Authorization": "Bearer API_KEY"}' : "";
  byId("python").textContent =
    `import json, requests\n\npayload = json.loads(${JSON.stringify(body)})\n` +
    `reply = requests.post(${JSON.stringify(url)}, json=payload${key})\nprint(reply.json()["predictions"])`;
}

start();
