// What the pages of an endpoint share: elements, addresses, and requests as programs to copy.
"use strict";

const CODE_WIDTH = 88;

const byId = (id) => document.getElementById(id);

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

// Return the curl command of a request; without `payload` it is a GET.
function toCurl(url, payload, needsKey) {
  const parts = [`curl ${/[?&]/.test(url) ? `'${url}'` : url}`];
  if (needsKey) parts.push('-H "Authorization: Bearer $API_KEY"');
  if (payload === undefined) return parts.join(" \\\n  ");
  parts.splice(1, 0, "-H 'Content-Type: application/json'");
  return [...parts, `-d '${JSON.stringify(payload).replaceAll("'", "'\\''")}'`].join(" \\\n  ");
}

// Return the same request as a Python program that prints `answer`, an expression.
function toPythonProgram(url, payload, needsKey, answer = "reply.json()") {
  const key = needsKey ? ', headers={"Authorization": "Bearer API_KEY"}' : "";
  const address = JSON.stringify(url);
  const [before, call] = payload === undefined
    ? ["", `requests.get(${address}${key})`]
    : [`payload = ${toPython(payload)}\n`, `requests.post(${address}, json=payload${key})`];
  return `import requests\n\n${before}reply = ${call}\nprint(${answer})`;
}

// Return a value as a Python literal, on as many lines as it needs.
function toPython(value, indent = "") {
  const isList = Array.isArray(value);
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = indent + "    ";
  const parts = isList
    ? value.map((part) => toPython(part, inner))
    : Object.entries(value).map(([name, part]) => `${JSON.stringify(name)}: ${toPython(part, inner)}`);
  const [open, close] = isList ? "[]" : "{}";
  const line = open + parts.join(", ") + close;
  if (!line.includes("\n") && indent.length + line.length <= CODE_WIDTH) return line;
  return `${open}\n${wrap(parts, inner)}\n${indent}${close}`;
}

// Return parts of a list, several in a line if they are short.
function wrap(parts, indent) {
  const lines = [];
  for (const part of parts) {
    const last = lines.at(-1);
    const fits = last !== undefined && !/[\n[{:]/.test(last + part) && last.length + part.length + 3 <= CODE_WIDTH;
    if (fits) lines[lines.length - 1] = `${last} ${part},`;
    else lines.push(`${indent}${part},`);
  }
  return lines.join("\n");
}

async function copyCode(button, code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {  // a page without HTTPS has no clipboard: select the code, and copy the selection
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}
