// The inbox: the mails, newest first, and the open mail in a sandboxed frame.
// @ts-check
import { time } from "./clock.js";
import { byId, keep, make, write } from "./dom.js";

/** @type {string | null} The id of the mail that the user chose, or null: then the newest is open. */
let chosen = null;
/** @type {any} */
let shown = null;

/** @param {any} element */
function setUp(element) {
  const mails = Object.assign(make("ol", "scroll"), { id: "mails", tabIndex: 0 });
  mails.setAttribute("aria-label", "Mails, newest first");
  const frame = Object.assign(make("iframe"), { id: "body", title: "The mail's text" });
  frame.setAttribute("sandbox", "allow-popups allow-popups-to-escape-sandbox");
  const subject = Object.assign(make("h3"), { id: "subject" });
  const facts = make("p", "note", "from ", make("b", "from"), " to ", make("b", "to"), " ", make("span", "sent"));
  const reader = Object.assign(make("article", "", subject, facts, frame), { id: "reader" });
  reader.setAttribute("aria-label", "The mail that is open");
  element.append(make("div", "title", make("h2", "", "Inbox")), make("p", "empty", "No mail has come: send a request whose topic goes to email."), mails, reader);
}

/** @param {any} element @param {any} pane */
export function showMails(element, pane) {
  if (!element.children.length) setUp(element);
  shown = pane;
  const mails = [...pane.mails].reverse();
  const open = mails.find((mail) => mail.id === chosen) ?? mails[0];
  keep(byId("mails"), mails.map((mail) => ({ ...mail, open: mail === open })), (mail) => mail.id, (mail) => {
    const button = make("button", "subject", make("span", "text", mail.subject), time(mail.at * 1000));
    Object.assign(button, { type: "button", onclick: () => {
      chosen = mail.id;
      showMails(element, shown);
    } });
    if (mail.open) button.setAttribute("aria-current", "true");
    return make("li", "", button);
  });
  element.querySelector(".empty").hidden = mails.length > 0;
  byId("mails").hidden = !open;
  byId("reader").hidden = !open;
  if (!open) return;
  write(byId("subject"), open.subject);
  write(element.querySelector(".from"), open.from);
  write(element.querySelector(".to"), open.to.join(", "));
  const source = `/mail/${encodeURIComponent(open.id)}`;
  if (byId("body").getAttribute("src") !== source) {
    byId("body").setAttribute("src", source);
    element.querySelector(".sent").replaceChildren(time(open.at * 1000));
  }
}
