// ---- the data of the page: read once, when something first needs it ----

async function read() {
  const bytes = Uint8Array.from(atob(document.getElementById("data").textContent), (letter) => letter.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(plain).text());
}

let reading = null;
const data = () => (reading ??= read());

const DIGITS = Number(document.getElementById("data").dataset.digits); // after the point of a percent
const MINUS = "\u2212", BETWEEN = "\u2013";

function printed(value, metric) {
  const text = metric.percent ? (100 * value).toFixed(DIGITS) : String(Number(value.toPrecision(DIGITS + 2)));
  return text.replace("-", MINUS);
}

function range(lo, hi, metric) {
  return lo === null || lo === undefined || hi === null || hi === undefined ? "" : `${printed(lo, metric)}${metric.percent ? BETWEEN : " to "}${printed(hi, metric)}`;
}

const arrow = (metric) => (metric.better === "neither" ? "" : `${metric.percent ? "% " : ""}${metric.better === "higher" ? "↑" : "↓"}`);

// ---- one cell in a window ----

const PARTIAL = 1, SAW = 2, ABSENT = 4;
const AXES = ["protocol", "model", "dataset", "method"];
const PLACE = 1, MARKS = 5, IMAGES = 6, FIGURES = 7, SAID = 8;

function named(cells, row) {
  return Object.fromEntries(AXES.map((axis, index) => [axis, cells.labels[axis][row[PLACE + index]]]));
}

function figureOf(cells, figure, metric) {
  if (typeof figure === "number") return made("td", { class: "na", title: cells.words[figure] }, `n/a: ${cells.words[figure]}`);
  const [value, lo, hi, err, best] = figure;
  const cell = made("td", { class: best ? "num best" : "num" }, made("span", { class: "value" }, printed(value, metric)));
  if (best) cell.append(made("span", { class: "unseen" }, " best"));
  const between = range(lo, hi, metric);
  if (between) cell.append(made("span", { class: "range" }, between));
  if (err) cell.append(made("span", { class: "range" }, `± ${Number(((metric.percent ? 100 : 1) * err).toPrecision(2))}`));
  return cell;
}

async function show(key) {
  const { cells } = await data();
  const row = cells.rows.find((each) => each[0] === key);
  if (!row) return;
  const place = named(cells, row);
  const metrics = cells.metrics[place.protocol];
  const fields = made("dl", { class: "fields" });
  const field = (name, text) => fields.append(made("dt", {}, name), made("dd", {}, text));
  const link = document.querySelector(`a[data-cell="${CSS.escape(key)}"]`);
  const file = `cells/${key}.json`;
  if (link && link.getAttribute("href") === file) field("result", made("a", { href: file }, file));
  field("images", `${row[IMAGES]}${row[MARKS] & PARTIAL ? ", partial" : ""}`);
  for (let index = 0; index < row[SAID].length; index += 2) {
    const [name, text] = [cells.words[row[SAID][index]], cells.words[row[SAID][index + 1]].replaceAll("{key}", key)];
    field(name, text);
    if (name === "command") fields.lastChild.append(" ", copier(text));
  }
  const figures = made("table", {}, made("tbody", {}, ...metrics.map((metric, index) => made("tr", {},
    made("th", { scope: "row" }, metric.title, " ", made("span", { class: "unit" }, arrow(metric))), figureOf(cells, row[FIGURES][index], metric)))));
  openWindow(`${place.method ? `${place.method} on ` : ""}${place.model}`, made("p", { class: "about" }, `${place.protocol} · ${place.dataset}`), figures, fields);
}

function copier(text) {
  if (!navigator.clipboard) return null;
  const button = made("button", { type: "button", class: "chip", onclick: async () => { await navigator.clipboard.writeText(text); button.textContent = "copied"; } }, "copy");
  return button;
}

function openWindow(title, ...content) {
  const pane = document.getElementById("window");
  pane.replaceChildren(
    made("div", { class: "bar" }, made("h2", { id: "window-title" }, title), made("button", { type: "button", class: "chip", onclick: () => pane.close() }, "Close")),
    ...content,
  );
  pane.onkeydown = null;
  if (!pane.open) pane.showModal();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-cell]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    show(link.dataset.cell);
  }
  const pane = document.getElementById("window");
  if (event.target === pane) pane.close(); // beside it
});

// ---- every cell, a page of rows at a time ----

const STEP = 100;

class Explorer {
  constructor(root, cells) {
    this.root = root;
    this.cells = cells;
    this.shown = STEP;
    this.sorted = null;
    this.choice = { protocol: cells.labels.protocol[0] ?? "", dataset: "" };
    this.head = made("thead");
    this.body = made("tbody");
    this.count = made("output");
    this.more = made("button", { type: "button", class: "chip", onclick: () => { this.shown += 5 * STEP; this.draw(); } });
    root.replaceChildren(
      made("p", { class: "chips" }, this.select("protocol", "Task", false), this.select("dataset", "Data set", true), this.count),
      made("div", { class: "scroll", role: "group", "aria-labelledby": "cells", tabindex: "0" }, made("table", {}, this.head, this.body)),
      made("p", {}, this.more),
    );
    this.draw(true);
    onFilter.push(() => { this.shown = STEP; this.draw(); });
  }

  select(axis, title, all) {
    const box = made("select", { onchange: () => { this.choice[axis] = box.value; this.shown = STEP; this.draw(true); } });
    if (all) box.append(made("option", { value: "" }, "all"));
    for (const label of this.cells.labels[axis]) if (label) box.append(made("option", { value: label }, label));
    return made("label", {}, `${title} `, box);
  }

  get metrics() {
    return this.cells.metrics[this.choice.protocol] ?? [];
  }

  heads() {
    const names = [["Method", "method"], ["Model", "model"], ["Data set", "dataset"]].map(([title, axis]) => this.heading(title, "text", (row) => named(this.cells, row)[axis]));
    const figures = this.metrics.map((metric, index) => this.heading(metric.title, metric.better, (row) => (Array.isArray(row[FIGURES][index]) ? row[FIGURES][index][0] : ""), metric));
    this.head.replaceChildren(made("tr", {}, ...names, ...figures));
  }

  heading(title, kind, value, metric) {
    const head = made("th", { scope: "col", "data-sort": kind, class: metric ? "num" : null });
    const button = made("button", { type: "button", title: "Sort by this column", onclick: () => { this.sorted = { value, text: kind === "text", sign: nextOrder(head) }; this.draw(); } }, title);
    head.append(button);
    if (metric) head.append(" ", made("span", { class: "unit" }, arrow(metric)));
    return head;
  }

  rows() {
    const { protocol, dataset } = this.choice;
    const kept = this.cells.rows.filter((row) => {
      const place = named(this.cells, row);
      return place.protocol === protocol && (!dataset || place.dataset === dataset) && keeps(`${place.method} ${place.model}`, place.model, row[MARKS] & SAW);
    });
    if (!this.sorted) return kept;
    const { value, text, sign } = this.sorted;
    return kept.sort((a, b) => compare(value(a), value(b), text, sign));
  }

  draw(anew = false) {
    if (anew) {
      this.sorted = null;
      this.heads();
    }
    const rows = this.rows();
    this.body.replaceChildren(...rows.slice(0, this.shown).map((row) => this.row(row)));
    this.count.textContent = `${rows.length} results`;
    this.more.hidden = rows.length <= this.shown;
    this.more.textContent = `Show more of the ${rows.length - this.shown} others`;
  }

  row(row) {
    const place = named(this.cells, row);
    const name = made("th", { scope: "row" }, made("a", { href: "#cells", "data-cell": row[0] }, place.method || place.model));
    if (row[MARKS] & SAW) name.append(" ", made("span", { class: "tag ood" }, "outlier data"));
    if (row[MARKS] & PARTIAL) name.append(" ", made("span", { class: "tag" }, `partial, ${row[IMAGES]} images`));
    const figures = this.metrics.map((metric, index) => {
      const figure = row[FIGURES][index];
      return typeof figure === "number" ? made("td", { class: "num na", title: this.cells.words[figure] }, "n/a") : figureOf(this.cells, figure, metric);
    });
    return made("tr", { class: row[MARKS] & PARTIAL ? "partial" : null }, name, made("td", {}, place.model), made("td", {}, place.dataset), ...figures);
  }
}

// Drawn when they come near, so that a page of thousands of cells opens at once.
function whenNear(elements, draw) {
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "400px" });
  for (const element of elements) watcher.observe(element);
}

whenNear(document.querySelectorAll(".explorer"), async (root) => new Explorer(root, (await data()).cells));
