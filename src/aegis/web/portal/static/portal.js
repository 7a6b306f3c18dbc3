// Makes the portal's pages live: follows /events, asks for the page again and changes only what changed.
// Everything works without it; it never decides anything. No library.
"use strict";
(() => {
  const root = document.documentElement;
  const main = document.getElementById("main");
  const $ = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));
  const scale = JSON.parse(root.dataset.scale || "{}");

  // -- times in the viewer's zone, kept true ------------------------------------------------------------
  const absolute = new Intl.DateTimeFormat(root.lang, { dateStyle: "medium", timeStyle: "medium" });
  const zone = (date) => {
    const minutes = -date.getTimezoneOffset(), size = Math.abs(minutes);
    return "UTC" + (minutes < 0 ? "−" : "+") + String(Math.floor(size / 60)).padStart(2, "0") + ":" + String(size % 60).padStart(2, "0");
  };
  function relative(date) {
    const seconds = (Date.now() - date.getTime()) / 1000, size = Math.abs(seconds), side = seconds >= 0 ? "ago" : "in";
    if (size < 5) return scale["ago.now"];
    const [unit, name] = size < 60 ? [1, "second"] : size < 3600 ? [60, "minute"] : size < 86400 ? [3600, "hour"] : [86400, "day"];
    const count = Math.floor(size / unit), text = scale[side + "." + name];
    return (typeof text === "string" ? text : count === 1 && text.one ? text.one : text.other).replace("{count}", count);
  }
  function times(from = document) {
    for (const one of all("time[datetime]", from)) {
      const date = new Date(one.dateTime), text = relative(date), full = absolute.format(date) + " " + zone(date);
      if (one.textContent !== text) one.textContent = text;
      if (one.title !== full) { one.title = full; one.dataset.tip = full; }
    }
  }

  // -- change only what changed: same nodes stay, so focus, scroll, selection and what was typed stay ----
  const key = (node) => (node.nodeType === 1 ? node.id || "" : "");
  function same(one, other) {
    return one.nodeType === other.nodeType && one.nodeName === other.nodeName && key(one) === key(other);
  }
  function morph(old, fresh) {
    if (old.nodeType !== 1) { if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue; return; }
    if (old.nodeName === "TIME" && old.dateTime === fresh.dateTime) return;
    const kept = old.nodeName === "DETAILS" ? ["open"] : old.nodeName === "BUTTON" && old.dataset.copy ? ["hidden"] : [];
    for (const { name } of Array.from(old.attributes)) if (!fresh.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
    for (const { name, value } of Array.from(fresh.attributes)) if (old.getAttribute(name) !== value && !kept.includes(name)) old.setAttribute(name, value);
    if (old.nodeName === "INPUT" || old.nodeName === "TEXTAREA") return; // what was typed is the viewer's
    children(old, fresh);
  }
  function children(old, fresh) {
    let at = old.firstChild;
    for (const next of Array.from(fresh.childNodes)) {
      let found = at;
      if (found && !same(found, next)) {
        const id = key(next);
        found = id ? Array.from(old.childNodes).find((one) => key(one) === id && same(one, next)) : null;
        if (found) old.insertBefore(found, at);
      }
      if (found) { morph(found, next); at = found.nextSibling; }
      else old.insertBefore(document.importNode(next, true), at);
    }
    while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
  }

  // -- asking again ------------------------------------------------------------------------------------
  const stale = $("#stale"), live = $("#live"), age = $("#age");
  let seen = Number(main.dataset.seq || 0), asked = false, again = false, loaded = Date.now(), trouble = 0;
  function say(well) {
    if (well) { trouble = 0; stale.hidden = true; live.textContent = age.dataset.live; return; }
    trouble ||= Date.now();
    live.textContent = age.dataset.off;
    if (Date.now() - trouble > 3000) { stale.textContent = stale.dataset.text.replace("{time}", relative(new Date(loaded))); stale.hidden = false; }
  }
  async function refresh() {
    if (asked) { again = true; return; }
    asked = true;
    try {
      const address = new URL(main.dataset.address || location.href, location.href);
      address.searchParams.delete("done");
      if (seen) address.searchParams.set("min_seq", seen);
      const answer = await fetch(address, { headers: { "X-Requested-With": "portal" }, cache: "no-store" });
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) throw new Error("answered " + answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = fresh.getElementById("main");
      if (!next) throw new Error("not a page");
      const notice = $("#done");
      if (notice && !fresh.getElementById("done")) next.prepend(document.importNode(notice, true));
      children(main, next);
      for (const part of ["age", "command"]) { const one = document.getElementById(part), other = fresh.getElementById(part); if (one && other) morph(one, other); }
      main.dataset.seq = next.dataset.seq || 0;
      loaded = Date.now();
      if (document.title !== fresh.title) document.title = fresh.title;
      dress();
      document.dispatchEvent(new CustomEvent("portal:changed"));
    } catch { say(false); } finally {
      asked = false;
      if (again) { again = false; setTimeout(refresh, 250); }
    }
  }

  // -- the stream: fetch instead of EventSource, so that the first request resumes too ------------------
  function concerns(record) {
    const watch = (main.dataset.watch || "").split(" ").filter(Boolean);
    return !watch.length || watch.includes(record.subject);
  }
  let soon = 0;
  function arrived(id, data) {
    seen = Math.max(seen, Number(id) || 0);
    let record;
    try { record = JSON.parse(data); } catch { return; }
    if (!concerns(record) || soon) return;
    soon = setTimeout(() => { soon = 0; refresh(); }, 120);
  }
  async function follow() {
    for (let wait = 500; ; wait = Math.min(wait * 2, 15000)) {
      const stop = new AbortController();
      let quiet = setTimeout(() => stop.abort(), 45000);
      try {
        const answer = await fetch("/events", { headers: { Accept: "text/event-stream", "Last-Event-ID": String(seen) }, cache: "no-store", signal: stop.signal });
        if (answer.status === 401) { location.reload(); return; }
        if (!answer.ok || !answer.body) throw new Error("answered " + answer.status);
        if (trouble) refresh();
        say(true);
        wait = 500;
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let rest = ""; ; ) {
          const { value, done } = await reader.read();
          if (done) break;
          clearTimeout(quiet);
          quiet = setTimeout(() => stop.abort(), 45000);
          const blocks = (rest + value).replace(/\r\n?/g, "\n").split("\n\n");
          rest = blocks.pop();
          for (const block of blocks) {
            let id = "", data = [];
            for (const line of block.split("\n")) {
              if (line.startsWith("id:")) id = line.slice(3).trim();
              else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
            }
            if (data.length) arrived(id, data.join("\n"));
          }
        }
      } catch { /* said below, tried again */ } finally { clearTimeout(quiet); }
      say(false);
      await new Promise((next) => setTimeout(next, wait * (0.75 + Math.random() / 2)));
      say(false);
    }
  }

  // -- small comforts ----------------------------------------------------------------------------------
  function dress() {
    for (const button of all("button[data-copy]")) button.hidden = !navigator.clipboard;
    for (const field of all("input[data-expect]")) check(field);
    times();
  }
  function check(field) {
    const button = field.form && $("button.yes", field.form);
    if (button) button.disabled = field.value.trim() !== field.dataset.expect;
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const source = $(button.dataset.copy);
    await navigator.clipboard.writeText(source.dataset.text || source.textContent);
    const before = button.textContent;
    button.textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = before; }, 1500);
  });
  document.addEventListener("input", (event) => { if (event.target.dataset.expect) check(event.target); });
  const time = $("input[data-local]");
  if (time && time.value) {
    const local = (date) => new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
    time.value = local(new Date(time.value + "Z"));
    time.labels[0].textContent = time.dataset.local + " (" + zone(new Date()) + ")";
    time.form.addEventListener("submit", (event) => {
      event.preventDefault();
      location.href = "/at?time=" + encodeURIComponent(new Date(time.value).toISOString().slice(0, 19) + "Z");
    });
  }

  // -- a log that grows, and a search in it -------------------------------------------------------------
  async function grow(log) {
    let { offset, line } = log.dataset;
    for (let wait = 500; log.dataset.complete !== "true"; ) {
      try {
        const answer = await fetch(log.dataset.source + "?as=lines&wait=1&offset=" + offset + "&line=" + line, { cache: "no-store" });
        if (!answer.ok) throw new Error("answered " + answer.status);
        const end = innerHeight + scrollY > document.body.scrollHeight - 120;
        log.insertAdjacentHTML("beforeend", await answer.text());
        offset = answer.headers.get("X-Next-Offset");
        line = log.children.length ? Number(log.lastElementChild.id.slice(1)) + 1 : line;
        log.dataset.complete = answer.headers.get("X-Complete");
        if (end && !getSelection().toString()) scrollTo(0, document.body.scrollHeight);
        say(true);
        wait = 500;
        if (log.dataset.complete !== "true") await new Promise((next) => setTimeout(next, 150));
      } catch { say(false); await new Promise((next) => setTimeout(next, wait)); wait = Math.min(wait * 2, 15000); }
    }
    location.hash || $("#log-more")?.remove();
    const state = await fetch(location.href, { headers: { "X-Requested-With": "portal" } });
    if (state.ok) morph($("#job-state"), new DOMParser().parseFromString(await state.text(), "text/html").getElementById("job-state"));
    $("#log-more")?.remove();
  }
  const log = $("#log"), search = $("#log-search");
  if (log && search) {
    search.hidden = false;
    let found = [], at = -1;
    const look = () => {
      const text = search.value.toLowerCase();
      found.forEach((one) => one.classList.remove("found"));
      found = text.length < 2 ? [] : all("li", log).filter((one) => one.lastElementChild.textContent.toLowerCase().includes(text));
      found.forEach((one) => one.classList.add("found"));
      at = -1;
      $("#log-count").textContent = text.length < 2 ? "" : search.dataset.found.replace("{count}", found.length);
    };
    search.addEventListener("input", look);
    search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !found.length) return;
      event.preventDefault();
      at = (at + (event.shiftKey ? found.length - 1 : 1)) % found.length;
      found[at].scrollIntoView({ block: "center" });
    });
    if (location.hash === "#cause") $("#to-cause")?.click();
    if (log.dataset.complete !== "true") grow(log);
  }

  dress();
  setInterval(times, 10000);
  if (main.dataset.watch !== undefined) follow();
  else if (main.dataset.poll) setInterval(refresh, Number(main.dataset.poll) * 1000);
})();
