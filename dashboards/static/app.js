// Draws the charts, zooms in time, keeps the theme, copies commands, follows a report. Pages work without it: numbers stand in tables.
"use strict";
(() => {
  const root = document.documentElement;
  const coarse = window.matchMedia("(pointer: coarse)").matches;
  const night = window.matchMedia("(prefers-color-scheme: dark)");

  // ---- colours: a figure names them ("--blue"), the stylesheet knows them

  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);

  let known = new Map();
  function color(name) {
    if (!known.has(name)) {
      probe.style.color = `var(${name})`;
      known.set(name, getComputedStyle(probe).color);
    }
    return known.get(name);
  }

  const COLORED = new Set(["color", "fillcolor", "bgcolor", "bordercolor"]);
  function painted(value, key) {
    if (Array.isArray(value)) {
      return key === "colorscale" ? value.map(([at, name]) => [at, color(name)]) : value.map((one) => painted(one));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, painted(one, name)]));
    }
    return COLORED.has(key) && typeof value === "string" && value.startsWith("--") ? color(value) : value;
  }

  // ---- charts

  function merged(base, over) {
    const result = { ...base };
    for (const [key, value] of Object.entries(over || {})) {
      const plain = value && typeof value === "object" && !Array.isArray(value);
      result[key] = plain ? merged(result[key] || {}, value) : value;
    }
    return result;
  }

  function axis() {
    return { gridcolor: "--grid", linecolor: "--line", zeroline: false, tickcolor: "--line", automargin: true };
  }

  // Cuts a label without cutting an escaped character (&lt;) in two.
  function shortened(text, length) {
    return `${text.match(/&(?:amp|lt|gt);|[^]/gu).slice(0, length).join("")}…`;
  }

  function layout(own, width) {
    const text = { family: getComputedStyle(root).fontFamily, size: 12, color: "--muted" };
    const full = merged(
      {
        ...(paper ? { width: paper, autosize: false } : { autosize: true }),
        margin: { l: 44, r: 12, t: 18, b: 30 },
        font: text,
        paper_bgcolor: "transparent",
        plot_bgcolor: "transparent",
        hovermode: "x unified",
        hoverlabel: { bgcolor: "--surface", bordercolor: "--line", font: { color: "--ink" } },
        legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "transparent" },
        dragmode: coarse ? false : "zoom", // a finger scrolls the page
        xaxis: { ...axis(), showgrid: false },
        yaxis: { ...axis(), nticks: 5 },
        separators: ".\u202f",
      },
      own,
    );
    const wide = width > 520;
    full.xaxis.nticks ??= Math.max(3, Math.floor(width / 80));
    full.xaxis.tickangle = 0;
    if (full.yaxis.ticktext && !wide) {
      full.yaxis.ticktext = full.yaxis.ticktext.map((name) => (name.length > 16 ? shortened(name, 15) : name));
    }
    if (full.yaxis2) full.yaxis2 = { ...axis(), ...full.yaxis2 };
    if (full.xaxis2) full.xaxis2 = { ...axis(), showgrid: false, tickangle: 0, ...full.xaxis2 };
    if (full.showlegend || full.annotations) full.margin = { ...full.margin, t: 30 };
    const result = painted(full);
    for (const one of ["xaxis", "xaxis2", "yaxis", "yaxis2"]) {
      if (result[one]) {
        result[one].gridcolor = color("--grid");
        result[one].linecolor = result[one].tickcolor = color("--line");
      }
    }
    return result;
  }

  const CONFIG = { displayModeBar: false, responsive: true, displaylogo: false, showTips: false, scrollZoom: false };

  function draw(plot) {
    const figure = localized(JSON.parse(document.getElementById(plot.dataset.figure).textContent));
    const data = figure.data.map((trace) => painted(figure.x && !trace.x ? { ...trace, x: figure.x } : trace));
    plot.querySelector("noscript")?.remove();
    plot.setAttribute("data-drawn", "");
    return Plotly.react(plot, data, layout(figure.layout, paper || plot.clientWidth), CONFIG).then(() => {
      if (document.querySelector("[data-ranges]") && overTime(figure) && !plot.dataset.zoom) watchTime(plot, figure);
      if (figure.links && !plot.dataset.links) {
        plot.dataset.links = "yes";
        plot.on("plotly_click", (event) => {
          const url = figure.links[event.points[0].y];
          if (url) window.location.assign(url);
        });
      }
      part(plot);
      if (!plot.dataset.parted) plot.on("plotly_afterplot", () => part(plot));
      plot.dataset.parted = "yes";
      plot.setAttribute("data-ready", "");
    });
  }

  // Of notes that would stand over each other the first one stays.
  function part(plot) {
    const kept = [];
    for (const note of plot.querySelectorAll(".annotation")) {
      const box = note.getBoundingClientRect();
      const met = kept.some((one) => one.left < box.right && box.left < one.right && one.top < box.bottom && box.top < one.bottom);
      note.style.visibility = met ? "hidden" : "";
      if (!met) kept.push(box);
    }
  }

  // ---- time: dragging over a chart, or a click on a point, shows that stretch in all charts; the address keeps it

  function overTime(figure) {
    return figure.layout.xaxis?.type === "date";
  }

  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const clocks = new Map();

  // "2013-03-04 13:00" in UTC by the clock of a zone.
  function wall(text, zone) {
    if (!clocks.has(zone)) {
      const two = { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };
      clocks.set(zone, new Intl.DateTimeFormat("sv-SE", { year: "numeric", ...two, timeZone: zone }));
    }
    return clocks.get(zone).format(new Date(`${text.replace(" ", "T")}Z`)).replace(",", "");
  }

  // A figure by the viewer's clock; one whose steps are days by the clock of the zone that they are days of.
  function localized(figure) {
    if (!overTime(figure)) return figure;
    const zone = figure.zone || own;
    const here = (one) => (typeof one === "string" ? wall(one, zone) : one);
    const moved = (one) => {
      const result = { ...one };
      for (const key of ["x", "x0", "x1"]) if (key in one && one.xref !== "paper") result[key] = here(one[key]);
      return result;
    };
    const { xaxis, shapes, annotations } = figure.layout;
    return {
      ...figure,
      data: figure.data.map((one) => (one.x && !one.xaxis ? { ...one, x: one.x.map(here) } : one)),
      ...(figure.x && { x: figure.x.map(here), utc: [...figure.x, xaxis.range?.[1]] }),
      layout: {
        ...figure.layout,
        xaxis: {
          ...xaxis,
          title: { text: zone, font: { size: 10 }, standoff: 6 },
          ...(xaxis.range && { range: xaxis.range.map(here) }),
        },
        ...(shapes && { shapes: shapes.map(moved) }),
        ...(annotations && { annotations: annotations.map(moved) }),
      },
    };
  }

  // What an axis shows, for the address: an instant; by days, the wall time of the model's zone, which needs no name.
  function instant(text, figure) {
    const time = text.slice(0, 16).replace(" ", "T");
    return figure.zone ? time : `${new Date(time).toISOString().slice(0, 16)}Z`;
  }

  function show(plot, from, to) {
    const address = new URL(window.location.href);
    address.searchParams.delete("range");
    address.searchParams.set("from", from);
    address.searchParams.set("to", to);
    address.hash = plot.closest("figure").id;
    window.location.assign(address);
  }

  function watchTime(plot, figure) {
    plot.dataset.zoom = "yes";
    plot.on("plotly_relayout", (change) => {
      const [from, to] = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      if (typeof from === "string" && typeof to === "string") show(plot, instant(from, figure), instant(to, figure));
    });
    if (figure.links || coarse) return;
    plot.on("plotly_click", (event) => {
      const [from, to] = (figure.utc || []).slice(event.points[0].pointIndex);
      const named = (text) => `${text.replace(" ", "T")}Z`;
      if (from && to) show(plot, named(from), named(to));
    });
  }

  const drawn = new Set();
  function redraw() {
    known = new Map();
    drawn.forEach(draw);
  }

  // ---- paper: light, every chart drawn, as wide as the sheet

  let paper = 0; // pixels, while the page is printed
  let before;

  function watchPaper() {
    addEventListener("beforeprint", () => {
      if (!window.Plotly) return;
      paper = 660;
      before = root.dataset.theme;
      root.dataset.theme = "light";
      document.querySelectorAll(".plot[data-figure]").forEach((plot) => drawn.add(plot));
      redraw();
    });
    addEventListener("afterprint", () => {
      if (!paper) return;
      paper = 0;
      if (before === undefined) delete root.dataset.theme;
      else root.dataset.theme = before;
      redraw();
    });
  }

  function watchCharts() {
    const plots = document.querySelectorAll(".plot[data-figure]");
    if (!plots.length || !window.Plotly) return;
    const seen = new IntersectionObserver(
      (entries) => {
        for (const entry of entries.filter((one) => one.isIntersecting)) {
          seen.unobserve(entry.target);
          drawn.add(entry.target);
          draw(entry.target);
        }
      },
      { rootMargin: "600px" },
    );
    plots.forEach((plot) => seen.observe(plot));
    night.addEventListener("change", redraw);
  }

  // ---- theme: the system's, or the one chosen, which a cookie tells the server

  function watchTheme() {
    const button = document.querySelector("[data-theme-toggle]");
    if (!button) return;
    button.hidden = false;
    button.addEventListener("click", () => {
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : night.matches;
      root.dataset.theme = dark ? "light" : "dark";
      document.cookie = `keepwatch_theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
      redraw();
    });
  }

  // ---- commands to copy

  function watchCopies() {
    for (const button of document.querySelectorAll("[data-copy]")) {
      button.addEventListener("click", async () => {
        const text = button.parentElement.querySelector("code").textContent;
        try {
          await navigator.clipboard.writeText(text);
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(button.parentElement.querySelector("code"));
          button.textContent = "Press Ctrl+C";
        }
        setTimeout(() => (button.textContent = "Copy"), 2000);
      });
    }
  }

  // ---- a report under way: its progress, then the page again

  async function followReport(place) {
    const line = place.querySelector("[data-progress]");
    for (;;) {
      await new Promise((done) => setTimeout(done, 1500));
      try {
        const answer = await fetch(place.dataset.report, { headers: { accept: "application/json" } });
        if (answer.status === 404 || answer.status === 401) return window.location.reload();
        if (!answer.ok) continue;
        const report = await answer.json();
        if (report.state === "done" || report.state === "failed") return window.location.reload();
        if (typeof report.progress === "string") line.textContent = report.progress;
      } catch {
        line.textContent = "The server does not answer; trying again.";
      }
    }
  }

  watchTheme();
  watchPaper();
  watchCharts();
  watchCopies();
  document.addEventListener("keepwatch:renewed", () => {
    drawn.clear();
    watchCharts();
    watchCopies();
  });
  const report = document.querySelector("[data-report]");
  if (report) followReport(report);
})();
