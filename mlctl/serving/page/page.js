// The page of an endpoint: it asks /model what the model takes, makes a form that fits, and shows the answer.
"use strict";

const PAPER = 280;          // side of the sheet that is drawn on, in pixels
const PEN = 22;
const SMALL = 16;           // as `mlctl predict` has it: pictures up to this height are filled, others have a margin
const MARGIN = 4 / 28;
const INK = 0.15;
const BARS = 12;

const at = (id) => document.getElementById(id);
let model = null;

function made(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// A page that was opened as http://user:key@host may not ask such addresses itself; the browser adds the key.
function address(path) {
  const url = new URL(path, location.href);
  url.username = url.password = "";
  return url.href;
}

async function begin() {
  const reply = await fetch(address("model"));
  if (!reply.ok) return refuse(await reply.json());
  model = await reply.json();
  document.title = `${model.name} ${model.version}`.trim();
  at("name").textContent = model.name + " ";
  if (model.version) at("name").append(made("span", `version ${model.version}`));
  at("about").textContent = [model.recipe && `recipe ${model.recipe}`, model.task, model.runtime].filter(Boolean).join(" · ");
  signature();
  const shape = model.tensor && model.tensor.shape.slice(1);
  const gray = shape && (shape.length === 2 || (shape.length === 3 && shape[2] === 1)) && Math.min(...shape) > 0;
  if (gray && shape[0] > 1) drawing(shape);
  else if (model.columns.length === 1 && model.columns[0].kind === "string") review(model.columns[0]);
  else if (model.columns.length) fields();
  else document_();
  programs(model.example || { inputs: [] });
}

function signature() {
  const rows = model.tensor
    ? [["tensor", model.tensor.dtype, `(${model.tensor.shape.map((n) => (n < 0 ? "n" : n)).join(", ")})`]]
    : model.columns.map((one) => [one.name, one.kind, one.required ? "" : "may be missing"]);
  for (const row of rows) {
    const line = at("signature").appendChild(made("tr"));
    row.forEach((text, index) => line.append(made(index ? "td" : "th", text)));
  }
  if (!rows.length) at("signature").append(made("caption", "the model does not say"));
}

function buttons(clear) {
  at("form").append(made("button", "Predict", { type: "submit", id: "predict" }));
  const second = made("button", "Clear", { type: "button", class: "second", id: "clear" });
  second.addEventListener("click", () => { clear(); show("nothing yet"); at("bars").replaceChildren(); });
  at("form").append(second);
}

function onSubmit(payload) {
  at("form").addEventListener("submit", (event) => { event.preventDefault(); ask(payload()); });
}

// --- a sheet to draw on -------------------------------------------------------------------------------

function drawing(shape) {
  const canvas = made("canvas", "", { id: "sheet", width: PAPER, height: PAPER, "aria-label": "draw here", tabindex: "0" });
  const seen = made("canvas", "", { class: "seen", width: shape[1], height: shape[0], "aria-label": "what the model sees" });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const wipe = () => {
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, PAPER, PAPER);
    seen.getContext("2d").clearRect(0, 0, shape[1], shape[0]);
  };
  wipe();
  pen.strokeStyle = "#fff";
  pen.lineWidth = PEN;
  pen.lineCap = pen.lineJoin = "round";
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * PAPER / box.width, (event.clientY - box.top) * PAPER / box.height];
  };
  let down = false;
  canvas.addEventListener("pointerdown", (event) => {
    down = true;
    canvas.setPointerCapture(event.pointerId);
    pen.beginPath();
    pen.moveTo(...place(event));
    pen.lineTo(...place(event));
    pen.stroke();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!down) return;
    pen.lineTo(...place(event));
    pen.stroke();
  });
  const payload = () => {
    const light = fitted(pen.getImageData(0, 0, PAPER, PAPER).data, shape[0], shape[1]);
    look(seen, light);
    const whole = /int/.test(model.tensor.dtype);
    const scale = model.full_scale || 1;
    const pixel = (value) => (whole ? Math.round(value * scale) : Math.round(value * scale * 1000) / 1000);
    const row = (line) => line.map((value) => (shape.length === 3 ? [pixel(value)] : pixel(value)));
    return { inputs: [light.map(row)] };
  };
  const up = () => { if (down) { down = false; ask(payload()); } };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  at("form").append(canvas, seen);
  buttons(wipe);
  onSubmit(payload);
}

// Cut the drawing out and fit it into the frame, each pixel the mean of what it covers.
function fitted(data, height, width) {
  const light = (x, y) => data[4 * (y * PAPER + x)] / 255;
  let top = PAPER, left = PAPER, bottom = 0, right = 0;
  for (let y = 0; y < PAPER; y++) for (let x = 0; x < PAPER; x++) if (light(x, y) > INK) {
    top = Math.min(top, y); bottom = Math.max(bottom, y + 1); left = Math.min(left, x); right = Math.max(right, x + 1);
  }
  const frame = Array.from({ length: height }, () => new Array(width).fill(0));
  if (bottom <= top) return frame;
  const margin = height <= SMALL ? 0 : MARGIN;
  const scale = Math.min(height * (1 - 2 * margin) / (bottom - top), width * (1 - 2 * margin) / (right - left));
  const high = Math.max(1, Math.round((bottom - top) * scale)), wide = Math.max(1, Math.round((right - left) * scale));
  const down = Math.floor((height - high) / 2), over = Math.floor((width - wide) / 2);
  let brightest = 1e-6;
  for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) {
    const fromY = top + y * (bottom - top) / high, toY = top + (y + 1) * (bottom - top) / high;
    const fromX = left + x * (right - left) / wide, toX = left + (x + 1) * (right - left) / wide;
    let sum = 0, count = 0;
    for (let sy = Math.floor(fromY); sy < Math.max(toY, fromY + 1); sy++)
      for (let sx = Math.floor(fromX); sx < Math.max(toX, fromX + 1); sx++) { sum += light(Math.min(sx, PAPER - 1), Math.min(sy, PAPER - 1)); count++; }
    frame[down + y][over + x] = sum / count;
    brightest = Math.max(brightest, sum / count);
  }
  return frame.map((line) => line.map((value) => value / brightest));
}

function look(canvas, light) {
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  light.flat().forEach((value, index) => image.data.set([value * 255, value * 255, value * 255, 255], 4 * index));
  pen.putImageData(image, 0, 0);
}

// --- other forms --------------------------------------------------------------------------------------

function review(column) {
  const box = made("textarea", "", { id: "text", "aria-label": column.name, placeholder: "Write a text." });
  at("form").append(box);
  buttons(() => { box.value = ""; });
  onSubmit(() => ({ dataframe_split: { columns: [column.name], data: [[box.value]] } }));
}

function fields() {
  const first = exampleRow();
  const inputs = model.columns.map((column) => {
    const label = made("label", column.name + (column.required ? "" : " (may be empty)"));
    const numeric = column.kind !== "string" && column.kind !== "boolean";
    const input = made("input", "", { name: column.name, type: numeric ? "number" : "text", step: "any" });
    input.value = first[column.name] ?? "";
    label.append(input);
    at("form").append(label);
    return () => {
      if (input.value === "" && (numeric || !column.required)) return null;
      if (column.kind === "boolean") return input.value.trim().toLowerCase() === "true";
      return numeric ? Number(input.value) : input.value;
    };
  });
  buttons(() => at("form").querySelectorAll("input").forEach((input) => { input.value = ""; }));
  onSubmit(() => ({ dataframe_split: { columns: model.columns.map((one) => one.name), data: [inputs.map((value) => value())] } }));
}

function exampleRow() {
  const split = model.example && model.example.dataframe_split;
  return split ? Object.fromEntries(split.columns.map((name, index) => [name, split.data[0][index]])) : {};
}

function document_() {
  const box = made("textarea", JSON.stringify(model.example || { inputs: [] }), { id: "text", "aria-label": "JSON" });
  at("form").append(box);
  buttons(() => { box.value = ""; });
  onSubmit(() => { try { return JSON.parse(box.value); } catch (error) { refuse({ message: String(error) }); return null; } });
}

// --- asking and showing -------------------------------------------------------------------------------

let asked = 0;

async function ask(payload) {
  if (!payload) return;
  const mine = ++asked;
  programs(payload);
  try {
    const reply = await fetch(address("invocations"), {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(payload),
    });
    const said = await reply.json();
    if (mine !== asked) return;  // a later question has been asked meanwhile
    if (reply.ok) answer(said.predictions);
    else refuse(said);
  } catch (error) {
    refuse({ message: "the endpoint does not answer", hint: String(error) });
  }
}

function refuse(said) {
  at("bars").replaceChildren();
  show([said.message, said.hint].filter(Boolean).join(" — "), true);
}

function show(text, wrong = false) {
  at("answer").textContent = text;
  at("answer").classList.toggle("wrong", wrong);
}

function answer(predictions) {
  const row = Array.isArray(predictions) ? [predictions[0]].flat() : null;
  if (!row || !row.every((value) => typeof value === "number")) return show(JSON.stringify(predictions));
  const classes = model.classes;
  if (!classes.length) return show(valued(row[0]));
  const chances = classes.length === 2 && row.length === 1 ? [1 - row[0], row[0]] : row;
  const best = chances.indexOf(Math.max(...chances));
  const digit = model.tensor && /^\d$/.test(classes[best]);
  show(digit ? `This number is a${classes[best] === "8" ? "n" : ""} ${classes[best]}` : classes[best]);
  const order = chances.map((_, index) => index);
  if (chances.length > BARS) order.sort((a, b) => chances[b] - chances[a]);
  at("bars").replaceChildren(...order.slice(0, BARS).map((index) => {
    const bar = made("div", "", { class: index === best ? "bar best" : "bar" });
    const length = made("i");
    length.style.width = `${100 * chances[index]}%`;
    const track = made("div");
    track.append(length);
    bar.append(made("span", classes[index] ?? String(index)), track, made("span", `${(100 * chances[index]).toFixed(1)} %`));
    return bar;
  }));
}

function valued(value) {
  if (/^[A-Z]{3}$/.test(model.unit)) {
    return new Intl.NumberFormat("en", { style: "currency", currency: model.unit, maximumFractionDigits: 0 }).format(value);
  }
  return `${Number(value.toPrecision(5))} ${model.unit}`.trim();
}

function programs(payload) {
  const url = address("invocations");
  const body = JSON.stringify(payload);
  const quoted = body.replaceAll("'", "'\\''");
  const curl = [`curl ${url}`, "-H 'Content-Type: application/json'"];
  if (model.keys) curl.push('-H "Authorization: Bearer $API_KEY"');
  at("curl").textContent = [...curl, `-d '${quoted}'`].join(" \\\n  ");
  const key = model.keys ? ',\n                      headers={"Authorization": "Bearer API_KEY"}' : "";
  at("python").textContent =
    `import json, requests\n\npayload = json.loads(${JSON.stringify(body)})\n` +
    `reply = requests.post(${JSON.stringify(url)}, json=payload${key})\nprint(reply.json()["predictions"])`;
}

begin();
