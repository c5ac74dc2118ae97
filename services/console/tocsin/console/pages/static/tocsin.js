// Small helps for every page. Nothing here is needed for a form to work.
"use strict";
document.documentElement.classList.replace("no-js", "js");
const csrf = document.querySelector("meta[name=csrf]")?.content ?? "";

document.addEventListener("click", (event) => {
  const toggle = event.target.closest("[data-toggle]");
  if (toggle) {
    const open = document.getElementById(toggle.dataset.toggle).classList.toggle("open");
    toggle.setAttribute("aria-expanded", String(open));
  }
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const from = document.getElementById(copy.dataset.copy);
    navigator.clipboard?.writeText(from.value ?? from.textContent).then(() => {
      const before = copy.textContent;
      copy.textContent = "Copied";
      setTimeout(() => { copy.textContent = before; }, 1500);
    });
  }
});
document.addEventListener("submit", (event) => {
  const question = event.target.dataset?.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});
document.getElementById("problems")?.focus();

// Live pages: the server says what has changed, the page fetches itself and swaps the parts marked data-live.
const live = [...document.querySelectorAll("[data-live]")];
if (live.length && window.EventSource) {
  const badge = document.getElementById("live");
  const topics = new Set(live.flatMap((part) => part.dataset.live.split(" ")));
  let waiting = 0;
  const refresh = async () => {
    waiting = 0;
    if (document.hidden) { waiting = 1; return; }
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = part.id && fresh.getElementById(part.id);
      const busy = part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select");
      const open = [...part.querySelectorAll("details[open][id]")].map((one) => one.id);
      if (next && !busy && next.innerHTML !== part.innerHTML) {
        part.replaceChildren(...next.childNodes);
        for (const id of open) part.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
      }
    }
  };
  const soon = () => { if (!waiting) waiting = setTimeout(refresh, 250); };
  const source = new EventSource(`/live?topics=${encodeURIComponent([...topics].join(" "))}`);
  source.onopen = () => badge?.classList.add("on");
  source.onerror = () => badge?.classList.remove("on");
  source.addEventListener("changed", (event) => {
    if (JSON.parse(event.data).some((topic) => topics.has(topic))) soon();
  });
  source.addEventListener("reload", soon);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && waiting === 1) soon(); });
}
