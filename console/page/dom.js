// Builds the page's elements. Every text is inserted as text, never as HTML.
// @ts-check

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);
/** @param {number} count @param {string} noun */
export const many = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** Make an element with a class and children; children that are false or empty are left out.
 * @param {string} tag @param {string} [className] @param {...any} children @returns {any} */
export function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

/** Make a button that calls `act`. @param {string} text @param {(button: any) => void} act @param {string} [className] */
export function button(text, act, className = "") {
  const element = make("button", className, text);
  element.type = "button";
  element.onclick = () => act(element);
  return element;
}

/** Make a link to another site. @param {string} href @param {...any} children */
export function outwards(href, ...children) {
  const link = make("a", "", ...children);
  Object.assign(link, { href, rel: "noreferrer", target: "_blank" });
  return link;
}

/** Set an element's text only if it differs, so that selections stay and screen readers don't repeat it.
 * @param {any} element @param {string} text */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Keep one child per item, in order, and replace only those whose content has changed. The focus is kept.
 * @template T @param {any} parent @param {T[]} items @param {(item: T) => string} key @param {(item: T) => any} render */
export function keep(parent, items, key, render) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = new Set(items.map(key));
  for (const [name, child] of old) if (!wanted.has(name)) child.remove();
  items.forEach((item, index) => {
    const content = JSON.stringify(item);
    let child = old.get(key(item));
    if (child?.dataset.content !== content) {
      const fresh = render(item);
      const active = /** @type {any} */ (document.activeElement);
      const held = child?.contains(active) ? mark(active) : null;
      child?.replaceWith(fresh);
      // Focus the button in the same place, such as Release after I'll take it.
      if (held) [...fresh.querySelectorAll("a, button, input, select"), fresh].find((each) => mark(each) === held)?.focus();
      child = fresh;
      child.dataset.key = key(item);
      child.dataset.content = content;
    }
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}

/** The text that identifies an element, to find it again after a replacement. @param {any} element */
const mark = (element) => element.getAttribute("value") ?? element.getAttribute("href") ?? element.dataset.mark ?? element.textContent;

const SHAPES = {
  accepted: "M6 2a4 4 0 1 0 .01 0",
  published: "M6 2a4 4 0 1 0 .01 0M6 5v2",
  sending: "M1.5 6h8M6.5 3l3 3-3 3",
  retrying: "M9.6 4.2A4 4 0 1 0 10 6.6M9.9 1.6v2.8H7.1",
  delivered: "M1.8 6.4l3 3 5.4-6.6",
  failed: "M2.5 2.5l7 7M9.5 2.5l-7 7",
  unknown: "M4 4.2a2 2 0 1 1 2.6 2q-.6.3-.6 1.2M6 9.6v.2",
  due: "M6 2a4 4 0 1 0 .01 0M6 3.8v2.4l1.7 1",
  taken: "M6 1.8a1.9 1.9 0 1 0 .01 0M2.2 10.4c.4-4 7.2-4 7.6 0",
  released: "M6 1.8a1.9 1.9 0 1 0 .01 0M2.2 10.4c.4-4 7.2-4 7.6 0M1.5 1.5l9 9",
};

/** The icon of a state, shown beside its name. @param {string} state */
export function icon(state) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  const path = document.createElementNS(namespace, "path");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", SHAPES[/** @type {keyof typeof SHAPES} */ (state)] ?? SHAPES.unknown);
  svg.append(path);
  return svg;
}

/** A state's icon and name, in its colour. @param {string} state @param {string} [word] */
export const badge = (state, word = state) => make("span", `badge ${state}`, icon(state), word);
