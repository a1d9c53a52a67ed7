// The web page of an endpoint: it reads /model, builds a form for the model's input, and shows the answer.
"use strict";

const SHEET_SIZE = 280;     // side of the drawing area, in pixels
const PEN_WIDTH = 22;
const SMALL_HEIGHT = 16;    // as in `mlctl predict`: a drawing fills images up to this height; larger ones have a margin
const MARGIN = 4 / 28;
const INK_THRESHOLD = 0.15; // fainter pixels do not count when the edges of the drawing are searched
const MAX_BARS = 12;
const MAX_NUMBERS = 8;      // numbers of a row that are shown one by one
const THRESHOLD = 0.5;      // a label applies if its probability is higher
const MAX_CHOICES = 100;    // more categories than this are suggested while one types
const UNITS = [["year", 31_557_600], ["month", 2_629_800], ["day", 86_400], ["hour", 3600], ["minute", 60]];

let model = null;

async function start() {
  const reply = await fetch(address("model"));
  if (!reply.ok) return showError(await reply.json());
  model = await reply.json();
  document.title = `${model.name} ${model.version}`.trim();
  byId("name").textContent = model.name + " ";
  if (model.version) byId("name").append(createElement("span", `version ${model.version}`));
  byId("about").textContent = [model.recipe && `recipe ${model.recipe}`, model.task, model.runtime].filter(Boolean).join(" · ");
  if (model.created) showAge(new Date(model.created));
  showSignature();
  const shape = model.tensor && model.tensor.shape.slice(1);
  const gray = shape && (shape.length === 2 || (shape.length === 3 && shape[2] === 1)) && Math.min(...shape) > 0;
  if (gray && shape[0] > 1) addDrawing(shape);
  else if (model.columns.length === 1 && model.columns[0].kind === "string") addTextBox(model.columns[0]);
  else if (model.columns.length) addFields();
  else if (!model.tensor && model.inputs.length) addTensorFields();
  else if (model.tensor && model.tensor.dtype === "str" && isScalar(model.tensor)) addTextBox({ name: "text" });
  else if (!model.pictures) addJsonBox();
  if (model.pictures) addUpload(shape, gray);
  if (model.pictures && !gray) showPicturePrograms("picture.png", "image/png");
  else showPrograms(model.example || { inputs: [] });
  document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", () => copyCode(button, byId(button.dataset.of))));
}

function showAge(created) {
  const seconds = (Date.now() - created) / 1000;
  const [unit, size] = UNITS.find(([, length]) => seconds >= length) || ["second", 1];
  const age = new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(-Math.floor(Math.max(0, seconds) / size), unit);
  const time = createElement("time", `trained ${age}`, { datetime: created.toISOString(), title: created.toLocaleString() });
  byId("about").append(byId("about").textContent && " · ", time);
}

function showSignature() {
  const length = (shape) => `(${shape.map((n) => (n < 0 ? "n" : n)).join(", ")})`;
  const inputs = model.inputs.length
    ? model.inputs.map((input) => [input.name || "tensor", input.dtype, length(input.shape)])
    : model.columns.map((column) => [column.name, column.kind, column.required ? "" : "optional"]);
  fillTable("signature", inputs);
  if (!inputs.length) byId("signature").append(createElement("caption", "The model has no simple signature."));
  fillTable("outputs", model.outputs.map((output) => [
    output.name || "answer", output.kind || output.dtype || "", output.shape ? length(output.shape) : "",
    (output.classes || []).slice(0, MAX_BARS).join(", ") || output.unit || "",
  ]));
}

function fillTable(id, rows) {
  for (const row of rows) {
    const line = byId(id).appendChild(createElement("tr"));
    row.forEach((text, index) => line.append(createElement(index ? "td" : "th", text)));
  }
}

// Whether a row is one value, or a list of one.
function isScalar(tensor) {
  return tensor.shape.length === 1 || (tensor.shape.length === 2 && tensor.shape[1] === 1);
}

// `fill` shows the example that was logged with the model.
function addButtons(clear, fill) {
  byId("form").append(createElement("button", "Predict", { type: "submit", id: "predict" }));
  if (model.example) addButton("Example", "example", () => { fill(); byId("form").requestSubmit(); });
  addButton("Clear", "clear", () => { clear(); lastRequest++; show("No answer yet"); byId("bars").replaceChildren(); });
}

function addButton(text, id, press) {
  const button = createElement("button", text, { type: "button", class: "second", id });
  button.addEventListener("click", press);
  byId("form").append(button);
}

function onSubmit(payload) {
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    lastRequest += 1;  // an earlier answer that is still to come must not replace what the form says now
    requestPrediction(payload());
  });
}

// --- drawing -------------------------------------------------------------------------------

function addDrawing(shape) {
  const canvas = createElement("canvas", "", { id: "sheet", width: SHEET_SIZE, height: SHEET_SIZE, "aria-label": "draw here", tabindex: "0" });
  const preview = createElement("canvas", "", { class: "preview", width: shape[1], height: shape[0], "aria-label": "what the model sees" });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  let example = null;  // the example, as long as nothing is drawn over it
  const wipe = () => {
    example = null;
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
    example = null;
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
  const showExample = () => {
    wipe();
    example = model.example;
    showModelInput(preview, example.inputs[0].map((line) => line.map((cell) => Number(cell) / (model.full_scale || 1))));
    pen.imageSmoothingEnabled = false;
    pen.drawImage(preview, 0, 0, SHEET_SIZE, SHEET_SIZE);
  };
  const payload = () => {
    if (example) return example;
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
  const drawing = createElement("div", "", { class: "drawing" });
  drawing.append(
    createFigure("Draw here with mouse or finger", canvas),
    createFigure(`What the model sees: ${shape[1]}x${shape[0]} pixels`, preview),
  );
  byId("form").append(drawing);
  addButtons(wipe, showExample);
  onSubmit(payload);
}

function createFigure(caption, picture) {
  const figure = createElement("figure");
  figure.append(createElement("figcaption", caption), picture);
  return figure;
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
  addButtons(() => { box.value = ""; }, () => {
    const { inputs, dataframe_split: split } = model.example;
    box.value = String(split ? split.data[0][0] : inputs.flat(Infinity)[0]);
  });
  onSubmit(() => (model.tensor
    ? { inputs: [model.tensor.shape.length === 1 ? box.value : [box.value]] }
    : { dataframe_split: { columns: [column.name], data: [[box.value]] } }));
}

function addFields() {
  const first = exampleRow(), fills = [];
  const inputs = model.columns.map((column) => {
    const label = createElement("label", column.name + (column.required ? "" : " (optional)"));
    const numeric = column.kind !== "string" && column.kind !== "boolean";
    const input = createField(column, numeric);
    const fill = () => { input.value = first[column.name] ?? ""; };
    fill();
    fills.push(fill);
    label.append(input);
    byId("form").append(label);
    return () => {
      if (input.value === "" && (numeric || !column.required)) return null;
      if (column.kind === "boolean") return input.value.trim().toLowerCase() === "true";
      return numeric ? Number(input.value) : input.value;
    };
  });
  addButtons(emptyFields, () => fills.forEach((fill) => fill()));
  onSubmit(() => {
    const row = inputs.map((value) => value());
    const empty = model.columns.find((column, index) => column.required && row[index] === null);
    if (empty) return void showError({ message: `${empty.name}: enter a number; this column had no gaps in training` });
    return { dataframe_split: { columns: model.columns.map((column) => column.name), data: [row] } };
  });
}

function emptyFields() {
  byId("form").querySelectorAll("input, select, textarea").forEach((field) => { field.value = ""; });
}

// Return a list of the categories, a field that suggests them if they are many, or a field for any value.
function createField(column, numeric) {
  const choices = column.kind === "boolean" ? ["true", "false"] : numeric ? [] : model.choices[column.name] || [];
  const field = createElement(choices.length && choices.length <= MAX_CHOICES ? "select" : "input", "", { name: column.name });
  const options = ["", ...choices].map((choice) => createElement("option", choice, { value: choice }));
  if (field.tagName === "SELECT") {
    field.append(...options);
    return field;
  }
  field.type = numeric ? "number" : "text";
  field.step = "any";
  if (choices.length) {
    const list = byId("form").appendChild(createElement("datalist", "", { id: `choices-${column.name}` }));
    list.append(...options.slice(1));
    field.setAttribute("list", list.id);
  }
  return field;
}

function exampleRow() {
  const split = model.example && model.example.dataframe_split;
  return split ? Object.fromEntries(split.columns.map((name, index) => [name, split.data[0][index]])) : {};
}

// A field for each named tensor: the value of one row, as JSON if it is a list.
function addTensorFields() {
  const example = (model.example && model.example.inputs) || {};
  const fills = [];
  const readers = model.inputs.map((tensor) => {
    const row = example[tensor.name] === undefined ? "" : example[tensor.name][0];
    const value = Array.isArray(row) && isScalar(tensor) ? row[0] : row;
    const label = createElement("label", tensor.name);
    const numeric = /int|float/.test(tensor.dtype);
    const field = isScalar(tensor)
      ? createElement("input", "", { name: tensor.name, type: numeric ? "number" : "text", step: "any" })
      : createElement("textarea", "", { name: tensor.name, class: "row" });
    const fill = () => { field.value = Array.isArray(value) ? JSON.stringify(value) : String(value); };
    fill();
    fills.push(fill);
    label.append(field);
    byId("form").append(label);
    return () => {
      if (!isScalar(tensor)) return parseJson(field.value, tensor.name);
      if (tensor.dtype === "bool") return field.value.trim().toLowerCase() === "true";
      return numeric ? (field.value === "" ? null : Number(field.value)) : field.value;
    };
  });
  addButtons(emptyFields, () => fills.forEach((fill) => fill()));
  onSubmit(() => {
    try {
      const values = readers.map((read, index) => (model.inputs[index].shape.length === 2 && isScalar(model.inputs[index]) ? [read()] : read()));
      return { inputs: Object.fromEntries(model.inputs.map((tensor, index) => [tensor.name, [values[index]]])) };
    } catch (error) { showError({ message: error.message }); return null; }
  });
}

function parseJson(text, name) {
  try { return JSON.parse(text); } catch { throw new Error(`${name}: write a list such as [1, 2]`); }
}

function addJsonBox() {
  const box = createElement("textarea", JSON.stringify(model.example || { inputs: [] }), { id: "text", "aria-label": "JSON" });
  byId("form").append(box);
  addButtons(emptyFields, () => { box.value = JSON.stringify(model.example); });
  onSubmit(() => { try { return JSON.parse(box.value); } catch (error) { showError({ message: String(error) }); return null; } });
}

// --- requests and answers -------------------------------------------------------------------------------

let lastRequest = 0;

async function requestPrediction(payload) {
  if (!payload) return;
  showPrograms(payload);
  await sendRequest("application/json", JSON.stringify(payload));
}

async function sendRequest(contentType, body) {
  const request = ++lastRequest;
  try {
    const reply = await fetch(address("invocations"), {
      method: "POST", headers: { "content-type": contentType }, body,
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
  const isNamed = predictions !== null && typeof predictions === "object" && !Array.isArray(predictions);
  if (!isNamed) {
    if (!Array.isArray(predictions)) return show(JSON.stringify(predictions));
    const output = model.outputs[0] || { classes: model.classes, unit: model.unit };
    const { text, bars } = describeRow(predictions[0], output);
    const digit = model.tensor && output.classes && output.classes.length && /^\d$/.test(text);
    show(digit ? `This number is a${text === "8" ? "n" : ""} ${text}` : text);
    return byId("bars").replaceChildren(...bars.map(createBar));
  }
  const known = Object.fromEntries(model.outputs.map((output) => [output.name, output]));
  const described = Object.entries(predictions).map(([name, rows]) => [name, describeRow(rows[0], known[name] || {})]);
  show(described.map(([name, { text }]) => `${name}: ${text}`).join(" · "));
  byId("bars").replaceChildren(...described.filter(([, { bars }]) => bars.length).flatMap(
    ([name, { bars }]) => [createElement("h3", name), ...bars.map(createBar)]));
}

// Return what one output says of a row: a text, and bars of [name, share, whether to stress it].
function describeRow(row, output) {
  const classes = output.classes || [];
  const name = (index) => classes[index] ?? String(index);
  const kind = output.kind || (classes.length ? "classes" : "values");
  const values = Array.isArray(row) ? row : [row];
  if (kind === "pixels" || kind === "sequence") {
    const cells = classOfEach(row);
    if (kind === "sequence") return { text: cells.flat(Infinity).map(name).join(" "), bars: [] };
    const flat = cells.flat(Infinity), counts = new Map();
    for (const index of flat) counts.set(index, (counts.get(index) || 0) + 1);
    const bars = [...counts].sort((a, b) => b[1] - a[1]).map(([index, count], place) => [name(index), count / flat.length, place === 0]);
    return { text: `${cells.length}x${cells[0].length} pixels`, bars: bars.slice(0, MAX_BARS) };
  }
  if (!values.every((value) => typeof value === "number")) return { text: summarize(row), bars: [] };
  if (kind === "labels") {
    const bars = values.map((value, index) => [name(index), value, value > THRESHOLD]).sort((a, b) => b[1] - a[1]);
    const applying = bars.filter(([, , applies]) => applies).map(([label]) => label);
    return { text: applying.join(", ") || "no label applies", bars: bars.slice(0, MAX_BARS) };
  }
  if (kind !== "classes") {
    const text = values.length > MAX_NUMBERS ? summarize(values) : values.map((value) => formatValue(value, output.unit)).join(", ");
    return { text, bars: [] };
  }
  const probabilities = values.length === 1 ? [1 - values[0], values[0]] : values;
  const best = probabilities.indexOf(Math.max(...probabilities));
  const order = probabilities.map((_, index) => index);
  if (probabilities.length > MAX_BARS) order.sort((a, b) => probabilities[b] - probabilities[a]);
  return { text: name(best), bars: order.slice(0, MAX_BARS).map((index) => [name(index), probabilities[index], index === best]) };
}

// Return the class of each pixel or step: the last level of lists holds the probabilities of the classes.
function classOfEach(value) {
  if (Array.isArray(value[0])) return value.map(classOfEach);
  return value.length === 1 ? Number(value[0] > THRESHOLD) : value.indexOf(Math.max(...value));
}

function summarize(value) {
  const text = JSON.stringify(value);
  if (text.length <= 200) return text;
  const shape = [];
  for (let level = value; Array.isArray(level); level = level[0]) shape.push(level.length);
  return shape.length ? `${shape.join("x")} numbers: ${text.slice(0, 120)}…` : `${text.slice(0, 200)}…`;
}

function createBar([name, share, isBest]) {
  const bar = createElement("div", "", { class: isBest ? "bar best" : "bar" });
  const length = createElement("i");
  length.style.width = `${100 * share}%`;
  const track = createElement("div");
  track.append(length);
  bar.append(createElement("span", name), track, createElement("span", `${(100 * share).toFixed(1)} %`));
  return bar;
}

function formatValue(value, unit = "") {
  if (/^[A-Z]{3}$/.test(unit)) {
    return new Intl.NumberFormat("en", { style: "currency", currency: unit, maximumFractionDigits: 0 }).format(value);
  }
  return `${Number(value.toPrecision(5))} ${unit}`.trim();
}

function showPrograms(payload) {
  const url = address("invocations");
  byId("curl").textContent = toCurl(url, payload, model.keys);
  byId("python").textContent = toPythonProgram(url, payload, model.keys, 'reply.json()["predictions"]');
}

start();
