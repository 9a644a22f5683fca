// The pane for Slack: the messages in Slack's order, the newest at the bottom, with buttons to click.
// @ts-check
import { acting, call } from "./api.js";
import { time } from "./clock.js";
import { byId, keep, make, outwards, write } from "./dom.js";

/** Undo Slack's escapes: it escapes only &, < and >. @param {string} text */
const unescaped = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

/** Render Slack's mrkdwn as nodes: bold, italic, strike, code, links and times; everything else is plain text.
 * https://docs.slack.dev/messaging/formatting-message-text @param {string} text @returns {(string | Node)[]} */
function mrkdwn(text) {
  const tags = /** @type {Record<string, string>} */ ({ "*": "b", _: "i", "~": "s", "`": "code" });
  const marks =
    /(?<![\w*_~`])([*_~`])(?=\S)([^\n]*?\S)\1(?![\w*_~`])|<((?:https?|mailto|tel):[^|>]+)(?:\|([^>]+))?>|<!date\^(\d+)\^([^|^>]+)\|[^>]+>/g;
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(marks)) {
    nodes.push(unescaped(text.slice(end, match.index)));
    end = match.index + match[0].length;
    if (match[5]) nodes.push(time(Number(match[5]) * 1000));
    else if (match[3]) nodes.push(outwards(unescaped(match[3]), unescaped(match[4] ?? match[3])));
    else nodes.push(make(tags[match[1]], "", ...(match[1] === "`" ? [unescaped(match[2])] : mrkdwn(match[2]))));
  }
  return [...nodes, unescaped(text.slice(end))];
}

/** @param {any} text */
const textObject = (text) => (text.type === "mrkdwn" ? mrkdwn(text.text) : [unescaped(text.text)]);

/** @param {any} element A button. */
function renderButton(element) {
  const shown = textObject(element.text);
  const button = element.url ? outwards(element.url, ...shown) : make("button", "", ...shown);
  button.classList.add("theirs");
  if (!element.url) Object.assign(button, { type: "button", name: element.action_id, value: element.value });
  return button;
}

/** https://docs.slack.dev/reference/block-kit/blocks @param {any} block */
function renderBlock(block) {
  if (block.type === "divider") return make("hr");
  if (block.type === "context") return make("div", "context", ...block.elements.map((/** @type {any} */ each) => make("span", "", ...textObject(each))));
  if (block.type === "actions") return make("div", "their-actions", ...block.elements.map(renderButton));
  if (block.type === "header") return make("div", "header", ...textObject(block.text));
  const fields = (block.fields ?? []).map((/** @type {any} */ each) => make("div", "", ...textObject(each)));
  const left = make("div", "", block.text && make("div", "section", ...textObject(block.text)), fields.length > 0 && make("div", "fields", ...fields));
  return block.accessory ? make("div", "beside", left, renderButton(block.accessory)) : left;
}

/** @param {any} message */
function renderMessage(message) {
  const head = make("div", "", make("b", "", "assistance"), " ", make("span", "app", "APP"), " ", make("small", "", time(Number(message.ts) * 1000)));
  const blocks = message.blocks?.map(renderBlock) ?? [make("div", "section", ...mrkdwn(message.text))];
  const avatar = make("span", "avatar", "A");
  avatar.setAttribute("aria-hidden", "true");
  const onlyForOne = message.ephemeral_messages.map((/** @type {any} */ { user, text }) => make("p", "whisper", `Only @${user} sees: `, ...mrkdwn(text)));
  const item = make("li", "", avatar, make("div", "", head, ...blocks, ...onlyForOne));
  for (const button of item.querySelectorAll("button")) button.onclick = () => press(message.ts, button);
  return item;
}

/** Click a button as the chosen user. @param {string} ts @param {any} button */
function press(ts, button) {
  const user = byId("user").value.trim().replace(/^@/, "").toLowerCase();
  byId("user").toggleAttribute("aria-invalid", !user);
  if (user) acting(byId("pressed"), () => call("press", { user, ts, value: button.value }), button);
  else write(byId("pressed"), "Enter the name of the user who clicks.");
}

/** @param {any} element */
function setUp(element) {
  const list = make("ol", "scroll");
  const user = Object.assign(make("input"), { id: "user", value: "anna", autocomplete: "off", spellcheck: false });
  const label = make("label", "", "Click buttons as ", user);
  label.id = "presser";
  const pressed = make("p");
  pressed.id = "pressed";
  pressed.setAttribute("role", "status");
  Object.assign(list, { id: "slack", tabIndex: 0 });
  list.setAttribute("aria-label", "Messages in Slack");
  element.append(make("div", "title", make("h2", "", "Slack"), make("small", "where"), label), pressed, make("p", "empty"), list);
}

/** @param {any} element @param {any} pane */
export function showSlack(element, pane) {
  if (!element.children.length) setUp(element);
  const list = byId("slack"), atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 20, count = list.children.length;
  write(element.querySelector(".where"), pane.here ? `#assistance, ${pane.place}` : pane.place);
  keep(list, pane.messages, (each) => each.ts, renderMessage);
  if (atEnd || count !== list.children.length) list.scrollTop = list.scrollHeight;
  byId("presser").hidden = !list.querySelector("button");
  const empty = element.querySelector(".empty");
  empty.hidden = pane.messages.length > 0;
  write(empty, pane.here ? "Nothing has been posted: send a request whose topic goes to Slack." : "Messages go to the real Slack: look there.");
}
