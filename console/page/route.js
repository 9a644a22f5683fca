// The page's URL: / with a search, or /requests/<id>. So reloading and the browser's Back button work.
// @ts-check

const view = { /** @type {() => void} */ changed: () => {} };

/** The id of the open request, or null. */
export const opened = () => /^\/requests\/([0-9a-f-]{36})$/.exec(location.pathname)?.[1] ?? null;

/** The parameters of the search. */
export const query = () => new URLSearchParams(location.search);

/** @param {string} address @param {boolean} [replace] */
export function go(address, replace = false) {
  if (address !== location.pathname + location.search) history[replace ? "replaceState" : "pushState"](null, "", address);
  view.changed();
}

/** @param {() => void} changed Called whenever the address has changed. */
export function listen(changed) {
  view.changed = changed;
  addEventListener("popstate", changed);
  // A click on a link within the page loads no new document, unless the user opens it in another tab.
  const follow = (/** @type {MouseEvent} */ event) => {
    const link = /** @type {any} */ (event.target).closest?.("a[href^='/']");
    if (!link || link.target || event.button > 1) return;
    event.preventDefault();
    // A tab that the page opens gets a copy of its storage, with the token; one that the browser opens gets none.
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) window.open(link.href);
    else go(link.getAttribute("href"));
  };
  document.addEventListener("click", follow);
  document.addEventListener("auxclick", follow);
}
