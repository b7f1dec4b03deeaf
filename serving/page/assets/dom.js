// Building the page out of text: nothing that a server or a file says is ever read as HTML.

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children, which are elements or text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

export function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A bar of a share between 0 and 1; its number stands beside it. */
export function bar(share) {
  const filled = element("span");
  filled.style.width = `${(100 * share).toFixed(1)}%`;
  return element("span", { class: "bar", "aria-hidden": "true" }, filled);
}

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** A result's label; of a task with several labels all that it assigns, as tables have them. */
export const labels = (result) => (result.labels ? [...result.labels].sort().join("|") : result.label);

/** Clades are written with underscores in the tree. */
export const plain = (clade) => clade.replaceAll("_", " ");

export function show(id, visible) {
  byId(id).hidden = !visible;
}

export function problem(id, error) {
  byId(id).textContent = error ? error.message : "";
  show(id, Boolean(error));
}

/** Calls a function once the calls have stopped for a while. */
export function settled(wait, call) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, wait);
  };
}
