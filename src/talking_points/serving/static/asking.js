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

export function complain(message) {
  at("problem").textContent = message;
  at("problem").hidden = false;
  const mine = ++complaints;
  setTimeout(() => { if (mine === complaints) at("problem").hidden = true; }, SHOWN_FOR_MS);
}
