// Keys, copies of a chart's numbers, and pages that stay up to date by themselves. Pages work without it.
"use strict";
(() => {
  const fine = !window.matchMedia("(pointer: coarse)").matches;

  // ---- keys: j and k walk through what can be opened, / searches, ? tells all of them

  const STOPS = "main .alert h3 a, main table.models th a, main table.list .main a, main .cause h3 a, main figure.chart";

  function walk(by) {
    const stops = [...document.querySelectorAll(STOPS)].filter((one) => one.offsetParent !== null);
    const at = stops.findIndex((one) => one === document.activeElement || one.contains(document.activeElement));
    const next = stops[at < 0 ? (by > 0 ? 0 : stops.length - 1) : at + by];
    if (!next) return;
    if (next.tagName === "FIGURE") next.tabIndex = -1;
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  const help = document.querySelector("[data-keys]");

  help?.querySelector("[data-close]").addEventListener("click", () => help.close());

  function showKeys() {
    if (help && !help.open) help.showModal();
  }

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help?.open) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
    const search = document.querySelector("input[type=search]");
    if (event.key === "j" || event.key === "k") walk(event.key === "j" ? 1 : -1);
    else if (event.key === "?") showKeys();
    else if (event.key === "/" && search) search.focus();
    else {
      const link = ["[", "]", "-"].includes(event.key) && document.querySelector(`[data-key="${event.key}"]`);
      if (!link) return;
      link.click();
    }
    event.preventDefault();
  });

  const button = document.querySelector("[data-help]");
  if (button && fine) {
    button.hidden = false;
    button.addEventListener("click", showKeys);
  }

  // ---- times are told by the viewer's clock; under the pointer in UTC, and in the model's zone where that is another

  const parts = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" };
  const clock = new Intl.DateTimeFormat("en-GB", parts);
  const utc = new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: "UTC" });

  function tellTimes() {
    for (const time of document.querySelectorAll("time[data-wall]")) {
      const [at, model] = [new Date(time.dateTime), `${time.textContent} ${time.dataset.wall}`];
      time.textContent = clock.format(at).replace("Sept", "Sep");
      time.title ||= `${utc.format(at)} UTC`;
      if (!["UTC", clock.resolvedOptions().timeZone].includes(time.dataset.wall)) time.title += `\n${model}`;
      time.removeAttribute("data-wall");
    }
    for (const name of document.querySelectorAll("[data-zone]")) name.textContent = clock.resolvedOptions().timeZone;
    for (const aside of document.querySelectorAll("[data-zone-aside]")) aside.hidden = clock.resolvedOptions().timeZone === UTC;
    for (const field of document.querySelectorAll("[data-own-zone]")) field.value = clock.resolvedOptions().timeZone;
  }

  // ---- a chart's numbers as CSV or JSON on the clipboard, its picture as a file

  function cell(value) {
    if (value === null || value === undefined) return "";
    let text = String(value);
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`; // no formula for a spreadsheet
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  const UTC = "UTC"; // heads the times of a chart, as they come from the server

  const literal = (text) =>
    String(text).replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

  function rows(figure) {
    const [first] = figure.data;
    if (first.type === "heatmap") {
      const names = figure.layout.yaxis.ticktext.map(literal);
      return [[UTC, ...first.x.slice(0, -1)], ...first.z.map((line, index) => [names[index], ...line])];
    }
    if (first.orientation === "h") {
      const names = figure.layout.yaxis.ticktext.map(literal);
      const series = figure.data.map((one) => one.x);
      return [["", ...figure.data.map((one) => literal(one.name))], ...names.map((name, i) => [name, ...series.map((s) => s[i])])];
    }
    if (figure.edges) {
      const bins = figure.edges.slice(0, -1).map((from, i) => [from, figure.edges[i + 1]]);
      const shares = figure.data.map((one) => one.customdata); // what is drawn is their density
      const head = ["from", "to", ...figure.data.map((one) => literal(one.name))];
      return [head, ...bins.map((bin, i) => [...bin, ...shares.map((some) => some[i])])];
    }
    const x = figure.x || first.x;
    const series = figure.data.filter((one) => !one.x || one.x.length === x.length);
    const head = figure.layout.xaxis?.type === "date" ? UTC : "";
    return [[head, ...series.map((one) => literal(one.name))], ...x.map((at, i) => [at, ...series.map((one) => one.y[i])])];
  }

  function content(plot, kind) {
    const text = document.getElementById(plot.dataset.figure).textContent;
    if (kind === "JSON") return text;
    return rows(JSON.parse(text)).map((line) => line.map(cell).join(",")).join("\n");
  }

  function save(text, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text]));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  async function copy(plot, kind, press) {
    const name = plot.closest("figure").id;
    if (kind === "PNG") {
      await window.Plotly.downloadImage(plot, { format: "png", scale: 2, filename: name });
      return;
    }
    const text = content(plot, kind);
    try {
      await navigator.clipboard.writeText(text);
      press.textContent = "Copied";
    } catch {
      save(text, `${name}.${kind.toLowerCase()}`);
      press.textContent = "Saved";
    }
    setTimeout(() => (press.textContent = kind), 2000);
  }

  function offerCopies() {
    for (const plot of document.querySelectorAll("figure .plot[data-figure]")) {
      const numbers = plot.closest("figure").querySelector(".numbers");
      if (!numbers || numbers.querySelector(".copies")) continue;
      const line = document.createElement("p");
      line.className = "copies";
      line.append("Copy ");
      for (const kind of ["CSV", "JSON", "PNG"]) {
        if (kind === "PNG" && !window.Plotly) continue;
        const press = document.createElement("button");
        press.type = "button";
        press.textContent = kind;
        press.addEventListener("click", () => copy(plot, kind, press));
        line.append(press);
      }
      numbers.querySelector("summary").after(line);
    }
  }

  // ---- a page stays up to date without being loaded again, unless somebody is at it

  async function renew() {
    const answer = await fetch(window.location.href, { headers: { accept: "text/html" } });
    if (answer.status === 429 || answer.status >= 500) return; // an old state is better than an error that stays
    if (answer.redirected || !answer.ok) return window.location.reload();
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = fresh.querySelector("main");
    if (!main) return window.location.reload();
    const open = new Set([...document.querySelectorAll("figure:has(details[open])")].map((one) => one.id));
    for (const plot of document.querySelectorAll(".plot[data-drawn]")) window.Plotly?.purge(plot);
    document.querySelector("main").replaceWith(main);
    document.querySelector("header nav")?.replaceWith(fresh.querySelector("header nav"));
    document.title = fresh.title;
    for (const id of open) {
      document.getElementById(id)?.querySelector("details")?.setAttribute("open", "");
    }
    document.dispatchEvent(new Event("keepwatch:renewed"));
    offerCopies();
    tellTimes();
  }

  // What somebody has begun to fill in, or has opened to do so, would be lost.
  const isBegun = (field) => field === document.activeElement || (field.defaultValue ?? field.value) !== field.value;

  function isFilledIn() {
    const forms = [...document.querySelectorAll("main form")];
    return forms.some((form) => form.closest("details[open]") || [...form.elements].some(isBegun));
  }

  function watchAge() {
    const seconds = Number(document.body.dataset.refresh || 0);
    if (!seconds) return;
    let touched = false;
    for (const kind of ["pointerdown", "keydown", "wheel", "touchmove"]) {
      addEventListener(kind, () => (touched = true), { passive: true });
    }
    setInterval(() => {
      if (!touched && document.visibilityState === "visible" && !isFilledIn()) renew().catch(() => {});
      touched = false;
    }, seconds * 1000);
  }

  tellTimes();
  offerCopies();
  watchAge();
})();
