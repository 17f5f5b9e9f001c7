// The page: a photo, up to eight points of it, and what the API says of them. All of its state is here.

import {ask, at, complain, hush, trying} from "./asking.js";

const MOST_POINTS = 8;
const SVG = "http://www.w3.org/2000/svg";

const image = document.querySelector("#photo img");
const marks = document.querySelector("#photo svg");

/** What to say of a thing that counts as absent; empty where it does not, or where the model does not know. */
const absence = ({there}) => there !== null && there < Number(document.body.dataset.absentBelow) ? document.body.dataset.absent : "";

let photo = null; // {file, url, size: [width, height]}; url is the file as a data URL
let points = []; // {n, age, asked: [x, y] or null, answer: a point of the API or null, model, box}
let ages = 0; // of the newest point; older ones have less
let looked = null; // the point whose box the visitor points at
let models = {}; // what the API says of each, by name

// ---- asking

function formOf(fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return {method: "POST", body: form};
}

/** The description of a pixel; `onText` is told it as it is written. */
async function describe(shown, [x, y], model, onText) {
  const content = [
    {type: "text", text: `x = ${x}, y = ${y} in pixels`},
    {type: "image_url", image_url: {url: shown.url}},
  ];
  const body = JSON.stringify({model, stream: true, messages: [{role: "user", content}]});
  const headers = {"Content-Type": "application/json"};
  const response = await ask("v1/chat/completions", {method: "POST", headers, body});
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "", rest = "", ended = false;
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const events = (rest + read.value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (event === "data: [DONE]") ended = true;
      else onText(text += JSON.parse(event.slice(6)).choices[0].delta.content ?? "");
    }
  }
  if (!ended) throw new Error("the server failed while it wrote; its log says why");
  return text;
}

/** Where a text leads, as the API's answer. */
async function localize(shown, text, model) {
  const response = await ask("v1/localize", formOf({photo: shown.file, text, model}));
  return (await response.json()).points[0];
}

// ---- points

/** Put a new point on the page and fill it by `work`; when that fails, take it off again. */
async function addPoint(asked, text, work) {
  if (!photo) return complain("open a photo first");
  const taken = points.map(point => point.n);
  const n = Array.from({length: MOST_POINTS}, (_, k) => k + 1).find(k => !taken.includes(k));
  if (!n) {
    const oldest = points.reduce((one, other) => other.age < one.age ? other : one);
    return complain(`${MOST_POINTS} points are the most at once.`, `Remove point ${oldest.n} for this one`, () => {
      remove(oldest);
      addPoint(asked, text, work);
    });
  }
  const point = {n, age: ++ages, asked, answer: null, model: at("model").value, box: boxOf(n)};
  point.box.querySelector("textarea").value = text;
  points = [...points, point].sort((one, other) => one.n - other.n);
  const after = points[points.indexOf(point) + 1];
  at("points").insertBefore(point.box, after?.box ?? null);
  wire(point);
  show(point);
  await trying(() => work(point, photo), () => remove(point));
}

function boxOf(n) {
  const box = at("point").content.firstElementChild.cloneNode(true);
  box.id = `point-${n}`;
  box.querySelector("span").textContent = `Point ${n}`;
  box.querySelector("label").id = `text-${n}`;
  for (const part of ["note", "find", "remove"]) box.querySelector(`.${part}`).id = `${part}-${n}`;
  return box;
}

function wire(point) {
  const words = point.box.querySelector("textarea");
  point.box.addEventListener("submit", event => {
    event.preventDefault();
    trying(() => find(point, photo, words.value, {}));
  });
  point.box.querySelector(".remove").addEventListener("click", () => {
    // There is room now: nothing is offered to be removed.
    hush();
    remove(point);
  });
  for (const [event, now] of [["pointerenter", point], ["pointerleave", null], ["focusin", point], ["focusout", null]]) {
    point.box.addEventListener(event, () => { looked = now; draw(); });
  }
  submitOnEnter(words);
}

/** Describe a point, in pixels: to a hundredth of one, so that it is asked as it is shown and saved. */
function describePoint(pixel) {
  const asked = pixel.map(side => Math.round(100 * side) / 100);
  if (photo && asked.some((side, k) => !(side >= 0 && side <= photo.size[k]))) {
    return complain(`(${asked.join(", ")}) is outside the ${photo.size.join("x")} photo`);
  }
  return addPoint(asked, "", async (point, shown) => {
    const words = point.box.querySelector("textarea");
    const description = await describe(shown, asked, point.model, text => {
      words.value = text;
      if (points.includes(point)) caption(point);
    });
    words.value = description;
    if (description) await find(point, shown, description, {description});
    else answered(point, shown, {description, found_x: null, found_y: null, there: null});
  });
}

/** Find a text and show it as this point's answer. `said` holds the description, where the text is a model's. */
async function find(point, shown, text, said) {
  const {text: given, ...found} = await localize(shown, text, point.model);
  answered(point, shown, {...("description" in said ? said : {text: given}), ...found});
}

function answered(point, shown, answer) {
  const [x, y] = point.asked ?? [];
  point.answer = point.asked ? {x, y, ...answer} : answer;
  // The distance in the photo's normalised coordinates, as the API defines `error`.
  if (point.asked && answer.found_x !== null) {
    const [width, height] = shown.size;
    point.answer.error = Math.hypot((answer.found_x - x) / width, (answer.found_y - y) / height);
  }
  show(point);
}

function remove(point) {
  point.box.remove();
  points = points.filter(one => one !== point);
  if (looked === point) looked = null;
  draw();
}

/** A probability in the words of the command, `samples.percent`. */
const percent = share => share < 0.01 ? "less than 1%" : `${Math.min(Math.round(100 * share), share < 0.5 ? 49 : 99)}%`;

/** What was found, as the command prints it; what was asked is shown as it was. */
const placed = place => `(${place.map(side => side.toFixed(1)).join(", ")})`;

function show(point) {
  const {box, asked, answer} = point, note = [];
  const said = (kind, text) => Object.assign(document.createElement(kind ? "span" : "b"), {className: kind, textContent: text});
  if (asked) note.push(said("asked", `★ asked at (${asked.join(", ")})`));
  if (answer && answer.found_x !== null) {
    const place = [answer.found_x, answer.found_y];
    const [rounded, absent] = [placed(place), absence(answer)];
    if (absent) {
      note.push(said("absent", absent), `${percent(answer.there)} likely to be there`, `likeliest place ${rounded}`);
    } else {
      note.push(said("found", `◯ found at ${rounded}`));
    }
    if (!absent && answer.confidence != null) {
      const sure = said("sure", `${percent(answer.confidence)} sure`);
      note.push(Object.assign(sure, {title: "to be within a tenth of the photo's longer side"}));
      if (!asked && answer.runner_up_x != null) note.push(`or else at ${placed([answer.runner_up_x, answer.runner_up_y])}`);
    }
    if (asked && !absent) {
      const apart = Math.hypot(place[0] - asked[0], place[1] - asked[1]);
      note.push(said("", `${apart.toFixed(1)} px, ${(100 * answer.error).toFixed(1)}% of the photo`));
    }
  }
  // A stock model or an endpoint, without a likeliest place.
  if (answer && answer.found_x === null && absence(answer)) note.push(said("absent", absence(answer)));
  if (answer && answer.problem) note.push(said("absent", "no answer"), answer.problem);
  if (!asked && !answer) note.push("looking …");
  box.querySelector(".note").replaceChildren(...note.flatMap((one, k) => k ? [" · ", one] : [one]));
  caption(point);
  draw();
}

/** In full screen the answers are out of sight: there the photo bears the newest. */
function caption({n, box}) {
  const [words, note] = [box.querySelector("textarea").value, box.querySelector(".note").textContent];
  at("caption").textContent = `${n}: ${words || "reading the photo …"} ${note ? `(${note})` : ""}`;
}

// ---- the photo and its marks

let opening = 0;

/** Show a photo; false when another one was chosen while this one was read. */
async function openPhoto(file) {
  const mine = ++opening;
  const response = await ask("page/photo", formOf({photo: file}));
  const size = JSON.parse(response.headers.get("X-Size"));
  const [picture, url] = await Promise.all([response.blob().then(dataUrl), dataUrl(file)]);
  if (mine !== opening) return false;
  removeAll();
  photo = {file, url, size};
  at("photo").style.setProperty("--shape", size[0] / size[1]);
  at("photo").style.setProperty("--wide", `${size[0]}px`);
  at("photo").hidden = false;
  image.src = picture;
  await image.decode();
  for (const [k, id] of ["x", "y"].entries()) at(id).value = Math.floor(size[k] / 2) + 0.5;
  at("status").textContent =
    `${size[0]} × ${size[1]} pixels. Click anywhere on the photo. Edit a text and press Find this text to see where it leads then.`;
  draw();
  return true;
}

const dataUrl = blob => new Promise((done, failed) => {
  const reader = Object.assign(new FileReader(), {onload: () => done(reader.result), onerror: failed});
  reader.readAsDataURL(blob);
});

function removeAll() {
  // What was complained of, or offered, was about these points.
  hush();
  for (const point of points) point.box.remove();
  points = [];
  looked = null;
  at("caption").textContent = "";
  draw();
}

/** Buttons that would do nothing now cannot be pressed. */
function enable() {
  for (const id of ["fullscreen", "by-numbers", "find-own"]) at(id).disabled = !photo;
  at("clear").disabled = !points.length;
  for (const id of ["figure", "json"]) at(id).disabled = !points.some(point => point.answer);
}

/** A star at each asked point, a ring at each found one that is in the photo, a line between them; either has the
number of its point. While the visitor points at an answer the others' marks are faint. */
function draw() {
  enable();
  const [width, height] = [image.clientWidth, image.clientHeight];
  Object.assign(marks.style, {left: `${image.offsetLeft}px`, top: `${image.offsetTop}px`});
  marks.setAttribute("width", width);
  marks.setAttribute("height", height);
  marks.replaceChildren();
  if (!photo) return;
  const seen = ([x, y]) => [x * width / photo.size[0], y * height / photo.size[1]];
  const put = (kind, attributes, text = "") => {
    const mark = document.createElementNS(SVG, kind);
    for (const [name, value] of Object.entries(attributes)) mark.setAttribute(name, value);
    mark.textContent = text;
    marks.append(mark);
  };
  for (const point of points) {
    const {n, asked, answer} = point;
    const faint = looked && looked !== point ? " faint" : "";
    const star = asked && seen(asked);
    const ring = answer && answer.found_x !== null && !absence(answer) && seen([answer.found_x, answer.found_y]);
    const radius = 11;
    if (star && ring) {
      const apart = Math.hypot(ring[0] - star[0], ring[1] - star[1]);
      const part = Math.max(0, 1 - radius / apart);
      const [x2, y2] = star.map((from, k) => from + part * (ring[k] - from));
      if (part) put("line", {class: faint, x1: star[0], y1: star[1], x2, y2});
    }
    if (ring) put("circle", {class: `ring${faint}`, cx: ring[0], cy: ring[1], r: radius});
    if (star) put("polygon", {class: `star${faint}`, points: starAt(star)});
    // Beside the marker, towards the middle of the photo, so that it is never cut off.
    const number = ([x, y]) => put("text", {class: faint, x: x + (x < width / 2 ? 20 : -20), y: y + (y < height / 2 ? 20 : -20)}, n);
    if (star || ring) number(star || ring);
    // One for both where they are close.
    if (star && ring && Math.hypot(ring[0] - star[0], ring[1] - star[1]) > 40) number(ring);
  }
}

function starAt([x, y]) {
  const corners = Array.from({length: 10}, (_, k) => {
    const [turn, reach] = [Math.PI * (k / 5 - 0.5), k % 2 ? 4.5 : 10];
    return `${x + reach * Math.cos(turn)},${y + reach * Math.sin(turn)}`;
  });
  return corners.join(" ");
}

// ---- saving

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function kept() {
  const answers = points.filter(point => point.answer).map(point => point.answer);
  if (!answers.length) throw new Error("there is no point to save yet");
  return answers;
}

function saveJson() {
  const [answers, model] = [kept(), points.findLast(point => point.answer).model];
  const content = {model, photo: {width: photo.size[0], height: photo.size[1]}, points: answers};
  save(new Blob([JSON.stringify(content, null, 2)], {type: "application/json"}), "talking-points.json");
}

async function saveFigure() {
  const form = formOf({photo: photo?.file, points: JSON.stringify(kept())});
  save(await (await ask("page/figure", form)).blob(), "talking-points.png");
}

// ---- what a visitor does

/** Enter sends, Shift-Enter begins a line. */
function submitOnEnter(words) {
  words.addEventListener("keydown", event => {
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    words.form.requestSubmit();
  });
}

async function tryExample() {
  const response = await ask("page/example");
  if (!await openPhoto(new File([await response.blob()], "example.jpg"))) return;
  for (const asked of JSON.parse(response.headers.get("X-Points"))) describePoint(asked);
}

async function listModels() {
  const listed = (await (await ask("v1/models")).json()).data;
  models = Object.fromEntries(listed.map(one => [one.id, one]));
  at("model").replaceChildren(...listed.map(one => new Option(one.id)));
  at("models").hidden = listed.length < 2;
  tellWhatIsKnown();
}

function tellWhatIsKnown() {
  const {id, knows} = models[at("model").value];
  at("knows").hidden = !knows.length;
  at("knows").querySelector("summary").textContent = `What ${id} knows: ${knows.length} objects and parts`;
  at("names").textContent = knows.join(", ");
}

/** Why typed numbers are rather no pixels, in the words of the API; empty where they may be. A click is always one. */
function normalised(typed, size) {
  const most = Number(document.body.dataset.roundedOne);
  const near = typed.every(side => side >= 0 && side <= most) && typed.some(side => side % 1);
  if (!near || Math.min(...size) <= 2) return "";
  return `the point [${typed.join(", ")}] looks normalised; expected pixels of the ${size.join("x")} photo (its top left one is [0, 0])`;
}

// Where the pointer was let go, in fractions of a CSS pixel; a click tells whole ones alone.
let letGo = {clientX: NaN, clientY: NaN};

/** Where a click was, in CSS pixels: the middle of the smallest part of the screen that the browser tells apart. */
function placeOf(event) {
  const isFine = Math.abs(letGo.clientX - event.clientX) <= 1 && Math.abs(letGo.clientY - event.clientY) <= 1;
  const {clientX, clientY} = isFine ? letGo : event;
  const isWhole = Number.isInteger(clientX) && Number.isInteger(clientY);
  const half = isFine && !isWhole ? 0.5 / (devicePixelRatio * (visualViewport?.scale ?? 1)) : 0.5;
  return [clientX + half, clientY + half];
}

const chooser = document.querySelector("#upload input");
chooser.addEventListener("change", async () => {
  const [file] = chooser.files;
  if (file) await trying(() => openPhoto(file));
  chooser.value = "";
});
document.addEventListener("dragover", event => event.preventDefault());
document.addEventListener("drop", event => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) trying(() => openPhoto(file));
});
at("photo").addEventListener("pointerup", event => { letGo = event; });
image.addEventListener("click", event => {
  const box = image.getBoundingClientRect();
  const [left, top] = placeOf(event);
  const share = [(left - box.left) / box.width, (top - box.top) / box.height];
  if (photo) describePoint(share.map((part, k) => Math.min(1, Math.max(0, part)) * photo.size[k]));
});
at("numbers").addEventListener("submit", event => {
  event.preventDefault();
  const typed = [at("x").valueAsNumber, at("y").valueAsNumber];
  const problem = typed.some(Number.isNaN) ? "give x and y, in pixels" : normalised(typed, photo.size);
  if (problem) complain(problem);
  else describePoint(typed);
});
at("own-words").addEventListener("submit", event => {
  event.preventDefault();
  const text = at("own").value;
  addPoint(null, text, (point, shown) => find(point, shown, text, {}));
});
submitOnEnter(at("own"));
at("example").addEventListener("click", () => trying(tryExample));
at("clear").addEventListener("click", removeAll);
at("model").addEventListener("change", tellWhatIsKnown);
at("fullscreen").hidden = !document.fullscreenEnabled;
at("fullscreen").addEventListener("click", () => trying(() => at("photo").requestFullscreen()));
// In full screen nothing else is seen than what lies in the photo's element.
document.addEventListener("fullscreenchange", () => {
  if (document.fullscreenElement) at("photo").append(at("problem"));
  else at("photo").after(at("problem"));
});
at("figure").addEventListener("click", () => trying(saveFigure));
at("json").addEventListener("click", () => trying(saveJson));
const sizes = new ResizeObserver(draw);
for (const part of [image, at("photo")]) sizes.observe(part);
await trying(listModels);
document.documentElement.dataset.listens = "yes";
