// Picture files for a model of images: one is chosen, dropped or pasted, and sent as it is.
"use strict";

const PICTURE_TYPES = ["image/png", "image/jpeg"];

// `isDrawn` tells that the form has a drawing area already.
function addUpload(shape, isDrawn) {
  const label = createElement("label", isDrawn ? "Or choose a picture file" : "Choose, drop or paste a picture file");
  const input = createElement("input", "", { type: "file", id: "picture", accept: PICTURE_TYPES.join(",") });
  const image = createElement("img", "", { id: "chosen", class: "chosen", alt: "" });
  image.hidden = true;
  label.append(input);
  const clear = () => { input.value = ""; image.hidden = true; };
  const send = (file) => {
    if (!file) return;
    showFile(image, file);
    showPicturePrograms(file.name || "picture.png", file.type || "image/png");
    sendRequest(file.type || "image/png", file);
  };
  input.addEventListener("change", () => send(input.files[0]));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => { event.preventDefault(); send(event.dataTransfer.files[0]); });
  document.addEventListener("paste", (event) => send(event.clipboardData.files[0]));
  byId("form").append(label, image);
  if (isDrawn) {
    byId("clear").addEventListener("click", clear);
    return;
  }
  addButtons(clear, () => { input.value = ""; showPixels(image, model.example.inputs[0], shape); });
  onSubmit(() => {
    const isExample = image.dataset.example === "yes" && !image.hidden;
    if (!isExample) send(input.files[0]);
    else sendRequest("application/json", JSON.stringify(model.example));
    return null;
  });
}

// Show a file in the page; a data URL, because the page's security policy allows no other.
function showFile(image, file) {
  const reader = new FileReader();
  reader.addEventListener("load", () => { image.src = reader.result; image.hidden = false; });
  image.dataset.example = "";
  image.alt = file.name || "the pasted picture";
  reader.readAsDataURL(file);
}

// Show the pixels of the logged example.
function showPixels(image, rows, shape) {
  const canvas = createElement("canvas", "", { width: shape[1], height: shape[0] });
  const pen = canvas.getContext("2d"), picture = pen.createImageData(shape[1], shape[0]);
  const scale = 255 / (model.full_scale || 255);
  rows.flat().forEach((pixel, index) => picture.data.set([...pixel.map((value) => value * scale), 255], 4 * index));
  pen.putImageData(picture, 0, 0);
  image.src = canvas.toDataURL();
  image.alt = "the example that was logged with the model";
  image.dataset.example = "yes";
  image.hidden = false;
}

function showPicturePrograms(name, type) {
  const url = address("invocations"), shellName = `'@${name.replaceAll("'", "'\\''")}'`;
  const curl = [`curl ${url}`, `-H 'Content-Type: ${type}'`];
  if (model.keys) curl.push('-H "Authorization: Bearer $API_KEY"');
  byId("curl").textContent = [...curl, `--data-binary ${shellName}`].join(" \\\n  ");
  const key = model.keys ? ',\n    headers={"Authorization": "Bearer API_KEY"}' : "";
  const file = `[("file", open(${JSON.stringify(name)}, "rb"))]`;
  byId("python").textContent =
    `import requests\n\nfiles = ${file}  # several files are several rows\n` +
    `reply = requests.post(${JSON.stringify(url)}, files=files${key})\nprint(reply.json()["predictions"])`;
}
