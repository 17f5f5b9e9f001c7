// The page on which people describe points, one at a time. What is saved lives in the server's file; what is typed and
// not saved yet lives here, and is shown again when one comes back to its point.

import {ask, at, complain, hush, trying} from "./asking.js";

const SVG = "http://www.w3.org/2000/svg";
const RADIUS = 12;

const count = Number(document.body.dataset.count);
const words = at("text");

let states = []; // of each point: "", "text" or "skipped"
let n = 0; // the point shown, from 1; 0 before the first is
let kept = ""; // its text as the server has it
let warned = null; // the text that was warned of: saving it again goes on
let busy = false;
const drafts = new Map(); // texts that are not saved, by point
const shares = {photo: [0, 0], loupe: [0, 0]}; // where the point is in either picture, in its [0, 1]^2
const sizes = new ResizeObserver(() => Object.keys(shares).forEach(mark));

// ---- showing

/** A picture that is ready to be shown; a hidden one, and a complaint, when there is none. */
async function picture(number, kind) {
  const image = new Image();
  try {
    const url = URL.createObjectURL(await (await ask(`points/${number}/${kind}`)).blob());
    image.src = url;
    await image.decode().finally(() => URL.revokeObjectURL(url));
  } catch (error) {
    image.hidden = true;
    complain(`${error.message}; if this stays so, skip the point`);
  }
  return image;
}

async function show(number) {
  const pictures = Promise.all(["photo", "loupe"].map(kind => picture(number, kind)));
  const point = await (await ask(`points/${number}`)).json();
  const [photo, loupe] = await pictures;
  keepDraft();
  n = number;
  [states[n - 1], kept, warned] = [point.state, point.text, null];
  words.value = drafts.get(n) ?? kept;
  place("photo", photo, point.at);
  place("loupe", loupe, point.loupe_at);
  note("");
  progress();
  words.focus({preventScroll: true});
}

/** Put a picture where the last one was. share: where the point is in it. */
function place(id, image, share) {
  const before = at(id).querySelector("img");
  image.alt = before.alt;
  sizes.unobserve(before);
  before.replaceWith(image);
  shares[id] = share;
  sizes.observe(image);
  mark(id);
}

/** A thin ring around the point. */
function mark(id) {
  const [image, svg] = [at(id).querySelector("img"), at(id).querySelector("svg")];
  const [width, height] = [image.clientWidth, image.clientHeight];
  Object.assign(svg.style, {left: `${image.offsetLeft}px`, top: `${image.offsetTop}px`});
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  svg.replaceChildren();
  if (image.hidden) return;
  const [cx, cy] = [shares[id][0] * width, shares[id][1] * height];
  for (const name of ["around", "thin"]) {
    const ring = document.createElementNS(SVG, "circle");
    for (const [key, value] of Object.entries({class: name, cx, cy, r: RADIUS})) ring.setAttribute(key, value);
    svg.append(ring);
  }
}

function progress() {
  const of = state => states.filter(one => one === state).length;
  at("progress").textContent = `${n} of ${count} · ${of("text")} described, ${of("skipped")} skipped`;
  tellSave();
  at("back").disabled = n === 1;
  at("forward").disabled = n === count;
  at("skipped").hidden = states.includes("") || !states.includes("skipped");
  if (at("note").textContent) return;
  if (isChanged()) note("Not saved yet.");
  else if (states[n - 1] === "skipped") note("Skipped. Words that you save now count instead.");
  else if (states[n - 1] === "text") note("Saved.");
}

/** What the first button does: of words that were warned of, and are saved, it goes on. */
function tellSave() {
  at("save").textContent = isWarned() ? "Go on with these words" : "Save and go on";
}

function note(text, warns = false) {
  at("note").textContent = text;
  at("note").className = warns ? "warns" : "";
}

const isWarned = () => warned !== null && words.value.trim() === warned;
const isChanged = () => n > 0 && words.value.trim() !== kept;

function keepDraft() {
  if (isChanged()) drafts.set(n, words.value);
  else drafts.delete(n);
}

// ---- saving

async function put(content) {
  const headers = {"Content-Type": "application/json"};
  const answer = await (await ask(`points/${n}`, {method: "PUT", headers, body: JSON.stringify(content)})).json();
  [states[n - 1], kept] = [answer.state, answer.text];
  words.value = kept;
  drafts.delete(n);
  note("");
  progress();
  return answer;
}

async function save() {
  if (!words.value.trim()) throw new Error("write what is at the ring, or press I cannot describe this");
  if (!isWarned()) {
    const {text, warning} = await put({text: words.value});
    if (warning) {
      warned = text;
      note(`Saved, but ${warning}. The page waits here: change the words, or go on with them.`, true);
      tellSave();
      return;
    }
  }
  await goOn();
}

async function skip() {
  if (words.value.trim()) throw new Error("there are words here: save them, or delete them to skip the point");
  await put({skipped: true});
  await goOn();
}

/** To the next point of a state, from the beginning again after the last. */
function next(state) {
  const numbers = Array.from({length: count}, (_, k) => (n + k) % count + 1);
  return numbers.find(number => number !== n && states[number - 1] === state);
}

async function goOn() {
  const open = next("");
  if (open) return show(open);
  note("All points are done. Thank you! You can go over them, or close this page.");
}

// ---- what people do

/** One thing after the other: a key that is pressed twice saves once. */
async function doing(work) {
  if (busy) return;
  busy = words.readOnly = true;
  // What was complained of was about the deed before.
  hush();
  await trying(work);
  busy = words.readOnly = false;
}

const go = number => number >= 1 && number <= count ? show(number) : undefined;
const deeds = {
  save,
  skip,
  back: () => go(n - 1),
  forward: () => go(n + 1),
  skipped: () => go(next("skipped") ?? n),
};

function deedOf(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return "save";
  if (!event.altKey || event.ctrlKey || event.metaKey) return null;
  return {ArrowLeft: "back", ArrowRight: "forward", KeyS: "skip"}[event.code] ?? null;
}

document.addEventListener("keydown", event => {
  const deed = deedOf(event);
  if (!deed) return;
  event.preventDefault();
  if (!event.repeat) doing(deeds[deed]);
});
at("form").addEventListener("submit", event => {
  event.preventDefault();
  doing(save);
});
for (const id of ["skip", "back", "forward", "skipped"]) at(id).addEventListener("click", () => doing(deeds[id]));
words.addEventListener("input", () => {
  note("");
  progress();
});
window.addEventListener("beforeunload", event => {
  if (drafts.size || isChanged()) event.preventDefault();
});

await doing(async () => {
  states = await (await ask("points")).json();
  const open = states.indexOf("") + 1;
  await show(open || 1);
  if (!open) await goOn();
});
document.documentElement.dataset.listens = "yes";
