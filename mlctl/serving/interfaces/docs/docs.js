// The page /docs: it reads /openapi.json, lists the routes with their schemas, and sends requests.
"use strict";

const MAX_NAMES = 12;        // values of an enumeration that are shown
const MAX_RESPONSE = 20_000; // characters of an answer that are shown
const GROUP_NAMES = { predictions: "Predictions", endpoint: "Endpoint" };
let api = null;

async function start() {
  const reply = await fetch(address("openapi.json"));
  api = await reply.json();
  if (!reply.ok) return void (byId("about").textContent = [api.message, api.hint].join(" — "));
  document.title = `${api.info.title} API`;
  byId("name").textContent = api.info.title + " ";
  if (api.info.version !== "unversioned") byId("name").append(createElement("span", `version ${api.info.version}`));
  byId("about").textContent = api.info.description;
  byId("access").textContent = api.security ? "every route needs an API key, unless it says otherwise" : "no API key is needed";
  const groups = new Map();
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, createGroup(tag));
      groups.get(tag).append(createOperation(path, method, operation));
    }
  }
  byId("groups").append(...groups.values());
  document.querySelector(".operation").open = true;
}

function createGroup(tag) {
  const group = createElement("section");
  group.append(createElement("h2", GROUP_NAMES[tag] || tag));
  return group;
}

function createOperation(path, method, operation) {
  const box = createElement("details", "", { class: "operation", id: operation.operationId });
  const title = createElement("summary");
  const isPublic = api.security && operation.security && !operation.security.length;
  title.append(
    createElement("span", method.toUpperCase(), { class: `method ${method}` }), createElement("span", path, { class: "path" }),
    createElement("span", operation.summary + (isPublic ? " (needs no key)" : ""), { class: "what" }));
  box.append(title);
  box.addEventListener("toggle", () => { if (box.open && box.children.length === 1) box.append(createBody(path, method, operation)); });
  return box;
}

function createBody(path, method, operation) {
  const body = createElement("div", "", { class: "body" });
  if (operation.description) body.append(createElement("p", operation.description));
  if (operation.parameters) body.append(createElement("h3", "Parameters"), createParameters(operation.parameters));
  const content = operation.requestBody && operation.requestBody.content;
  if (content) body.append(createElement("h3", "Request"), createContents(content));
  body.append(...createForm(path.slice(1), method, operation));
  body.append(createElement("h3", "Answers"), createAnswers(operation.responses));
  return body;
}

function createParameters(parameters) {
  return createTable(parameters.map((parameter) => [
    parameter.name, parameter.in, writeType(parameter.schema), parameter.description]));
}

// The schema of each content type that is accepted.
function createContents(content) {
  const box = createElement("div");
  for (const [type, { schema }] of Object.entries(content)) {
    box.append(createElement("p", type + (schema.description ? `: ${schema.description}` : "")));
    if (type === "application/json") box.append(createElement("pre", writeType(schema)));
  }
  return box;
}

function createAnswers(responses) {
  const box = createElement("div"), rows = [];
  for (const [status, response] of Object.entries(responses)) {
    const { description, content = {} } = resolve(response);
    const schema = content["application/json"] && content["application/json"].schema;
    if (status === "200" && schema && writeType(schema) !== "object") box.append(createElement("pre", writeType(schema)));
    rows.push([status === "default" ? "other" : status, description]);
  }
  box.append(createTable(rows));
  return box;
}

function createTable(rows) {
  const table = createElement("table");
  for (const row of rows) {
    const line = table.appendChild(createElement("tr"));
    row.forEach((text, index) => line.append(createElement(index ? "td" : "th", text)));
  }
  return table;
}

// --- sending ----------------------------------------------------------------------------------------------

// Fields for the request, a button that sends it, the answer, and the request as a program.
function createForm(path, method, operation) {
  const media = operation.requestBody && operation.requestBody.content["application/json"];
  const example = media && media.examples ? media.examples.example.value : media ? {} : undefined;
  const text = createElement("textarea", media ? JSON.stringify(example) : "", { "aria-label": "body of the request", spellcheck: "false" });
  const flags = (operation.parameters || []).filter(({ schema }) => schema.type === "boolean").map(createFlag);
  const send = createElement("button", "Send", { type: "button", class: "send" });
  const status = createElement("span", "", { class: "status", role: "status" });
  const answer = createElement("pre", "", { class: "answer", hidden: "" });
  const [curl, python] = [createElement("pre"), createElement("pre")];
  const url = () => {
    const query = flags.filter(({ input }) => input.checked).map(({ name }) => `${name}=true`).join("&");
    return address(path) + (query && `?${query}`);
  };
  const update = () => {
    let payload;
    try { payload = media ? JSON.parse(text.value) : undefined; } catch { return; }  // it is being typed
    const needsKey = Boolean(api.security) && !(operation.security && !operation.security.length);
    curl.textContent = toCurl(url(), payload, needsKey);
    const isJson = Object.keys((operation.responses["200"] || {}).content || {}).includes("application/json");
    python.textContent = toPythonProgram(url(), payload, needsKey, isJson ? "reply.json()" : "reply.text");
  };
  update();
  text.addEventListener("input", update);
  for (const { input } of flags) input.addEventListener("change", update);
  send.addEventListener("click", () => sendRequest(url(), method, media && text.value, status, answer));
  const programs = createElement("div", "", { class: "columns" });
  programs.append(createProgram("curl", curl), createProgram("Python", python));
  return [createElement("h3", "Send"), ...(media ? [text] : []), ...flags.map(({ label }) => label), send, status, answer, programs];
}

function createFlag({ name, description }) {
  const label = createElement("label", "", { class: "check" });
  const input = createElement("input", "", { type: "checkbox", name });
  label.append(input, `${name}: ${description}`);
  return { name, label, input };
}

function createProgram(name, code) {
  const box = createElement("div"), title = createElement("h3", `${name} `);
  const copy = createElement("button", "Copy", { type: "button", class: "copy" });
  copy.addEventListener("click", () => copyCode(copy, code));
  title.append(copy);
  box.append(title, code);
  return box;
}

async function sendRequest(url, method, body, status, answer) {
  status.textContent = "…";
  const started = performance.now();
  try {
    const reply = await fetch(url, body === undefined ? {} : { method, headers: { "content-type": "application/json" }, body });
    const text = await reply.text();
    status.textContent = `${reply.status} ${reply.statusText} in ${Math.round(performance.now() - started)} ms`;
    status.classList.toggle("wrong", !reply.ok);
    answer.textContent = shorten(layOut(text, reply.headers.get("content-type") || ""));
  } catch (error) {
    status.textContent = "the endpoint does not answer";
    status.classList.add("wrong");
    answer.textContent = String(error);
  }
  answer.hidden = !answer.textContent.trim();
}

function layOut(text, type) {
  if (!type.startsWith("application/json")) return text;
  try { return writeJson(JSON.parse(text)); } catch { return text; }
}

// Return JSON with one line for each list or object that is short.
function writeJson(value, indent = "") {
  const line = JSON.stringify(value, null, 1)?.replace(/\n\s*/g, " ");
  if (value === null || typeof value !== "object" || indent.length + line.length <= CODE_WIDTH) return line;
  const inner = indent + "  ", isList = Array.isArray(value);
  const parts = isList ? value.map((part) => inner + writeJson(part, inner))
    : Object.entries(value).map(([name, part]) => `${inner}${JSON.stringify(name)}: ${writeJson(part, inner)}`);
  const [open, close] = isList ? "[]" : "{}";
  return `${open}\n${parts.join(",\n")}\n${indent}${close}`;
}

function shorten(text) {
  return text.length > MAX_RESPONSE ? `${text.slice(0, MAX_RESPONSE)}\n… and ${text.length - MAX_RESPONSE} characters more` : text;
}

// --- schemas ----------------------------------------------------------------------------------------------

function resolve(part) {
  return part.$ref ? part.$ref.slice(2).split("/").reduce((found, name) => found[name], api) : part;
}

// Return a schema as a short text, such as `{inputs: [n, 8, 8] of integer 0..255}`.
function writeType(reference, indent = "") {
  const schema = resolve(reference);
  const options = schema.oneOf || schema.anyOf;
  if (options) return options.map((option) => writeType(option, indent)).join(`\n${indent}or `);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return listNames(schema.enum.map((value) => JSON.stringify(value)), " | ");
  if (schema.type === "array" && schema.items) return writeList(schema, indent);
  if (schema.properties) return writeObject(schema, indent);
  if (schema.additionalProperties) return `{name: ${writeType(schema.additionalProperties, indent)}, …}`;
  const types = [schema.type || "anything"].flat().join(" | ");
  const limits = schema.minimum !== undefined ? ` ${schema.minimum}..${schema.maximum}` : "";
  const examples = schema.examples ? ` such as ${listNames(schema.examples.map((value) => JSON.stringify(value)), ", ")}` : "";
  return types + limits + examples;
}

function writeList(schema, indent) {
  const lengths = [];
  let items = schema;
  for (; items.type === "array" && items.items; items = resolve(items.items)) {
    lengths.push(items.minItems !== undefined && items.minItems === items.maxItems ? items.minItems : "n");
  }
  const options = items.oneOf || items.anyOf;
  const inner = options ? `(${options.map((option) => writeType(option, indent)).join(" or ")})` : writeType(items, indent);
  return `[${lengths.join(", ")}] of ${inner}`;
}

function writeObject(schema, indent) {
  const required = schema.required || [];
  const parts = Object.entries(schema.properties).map(([name, part]) =>
    `${name}${required.includes(name) ? "" : "?"}: ${writeType(part, indent + "  ")}`);
  const line = `{${parts.join(", ")}}`;
  if (!line.includes("\n") && indent.length + line.length <= CODE_WIDTH) return line;
  return `{\n${parts.map((part) => `${indent}  ${part}`).join(",\n")}\n${indent}}`;
}

function listNames(names, separator) {
  return names.slice(0, MAX_NAMES).join(separator) + (names.length > MAX_NAMES ? `${separator}…` : "");
}

start();
