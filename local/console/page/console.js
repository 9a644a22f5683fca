// The console's page: asks for the state of the stack twice a second, and shows what has changed.
// What a customer has typed gets in as text only: there is no innerHTML here, and a mail is shown in a sandboxed frame.
// @ts-check

/** @typedef {{at: string, outcome: string, error: string | null, in_doubt: boolean}} Attempt */
/** @typedef {{channel: string, status: string, attempts: number, resend: string | null, last_error: string | null, delivered_at: string | null, next_attempt_at: string | null, timeline: Attempt[]}} Delivery */
/** @typedef {{id: string, topic: string, description: string, created_at: string, published_at: string | null, status: string,
 *   in_outbox: boolean, channels: string[], taken: {by: string, via: string, at: number} | null, fallback: {channel: string, failed_channel: string, error: string} | null,
 *   deliveries: Delivery[]}} Request */
/** @typedef {{id: string, request_id: string, topic: string, channel: string, reason: string, sent_at: string}} Letter */
/** @typedef {{ts: string, text: string, blocks?: any[], whispers: {user: string, text: string}[]}} SlackMessage */
/** @typedef {{id: string, from: string, to: string[], subject: string, at: number}} Mail */
/** @typedef {{routes: Record<string, {channels: string[], fallback: string}>, channels: string[], requests: Request[],
 *   outbox: number, queues: Record<string, {waiting: number, hidden: number}>, dead: Record<string, number>, letters: Letter[],
 *   slack: {here: boolean, channel: string, messages: SlackMessage[]}, teams: {id: number, place: string, card: any}[], mails: Mail[],
 *   switches: {faults: Record<string, string | null>, producer: boolean, reconciler: boolean, workers: Record<string, number>}}} State */

const POLL_MS = 500;
const STEP_MS = 280;
const STAY_MS = 2500;
const FAULTS = { fine: "fine", slow: "slow", rate_limited: "rate-limited", failing: "failing", refusing: "refusing" };
const PROVIDERS = { slack: "Slack", email: "Email", teams: "Teams", callback: "The bot" };

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);
/** @param {string} name */
const provider = (name) => PROVIDERS[name] ?? name;
/** @param {number} count @param {string} noun */
const many = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** An element with a class, a text and children.
 * @param {string} tag @param {string} [className] @param {...(string | Node)} children @returns {any} */
function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Set the text only where it is another: selections and screen readers are left in peace.
 * @param {any} element @param {string} text */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Keep one child per item, in order, and renew only those whose content has changed. Focus survives.
 * @template T @param {any} parent @param {T[]} items @param {(item: T) => string} key @param {(item: T, old: any) => any} render */
function keep(parent, items, key, render) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = new Set(items.map(key));
  for (const [name, child] of old) if (!wanted.has(name)) child.remove();
  items.forEach((item, index) => {
    const content = JSON.stringify(item);
    let child = old.get(key(item));
    if (child?.dataset.content !== content) {
      const fresh = render(item, child);
      const focused = child?.contains(document.activeElement) ? document.activeElement?.getAttribute("value") : null;
      if (child && child !== fresh) child.replaceWith(fresh);
      // The button that takes its place, such as Release for I'll take it.
      if (focused && child !== fresh) fresh.querySelector(`[value="${CSS.escape(focused)}"]`)?.focus();
      child = fresh;
      child.dataset.key = key(item);
      child.dataset.content = content;
    }
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}

// ── The token ──

/** Move the token from the address, after the #, to this tab's storage: the history does not keep it. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname);
}
takeToken();
addEventListener("hashchange", takeToken);

const headers = () => ({ "X-Console": sessionStorage.getItem("token") ?? "" });

// ── Acting ──

/** How many acts have begun or ended: what was asked before does not say how the switches are after. */
let acted = 0;
let underWay = 0;

/** @param {string} act @param {object} body @returns {Promise<any>} */
async function call(act, body) {
  const answer = await fetch(`/api/${act}`, {
    method: "POST",
    headers: { ...headers(), "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const document = await answer.json();
  if (!answer.ok) throw new Error(document.error);
  return document.result;
}

/** Do it, say in `where` what came of it, and have the button wait meanwhile.
 * @param {any} where @param {() => Promise<string>} act @param {any} [button] */
async function acting(where, act, button) {
  if (button?.getAttribute("aria-disabled") === "true") return;
  button?.setAttribute("aria-disabled", "true");
  acted++;
  underWay++;
  try {
    write(where, await act());
  } catch (error) {
    write(where, `Not done: ${error.message}.`);
  }
  acted++;
  underWay--;
  button?.removeAttribute("aria-disabled");
  refresh();
}

/** What the bot says about its customer: a number or a boolean of the details is sent as one. @param {any} values */
function said(values) {
  const value = (/** @type {string} */ text) => (/^(true|false|-?(0|[1-9]\d*)(\.\d+)?)$/.test(text) ? JSON.parse(text) : text);
  const lines = values.get("details").split("\n").filter((/** @type {string} */ line) => line.trim());
  const details = lines.map((/** @type {string} */ line) => {
    const [label, ...rest] = line.split(":");
    return [label.trim(), value(rest.join(":").trim())];
  });
  const [name, email, phone] = ["name", "email", "phone"].map((each) => values.get(each));
  return {
    customer: { name, email, phone },
    conversation_url: values.get("conversation_url"),
    reference: values.get("reference"),
    details: Object.fromEntries(details),
  };
}

/** @param {any} form */
async function sendRequests(form) {
  const values = new FormData(form);
  const answers = [];
  for (let left = Number(values.get("times")); left > 0; left--)
    answers.push(
      await call("send", { topic: values.get("topic"), description: values.get("description"), key: values.get("key") || null, said: said(values) }),
    );
  const { status, replayed, body } = answers[answers.length - 1];
  if (status !== 202) return `${status} ${body.title}: ${body.errors?.map((each) => each.detail).join("; ") ?? body.detail ?? ""}`;
  const accepted = answers.length > 1 ? many(answers.length, "request") : body.id;
  return `202 Accepted: ${accepted}${replayed ? ", which was accepted before: the same key and payload are one request" : ""}`;
}

// ── The way ──

const COLUMNS = ["bot", "api", "outbox", "producer", "topic"];
const TEXTS = {
  bot: ["bot", "calls the API"],
  api: ["api", "answers 202"],
  outbox: ["outbox", "DynamoDB table"],
  producer: ["stream_producer", "publishes"],
  topic: ["topic", "SNS, by channel"],
  reconciler: ["reconciler", "what the stream missed"],
};
/** @type {Record<string, any>} */
const stations = {};
/** What moves: by request and channel, where it is and where it is yet to go. @type {Map<string, any>} */
const dots = new Map();
let first = true;

/** @param {string} name @param {string} title @param {string} text @param {number} column @param {string} row @param {string} [kind] */
function station(name, title, text, column, row, kind = "") {
  const element = make("li", `station ${kind}`, make("b", "", ...breakable(title)), make("small", "", text), make("span", "count"));
  element.dataset.station = name;
  element.style.gridColumn = String(column);
  element.style.gridRow = row;
  stations[name] = element;
  byId("stations").append(element);
}

/** A name that may be broken after an underscore. @param {string} name */
const breakable = (name) => name.split(/(?<=_)/).flatMap((part, index) => (index ? [make("wbr"), part] : [part]));

/** @param {string[]} channels */
function layOut(channels) {
  const rows = channels.length * 2;
  COLUMNS.forEach((name, index) => station(name, ...TEXTS[name], index + 1, name === "producer" ? `1 / ${rows}` : `1 / ${rows + 1}`));
  station("reconciler", ...TEXTS.reconciler, 4, String(rows), "dead");
  channels.forEach((channel, index) => {
    const row = String(index * 2 + 1);
    station(`queue:${channel}`, "queue", `SQS, ${channel}`, 6, row);
    station(`consumer:${channel}`, `${channel}_consumer`, "sends", 7, row);
    station(`arrived:${channel}`, channel === "email" ? "Inbox" : provider(channel), channel === "callback" ? "the bot, told of the end" : "a human reads it", 8, row);
    station(`dead:${channel}`, "dead letters", channel, 7, String(index * 2 + 2), "dead");
  });
  new ResizeObserver(() => draw(channels)).observe(byId("map"));
}

/** Where a station's middle is, within the map. @param {string} name */
function middle(name) {
  const map = byId("map").getBoundingClientRect(), box = stations[name].getBoundingClientRect();
  return { x: box.x - map.x + box.width / 2, y: box.y - map.y + box.height / 2, w: box.width / 2, h: box.height / 2 };
}

/** @param {string[]} channels */
function draw(channels) {
  const lines = byId("lines");
  lines.replaceChildren();
  /** @param {string} from @param {string} to @param {string} [kind] */
  const line = (from, to, kind = "") => {
    const a = middle(from), b = middle(to);
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const turn = (a.x + a.w + b.x - b.w) / 2;
    path.setAttribute("d", Math.abs(a.x - b.x) < 1 ? `M${a.x},${a.y}V${b.y}` : `M${a.x},${a.y}H${turn}V${b.y}H${b.x}`);
    path.setAttribute("class", kind);
    lines.append(path);
  };
  COLUMNS.slice(1).forEach((name, index) => line(COLUMNS[index], name));
  line("outbox", "reconciler", "dashed");
  line("reconciler", "topic", "dashed");
  for (const channel of channels) {
    line("topic", `queue:${channel}`);
    line(`queue:${channel}`, `consumer:${channel}`);
    line(`consumer:${channel}`, `arrived:${channel}`);
    line(`consumer:${channel}`, `dead:${channel}`, "dashed");
  }
  arrange();
}

/** Where a request is on its way to one channel, and how it is there. @param {Request} request @param {string} channel
 * @param {Set<string>} dead @returns {[string, string] | null} */
function place(request, channel, dead) {
  const delivery = request.deliveries.find((each) => each.channel === channel && !each.resend);
  if (delivery?.status === "failed") return dead.has(`${request.id} ${channel}`) ? [`dead:${channel}`, "failed"] : null;
  if (delivery?.status === "delivered") return [`arrived:${channel}`, "delivered"];
  if (delivery?.status === "sending") return [`consumer:${channel}`, "sending"];
  if (delivery?.status === "retrying") return [`queue:${channel}`, "retrying"];
  return request.in_outbox ? ["outbox", "accepted"] : [`queue:${channel}`, "published"];
}

/** The stations between two, so that a dot leaves none out. @param {string} from @param {string} to @param {string} channel */
function route(from, to, channel) {
  const way = [...COLUMNS, `queue:${channel}`, `consumer:${channel}`, `arrived:${channel}`];
  const target = to.startsWith("dead:") ? way.length - 2 : way.indexOf(to);
  const start = way.indexOf(from);
  const between = start <= target ? way.slice(start + 1, target + 1) : [to];
  return to.startsWith("dead:") ? [...between, to] : between;
}

/** @param {State} state */
function travel(state) {
  const dead = new Set(state.letters.map((letter) => `${letter.request_id} ${letter.channel}`));
  const seen = new Set();
  for (const request of state.requests) {
    for (const channel of new Set([...request.channels, ...(request.fallback ? [request.fallback.channel] : [])])) {
      const found = place(request, channel, dead);
      if (!found) continue;
      const key = `${request.id} ${channel}`;
      const [where, status] = found;
      seen.add(key);
      let dot = dots.get(key);
      if (!dot) {
        // What had arrived before the page was opened is not shown travelling.
        const done = first && status === "delivered";
        const begins = first ? where : channel === request.fallback?.channel ? "outbox" : "bot";
        dot = { element: make("i"), at: begins, next: [], goal: begins, status, over: done };
        dots.set(key, dot);
        if (!done) byId("dots").append(dot.element);
      }
      dot.status = status;
      if (dot.goal !== where) {
        // What is redriven is put into its queue.
        dot.next.push(...route(dot.goal.startsWith("dead:") ? "topic" : dot.goal, where, channel));
        dot.goal = where;
        dot.over = false;
        dot.element.classList.remove("gone");
        if (!dot.element.isConnected) byId("dots").append(dot.element);
      }
    }
  }
  for (const [key, dot] of dots) {
    if (seen.has(key)) continue;
    dot.element.remove();
    dots.delete(key);
  }
  first = false;
  arrange();
}

function step() {
  const now = Date.now();
  for (const dot of dots.values()) {
    if (dot.over) continue;
    if (dot.next.length) {
      dot.at = dot.next.shift();
      dot.since = now;
    } else if (dot.at.startsWith("arrived:") && now - (dot.since ?? now) > STAY_MS) {
      dot.over = true;
      dot.element.classList.add("gone");
      setTimeout(() => dot.over && dot.element.remove(), 900);
    }
  }
  arrange();
}

/** Put every dot where it is: those at one station side by side, below its text. */
function arrange() {
  /** @type {Map<string, number>} */
  const there = new Map();
  for (const dot of dots.values()) {
    if (dot.over || !stations[dot.at]) continue;
    const index = there.get(dot.at) ?? 0;
    there.set(dot.at, index + 1);
    const { x, y, w, h } = middle(dot.at);
    const across = Math.max(1, Math.floor((2 * w - 8) / 18));
    const left = x - w + 12 + (index % across) * 18, top = y + h - 2 + Math.floor(index / across) * 12;
    dot.element.style.transform = `translate(${left}px, ${top}px)`;
    const arrived = !dot.next.length;
    dot.element.className = arrived ? dot.status : "";
  }
}

/** @param {string} name @param {string | number} count @param {boolean} busy @param {boolean} [off] */
function show(name, count, busy, off = false) {
  const element = stations[name];
  write(element.querySelector(".count"), count === 0 ? "" : String(count));
  element.classList.toggle("busy", busy);
  element.classList.toggle("off", off);
}

/** @param {State} state */
function fillMap(state) {
  const { switches } = state;
  show("outbox", state.outbox ? `${state.outbox} waiting` : "", state.outbox > 0);
  show("producer", switches.producer ? "" : "stopped", false, !switches.producer);
  show("reconciler", switches.reconciler ? "" : "stopped", false, !switches.reconciler);
  for (const channel of state.channels) {
    const { waiting, hidden } = state.queues[channel];
    const sending = state.requests.filter((each) => each.deliveries.some((d) => d.channel === channel && d.status === "sending")).length;
    const back = Math.max(0, hidden - sending);
    show(`queue:${channel}`, [waiting && `${waiting} waiting`, back && `${back} hidden`].filter(Boolean).join(", "), waiting + back > 0);
    show(`consumer:${channel}`, sending ? `${sending} sending` : "", sending > 0);
    const fault = switches.faults[channel] ?? "fine";
    show(`arrived:${channel}`, fault === "fine" ? "" : FAULTS[fault], false, fault !== "fine");
    show(`dead:${channel}`, state.dead[channel], state.dead[channel] > 0);
  }
}

/** What is going on, in a sentence or two. @param {State} state */
function story(state) {
  const { switches } = state;
  const told = [];
  if (state.outbox && !switches.producer)
    told.push(
      `${many(state.outbox, "request")} in the outbox. The bot has its 202 all the same, and nothing is lost: each is stored, and leaves ` +
        (switches.reconciler ? "with the producer, or with the reconciler once it has waited for its grace." : "once the producer or the reconciler runs again."),
    );
  else if (!switches.producer) told.push("The stream producer is stopped: what you send now stays in the outbox.");
  for (const [channel, fault] of Object.entries(switches.faults)) {
    const retrying = state.requests.filter((each) => each.deliveries.some((d) => d.channel === channel && d.status === "retrying"));
    if (retrying.length)
      told.push(`${many(retrying.length, "request")} back in ${channel}'s queue: each attempt waits longer than the one before it.`);
    else if (fault === "refusing") told.push(`${provider(channel)} refuses for good: no retries, a dead letter, and the other channel instead.`);
    else if (fault && fault !== "fine") told.push(`${provider(channel)} is ${FAULTS[fault]}.`);
  }
  const dead = Object.values(state.dead).reduce((sum, count) => sum + count, 0);
  if (dead) told.push(`${many(dead, "dead letter")}: kept for fourteen days, for somebody to look at and to redrive.`);
  return told.join(" ") || "Each dot is a request on its way to one channel. Send one, and follow it.";
}

// ── What there is to see ──

/** @param {string} moment @param {string} start */
function after(moment, start) {
  return `+${((Date.parse(moment) - Date.parse(start)) / 1000).toFixed(2)} s`;
}

/** @param {Request} request @returns {[string, string][]} */
function timeline(request) {
  /** @type {[string, string][]} */
  const steps = [[request.created_at, "accepted: stored, and in the outbox, by one write"]];
  if (request.published_at) steps.push([request.published_at, "published: to the topic, and from there into the queues"]);
  for (const { channel, resend, timeline: attempts, last_error, delivered_at, next_attempt_at } of request.deliveries) {
    attempts.forEach((attempt, index) => {
      const notes = [attempt.error, attempt.in_doubt && "in doubt", resend && "sent once more by an operator"].filter(Boolean);
      steps.push([attempt.at, `${channel}: attempt ${index + 1}, ${attempt.outcome}${notes.length ? ` (${notes.join(", ")})` : ""}`]);
    });
    if (delivered_at) steps.push([delivered_at, `${channel}: delivered, ${provider(channel)} has taken it`]);
    // Being told to come later does not count as an attempt.
    const turnedAway = attempts.at(-1)?.outcome !== "retrying" ? `, turned away (${last_error})` : "";
    if (next_attempt_at) steps.push([next_attempt_at, `${channel}: next attempt${turnedAway}`]);
  }
  if (request.taken) steps.push([new Date(request.taken.at).toISOString(), `taken by ${request.taken.by}, via ${request.taken.via}`]);
  return steps.sort((a, b) => Date.parse(a[0]) - Date.parse(b[0]));
}

/** @param {Request} request @param {any} old */
function renderRequest(request, old) {
  const item = old ?? make("li", "", make("details", "", make("summary"), make("ol", "steps")));
  const fallback = request.fallback ? make("small", "", `by ${request.fallback.channel}: ${request.fallback.failed_channel} failed`) : "";
  item.querySelector("summary").replaceChildren(
    make("span", `badge ${request.status}`, request.status),
    make("span", "topic", request.topic),
    make("span", "text", request.description),
    fallback,
    request.taken ? make("small", "taken", `taken by ${request.taken.by}`) : "",
    make("small", "", new Date(request.created_at).toLocaleTimeString()),
  );
  const id = make("li", "id", make("span", "when", "id"), make("code", "", request.id));
  const steps = timeline(request).map(([at, text]) => make("li", "", make("span", "when", after(at, request.created_at)), make("span", "", text)));
  item.querySelector(".steps").replaceChildren(id, ...steps);
  return item;
}

/** A link as Slack, Teams and mails have them. @param {string} href @param {...(string | Node)} children */
function anchor(href, ...children) {
  const link = make("a", "", ...children);
  link.href = href;
  link.rel = "noreferrer";
  link.target = "_blank";
  return link;
}

/** @param {string} text */
const unescaped = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

/** A moment as the reader's clock shows it. @param {Date} at @param {string} format Slack's, of which ours uses two. */
function moment(at, format) {
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const today = at.toDateString() === new Date().toDateString();
  const day = today ? "Today" : at.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
  return format.replace("{date_short_pretty}", day).replace("{time}", time);
}

/** Slack's mrkdwn as nodes: bold, italic, strike, code, links and times; every other character is text.
 * https://docs.slack.dev/messaging/formatting-message-text @param {string} text @returns {(string | Node)[]} */
function mrkdwn(text) {
  const tags = { "*": "b", _: "i", "~": "s", "`": "code" };
  const marks =
    /(?<![\w*_~`])([*_~`])(?=\S)([^\n]*?\S)\1(?![\w*_~`])|<((?:https?|mailto|tel):[^|>]+)(?:\|([^>]+))?>|<!date\^(\d+)\^([^|^>]+)\|[^>]+>/g;
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(marks)) {
    nodes.push(unescaped(text.slice(end, match.index)));
    end = match.index + match[0].length;
    if (match[5]) nodes.push(moment(new Date(Number(match[5]) * 1000), match[6]));
    else if (match[3]) nodes.push(anchor(unescaped(match[3]), unescaped(match[4] ?? match[3])));
    else nodes.push(make(tags[match[1]], "", ...(match[1] === "`" ? [unescaped(match[2])] : mrkdwn(match[2]))));
  }
  return [...nodes, unescaped(text.slice(end))];
}

/** @param {any} text */
const textObject = (text) => (text.type === "mrkdwn" ? mrkdwn(text.text) : [unescaped(text.text)]);

/** Press a button of Slack's as the chosen user. @param {string} ts @param {any} button */
function press(ts, button) {
  const user = byId("user").value.trim().replace(/^@/, "").toLowerCase();
  if (user) acting(byId("pressed"), () => call("press", { user, ts, value: button.value }), button);
  else write(byId("pressed"), "Say who presses it.");
}

/** @param {any} element A button. @returns {Node} */
function renderButton(element) {
  const shown = textObject(element.text);
  const button = element.url ? anchor(element.url, ...shown) : make("button", "", ...shown);
  button.classList.add("pressed-in-slack");
  if (!element.url) Object.assign(button, { type: "button", name: element.action_id, value: element.value });
  return button;
}

/** https://docs.slack.dev/reference/block-kit/blocks @param {any} block */
function renderBlock(block) {
  if (block.type === "divider") return make("hr");
  if (block.type === "context") return make("div", "context", ...block.elements.map((each) => make("span", "", ...textObject(each))));
  if (block.type === "actions") return make("div", "actions", ...block.elements.map(renderButton));
  if (block.type === "header") return make("div", "header", ...textObject(block.text));
  const fields = (block.fields ?? []).map((/** @type {any} */ each) => make("div", "", ...textObject(each)));
  const parts = [];
  if (block.text) parts.push(make("div", "section", ...textObject(block.text)));
  if (fields.length) parts.push(make("div", "fields", ...fields));
  const left = make("div", "", ...parts);
  return block.accessory ? make("div", "beside", left, renderButton(block.accessory)) : left;
}

/** @param {SlackMessage} message */
function renderSlack(message) {
  const time = new Date(Number(message.ts) * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const head = make("div", "", make("b", "", "assistance"), " ", make("span", "app", "APP"), " ", make("small", "", time));
  const blocks = message.blocks?.map(renderBlock) ?? [make("div", "section", ...mrkdwn(message.text))];
  const avatar = make("span", "avatar", "A");
  avatar.setAttribute("aria-hidden", "true");
  const whispers = message.whispers.map(({ user, text }) => make("p", "whisper", `Only @${user} sees: `, ...mrkdwn(text)));
  const item = make("li", "", avatar, make("div", "", head, ...blocks, ...whispers));
  for (const button of item.querySelectorAll("button")) button.onclick = () => press(message.ts, button);
  return item;
}

/** Markdown as our cards have it: a link that is a whole fact, and escaped characters. @param {string} text */
function markdown(text) {
  const plain = (/** @type {string} */ part) => part.replace(/\\(.)/g, "$1");
  const link = /^\[(.*)\]\(((?:mailto|tel):[^()\s]+)\)$/.exec(text);
  return link ? anchor(link[2], plain(link[1])) : plain(text);
}

/** https://adaptivecards.io/explorer/ @param {any} element */
function renderElement(element) {
  if (element.type === "FactSet") {
    const rows = element.facts.map((/** @type {any} */ fact) => [make("dt", "", markdown(fact.title)), make("dd", "", markdown(fact.value))]);
    return make("dl", "", ...rows.flat());
  }
  if (element.type === "TextBlock") {
    const shown = element.text.replace(/\{\{DATE\(([^,)]+)[^}]*\}\}/g, (/** @type {any} */ _, /** @type {string} */ at) => moment(new Date(at), "{date_short_pretty}"));
    return make("div", "context", shown.replace(/\{\{TIME\(([^)]+)\)\}\}/g, (/** @type {any} */ _, /** @type {string} */ at) => moment(new Date(at), "{time}")));
  }
  const runs = element.inlines.map((/** @type {any} */ run) => {
    const kind = run.size === "Large" ? "header" : run.isSubtle ? "context" : "";
    return make("span", kind, run.text);
  });
  return make("div", "section", ...runs);
}

/** @param {{id: number, place: string, card: any}} message */
function renderTeams({ card, place }) {
  const buttons = card.actions.map((/** @type {any} */ action) => {
    const button = anchor(action.url, action.title);
    button.className = "pressed-in-slack";
    return button;
  });
  const actions = buttons.length ? [make("div", "actions", ...buttons)] : [];
  return make("li", "", make("b", "", place ? `Workflows, ${place}` : "Workflows"), make("div", "card", ...card.body.map(renderElement), ...actions));
}

/** @type {string | null} The mail that was chosen; without a choice the newest is open. */
let chosen = null;

/** @param {Mail[]} mails Newest first. */
function inbox(mails) {
  const open = mails.find((mail) => mail.id === chosen) ?? mails[0];
  keep(byId("mails"), mails.map((mail) => ({ ...mail, open: mail === open })), (mail) => mail.id, (mail, old) => {
    const time = new Date(mail.at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const item = old ?? make("li", "", make("button", "", make("small", "", time), make("span", "text", mail.subject)));
    const button = item.firstChild;
    button.type = "button";
    if (mail.open) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.onclick = () => {
      chosen = mail.id;
      refresh();
    };
    return item;
  });
  byId("reader").hidden = !open;
  if (!open) return;
  write(byId("subject"), open.subject);
  write(byId("from"), open.from);
  write(byId("to"), open.to.join(", "));
  const source = `/mail/${encodeURIComponent(open.id)}`;
  if (byId("body").getAttribute("src") !== source) byId("body").setAttribute("src", source);
}

/** @param {Letter} letter */
function renderLetter(letter) {
  const button = make("button", "", "Redrive");
  button.type = "button";
  button.setAttribute("aria-label", `Redrive ${letter.request_id ?? letter.id} on ${letter.channel}`);
  button.onclick = () => acting(byId("redriven"), () => call("redrive", { ids: [letter.id] }), button);
  const cells = [make("code", "", letter.request_id ?? "unreadable"), letter.topic ?? "", letter.channel, make("code", "", letter.reason),
    new Date(letter.sent_at).toLocaleTimeString(), button];
  return make("tr", "", ...cells.map((cell) => make("td", "", cell)));
}

/** A group of radio buttons. @param {any} group @param {string} name @param {Record<string, string>} choices */
function radios(group, name, choices) {
  for (const [value, text] of Object.entries(choices)) {
    const input = make("input");
    Object.assign(input, { type: "radio", name, value });
    group.append(make("label", "", input, ` ${text}`));
  }
}

/** @param {State} state */
function setUp(state) {
  layOut(state.channels);
  radios(byId("topics"), "topic", Object.fromEntries(Object.entries(state.routes).map(([topic, { channels }]) => [topic, `${topic} → ${channels.join(", ")}`])));
  byId("topics").querySelector("input").checked = true;
  for (const channel of Object.keys(state.switches.faults)) {
    const group = make("fieldset", "", make("legend", "", `${provider(channel)} is`));
    radios(group, `fault-${channel}`, FAULTS);
    group.onchange = (/** @type {any} */ event) => {
      const kind = event.target.value;
      acting(byId("done"), async () => {
        await call("fault", { channel, kind });
        return `${provider(channel)} is ${FAULTS[kind]} now.`;
      });
    };
    byId("faults").append(group);
  }
  byId("worker").append(...Object.keys(state.switches.workers).map((name) => Object.assign(make("option"), { value: name })));
  byId("worker").value = "slack_consumer";
}

/** @param {State} state */
function fillSwitches({ switches }) {
  for (const [channel, kind] of Object.entries(switches.faults))
    for (const input of document.querySelectorAll(`[name="fault-${channel}"]`)) input.checked = input.value === kind;
  byId("producer").checked = switches.producer;
  byId("reconciler").checked = switches.reconciler;
  for (const option of byId("worker").options) {
    const text = `${option.value} (${switches.workers[option.value]} running)`;
    if (option.text !== text) option.text = text;
  }
}

/** @param {State} state @param {boolean} current Whether nothing has been done since it was asked for. */
function fill(state, current) {
  if (!stations.bot) setUp(state);
  fillMap(state);
  travel(state);
  write(byId("story"), story(state));
  if (current) fillSwitches(state);
  keep(byId("requests"), state.requests, (each) => each.id, renderRequest);
  byId("no-requests").hidden = state.requests.length > 0;
  write(byId("slack-channel"), state.slack.here ? `#assistance, ${state.slack.channel}` : `messages go to the real one, ${state.slack.channel}`);
  keep(byId("slack"), [...state.slack.messages].reverse(), (each) => each.ts, renderSlack);
  byId("presses").hidden = !byId("slack").querySelector("button");
  byId("no-slack").hidden = state.slack.messages.length > 0 || !state.slack.here;
  byId("teams-section").hidden = !state.channels.includes("teams");
  keep(byId("teams"), [...state.teams].reverse(), (each) => String(each.id), renderTeams);
  byId("no-teams").hidden = state.teams.length > 0;
  inbox([...state.mails].reverse());
  byId("no-mails").hidden = state.mails.length > 0;
  keep(byId("letters"), state.letters, (each) => each.id, renderLetter);
  const dead = state.letters.length > 0;
  // A button that has the focus is not taken away with it.
  if (!dead && byId("dead").contains(document.activeElement)) byId("send").focus();
  byId("dead").hidden = !dead;
  byId("no-letters").hidden = dead;
}

let asking = false;
let again = false;

/** Ask, and show. One question at a time: an act in between has its effect shown by one more. */
async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  again = false;
  const connection = byId("connection"), before = acted;
  try {
    const answer = await fetch("/api/state", { headers: headers() });
    const state = await answer.json();
    if (!answer.ok) throw new Error(state.error);
    byId("page").hidden = false;
    fill(state, acted === before && !underWay);
    write(connection, "Live");
    connection.className = "";
  } catch (error) {
    write(connection, error instanceof TypeError ? "The stack has stopped: start it again with make run, and open the address that it prints" : error.message);
    connection.className = "lost";
  }
  asking = false;
  if (again) refresh();
}

const EXAMPLE = {
  name: "Anna Example", email: "anna@example.org", phone: "+49 30 1234567", conversation: "https://app.example.com/conversations/42",
  reference: "chat-17", details: "Plan: Pro\nSeats: 40\nTrial: false",
};
byId("example").onclick = () => {
  for (const [id, value] of Object.entries(EXAMPLE)) byId(id).value = value;
};
byId("send").onsubmit = (/** @type {Event} */ event) => {
  event.preventDefault();
  acting(byId("sent"), () => sendRequests(byId("send")), byId("send").querySelector("button"));
};
byId("description").onkeydown = (/** @type {KeyboardEvent} */ event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("send").requestSubmit();
};
for (const [name, title] of Object.entries({ producer: "stream producer", reconciler: "reconciler" }))
  byId(name).onchange = (/** @type {any} */ event) => {
    const on = event.target.checked;
    acting(byId("done"), async () => {
      await call(name, { on });
      return `The ${title} ${on ? "runs" : "is stopped"}.`;
    });
  };
byId("kill").onsubmit = (/** @type {Event} */ event) => {
  event.preventDefault();
  acting(byId("done"), () => call("kill", { function: byId("worker").value }), byId("kill").querySelector("button"));
};
byId("reconcile").onclick = (/** @type {any} */ event) => acting(byId("done"), () => call("reconcile", {}), event.currentTarget);
byId("redrive-all").onclick = (/** @type {any} */ event) => acting(byId("redriven"), () => call("redrive", {}), event.currentTarget);

refresh();
setInterval(() => document.hidden || refresh(), POLL_MS);
setInterval(step, STEP_MS);
