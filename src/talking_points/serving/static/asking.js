// What the pages have in common: asking the server, and telling what goes wrong.

const SHOWN_FOR_MS = 8000;

export const at = id => document.getElementById(id);

export async function ask(path, options) {
  const response = await fetch(path, options);
  if (!response.ok) {
    const told = await response.json().catch(() => null);
    throw new Error(told?.error?.message ?? `the server answers with status ${response.status}`);
  }
  return response;
}

/** Run `work`; tell what goes wrong, and then run `otherwise`. */
export async function trying(work, otherwise = () => {}) {
  try {
    await work();
  } catch (error) {
    complain(error.message);
    otherwise();
  }
}

let complaints = 0;

/** Hide the message that is shown, if any. */
export function hush() {
  at("problem").hidden = true;
}

/** Show a message for a while; `offer` is the label of a button below it, `deed` what the button does. */
export function complain(message, offer = "", deed = () => {}) {
  at("problem").replaceChildren(message);
  at("problem").hidden = false;
  const mine = ++complaints;
  const hide = () => { if (mine === complaints) hush(); };
  if (offer) {
    const button = Object.assign(document.createElement("button"), {type: "button", textContent: offer});
    button.addEventListener("click", () => { hide(); deed(); });
    at("problem").append(button);
  }
  setTimeout(hide, offer ? 2 * SHOWN_FOR_MS : SHOWN_FOR_MS);
}
