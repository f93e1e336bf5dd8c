// Keys, copying and live updates. Every page works without.
"use strict";

const rows = () => [...document.querySelectorAll("[data-row] a.primary, a[data-row]")]
  .filter((link) => link.offsetParent !== null);

function move(by) {
  const links = rows();
  if (links.length === 0) return;
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1);
  links[next].focus();
  links[next].scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, textarea, select");
  if (typing) {
    if (event.key === "Escape") typing.blur();
    return;
  }
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "/") {
    const filter = document.getElementById("filter");
    if (!filter) return;
    filter.focus();
    filter.select();
  } else return;
  event.preventDefault();
});

function offerCopies(root) {
  for (const block of root.querySelectorAll("pre.copy")) {
    if (block.querySelector("button")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(block.querySelector("code").textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(block.querySelector("code"));
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    block.append(button);
  }
}

offerCopies(document);

// The part of the page that is replaced when the thread changes.
const live = document.querySelector("[data-live]");

let events = null;

function stopWatching() {
  events?.close();
  const mark = document.querySelector("[data-live-mark]");
  if (mark) mark.hidden = true;
}

async function refresh() {
  const answer = await fetch(location.href, { credentials: "same-origin" });
  if (!answer.ok) {
    // The thread is gone, or the session.
    if (answer.status !== 503 && answer.status !== 504) stopWatching();
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (!fresh) return;
  const open = new Set([...live.querySelectorAll("details[open][data-key]")].map((one) => one.dataset.key));
  const focused = live.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  live.replaceChildren(...fresh.childNodes);
  for (const one of live.querySelectorAll("details[data-key]")) {
    if (open.has(one.dataset.key)) one.open = true;
  }
  if (focused) live.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  offerCopies(live);
}

if (live) {
  const mark = document.querySelector("[data-live-mark]");
  events = new EventSource(live.dataset.live);
  let opened = false;
  events.addEventListener("open", () => {
    if (mark) mark.hidden = false;
    // What changed between two connections is not told.
    if (opened) refresh();
    opened = true;
  });
  events.addEventListener("change", refresh);
  events.addEventListener("end", stopWatching);
  events.addEventListener("error", () => { if (mark) mark.hidden = true; });
}
