// Add Recipient: shows what is asked for, checks as one leaves a field, previews, tests. The form works without it.
"use strict";
{
  const form = document.getElementById("recipient");
  const touched = new Set();
  let sequence = 0;
  let timer = 0;

  const value = (name) => new FormData(form).get(name) ?? "";
  const show = () => {
    const type = value("type");
    const reached = type === "system" ? value("connection") : "email";
    const facts = { type, reached, authentication: value("authentication") };
    for (const part of form.querySelectorAll("[data-when]")) {
      const [name, wanted] = part.dataset.when.split("=");
      part.hidden = !wanted.split(",").includes(facts[name]);
    }
    const email = form.querySelector("label[for=email]");
    email.textContent = type === "user" ? "Work email" : "Email";
  };

  const say = (problems) => {
    for (const input of form.querySelectorAll("[data-pointer]")) {
      const texts = problems[input.dataset.pointer] ?? [];
      const shown = touched.has(input.dataset.pointer) ? texts : [];
      const line = input.closest(".line");
      const place = line ? line.querySelector(".wrong") : document.getElementById(`${input.id}-wrong`);
      if (line && input.dataset.pointer.endsWith("/value") && !shown.length && place.textContent) continue;
      if (place) place.textContent = shown.join("; ");
      if (shown.length) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
    }
  };

  const ask = async (action = "") => {
    const mine = ++sequence;
    const data = new URLSearchParams(new FormData(form));
    if (action) data.set("do", action);
    const answer = await fetch(form.dataset.check, { method: "POST", body: data, headers: { Accept: "application/json" } });
    if (mine !== sequence || !answer.ok) return null;
    const found = await answer.json();
    const preview = document.getElementById("preview");
    const opened = preview.querySelector("details")?.open;
    preview.innerHTML = found.preview;
    preview.querySelector("details")?.toggleAttribute("open", Boolean(opened));
    if (action === "test") for (const pointer of Object.keys(found.problems)) touched.add(pointer);
    say(found.problems);
    if (!Object.keys(found.problems).length) document.getElementById("problems")?.remove();
    return found;
  };
  const soon = () => { clearTimeout(timer); timer = setTimeout(ask, 350); };

  const renumber = () => {
    form.querySelectorAll("#headers .line").forEach((line, number) => {
      const [name, content, sensitive] = line.querySelectorAll("input");
      name.name = `header-name-${number}`;
      content.name = `header-value-${number}`;
      sensitive.name = `header-sensitive-${number}`;
      name.dataset.pointer = `/webhook/headers/${number}/name`;
      content.dataset.pointer = `/webhook/headers/${number}/value`;
      name.setAttribute("aria-label", `Header name ${number + 1}`);
      content.setAttribute("aria-label", `Header value ${number + 1}`);
      const remove = line.querySelector("button");
      remove.value = `remove-header:${number}`;
      remove.setAttribute("aria-label", `Remove header ${number + 1}`);
    });
  };
  const add = (before) => {
    const line = document.createElement("div");
    line.className = "line";
    line.innerHTML = '<input type="text" placeholder="Name" spellcheck="false"><input type="text" placeholder="Value" '
      + 'spellcheck="false" autocomplete="off"><label class="check"><input type="checkbox"> Sensitive</label>'
      + '<button class="small" name="do" data-remove>✕</button><div class="wrong" role="alert"></div>';
    before.before(line);
    renumber();
    line.querySelector("input").focus();
  };

  form.addEventListener("change", (event) => {
    const line = event.target.closest(".line");
    if (line && event.target.type === "checkbox") {
      line.querySelectorAll("input")[1].type = event.target.checked ? "password" : "text";
    }
    show();
    soon();
  });
  form.addEventListener("input", soon);
  form.addEventListener("focusout", (event) => {
    if (event.target.dataset?.pointer) { touched.add(event.target.dataset.pointer); soon(); }
  });
  form.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.generate) {
      event.preventDefault();
      const bytes = crypto.getRandomValues(new Uint8Array(32));
      const input = document.getElementById(button.dataset.generate);
      input.value = `whsec_${btoa(String.fromCharCode(...bytes))}`;
      touched.add(input.dataset.pointer);
      input.select();
      soon();
    } else if ("addHeader" in button.dataset) {
      event.preventDefault();
      add(button);
    } else if ("remove" in button.dataset) {
      event.preventDefault();
      button.closest(".line").remove();
      renumber();
      form.querySelector("[data-add-header]").focus();
      soon();
    } else if ("test" in button.dataset) {
      event.preventDefault();
      button.disabled = true;
      button.textContent = "Sending …";
      const found = await ask("test");
      button.disabled = false;
      button.textContent = "Send test";
      button.focus();
      if (found) {
        const result = document.getElementById("result");
        result.innerHTML = found.result;
        result.querySelector("[hidden]")?.removeAttribute("hidden");
        result.scrollIntoView({ block: "nearest" });
      }
    }
  });
  for (const part of form.querySelectorAll(".js-only")) part.hidden = false;
  for (const part of form.querySelectorAll(".no-js-only")) part.hidden = true;
  // What the server has already complained about is complained about on.
  for (const input of form.querySelectorAll("[aria-invalid]")) touched.add(input.dataset.pointer);
  show();
}
