// The posts to a channel's webhook: an Adaptive Card as Teams shows it, or all texts of any other post.
// @ts-check
import { time } from "./clock.js";
import { keep, make, outwards } from "./dom.js";

/** Render the Markdown of our cards: a link that is a fact's whole value, and escaped characters. @param {string} text */
function markdown(text) {
  const plain = (/** @type {string} */ part) => part.replace(/\\(.)/g, "$1");
  const link = /^\[(.*)\]\(((?:mailto|tel):[^()\s]+)\)$/.exec(text);
  return link ? outwards(link[2], plain(link[1])) : plain(text);
}

/** Render a text with {{DATE(…)}} and {{TIME(…)}}, which Teams shows in the reader's time zone; both of one moment become one.
 * @param {string} text */
function dated(text) {
  const nodes = [];
  let end = 0, last = "";
  for (const match of text.matchAll(/\{\{(?:DATE|TIME)\(([^,)]+)[^}]*\}\}/g)) {
    const between = text.slice(end, match.index);
    end = match.index + match[0].length;
    if (match[1] === last) continue;
    nodes.push(between, time(match[1]));
    last = match[1];
  }
  return [...nodes, text.slice(end)];
}

/** https://adaptivecards.io/explorer/ @param {any} element */
function renderElement(element) {
  if (element.type === "FactSet") {
    const rows = element.facts.map((/** @type {any} */ fact) => [make("dt", "", markdown(fact.title)), make("dd", "", markdown(fact.value))]);
    return make("dl", "facts", ...rows.flat());
  }
  if (element.type === "TextBlock") return make("div", "context", ...dated(element.text));
  if (!element.inlines) return make("div", "section", element.text ?? "");
  const runs = element.inlines.map((/** @type {any} */ run) => make("span", run.size === "Large" ? "header" : run.isSubtle ? "context" : "", run.text));
  return make("div", "section", ...runs);
}

/** @param {any} card */
function renderCard(card) {
  const buttons = card.actions.filter((/** @type {any} */ action) => /^https?:\/\//.test(action.url)).map((/** @type {any} */ action) => {
    const button = outwards(action.url, action.title);
    button.className = "theirs";
    return button;
  });
  return make("div", "card", ...card.body.map(renderElement), buttons.length > 0 && make("div", "their-actions", ...buttons));
}

/** @param {any} post */
function renderPost({ at, place, card, texts, body }) {
  const head = make("div", "", make("b", "", `${card ? "Workflows" : "Webhook"}${place ? `, ${place}` : ""}`), " ", make("small", "", time(at * 1000)));
  if (card) return make("li", "", head, renderCard(card));
  const whole = make("details", "", make("summary", "", "The whole post"), make("pre", "", JSON.stringify(body, null, 2)));
  return make("li", "", head, make("div", "card", ...texts.map((/** @type {string} */ text) => make("p", "section", text))), whole);
}

/** @param {any} element @param {any} pane */
export function showCards(element, pane) {
  if (!element.children.length) {
    const list = Object.assign(make("ol", "scroll posts"), { tabIndex: 0 });
    list.setAttribute("aria-label", `Posts to ${pane.title}, newest first`);
    element.append(make("div", "title", make("h2", "", pane.title)), make("p", "empty", `Nothing has been posted: send a request whose topic goes to ${pane.title}.`), list);
  }
  keep(element.querySelector(".posts"), [...pane.posts].reverse(), (each) => String(each.id), renderPost);
  element.querySelector(".empty").hidden = pane.posts.length > 0;
}
