// ---- heat maps: a table per method, of any metric, on one scale for all methods ----

const SHADES = 8; // beside none; the style has a class for each

class HeatMaps {
  constructor(root, grid) {
    this.grid = grid;
    this.metric = 0;
    this.chosen = new Set([0]);
    const metrics = made("select", { onchange: () => { this.metric = metrics.selectedIndex; this.draw(); } }, ...grid.views.map((view) => made("option", {}, `${view.title} ${arrow(view)}`)));
    const chips = grid.rows.map(([name], index) => {
      const chip = made("button", { type: "button", class: "chip", "aria-pressed": String(index === 0), onclick: () => {
        if (this.chosen.has(index)) this.chosen.delete(index);
        else this.chosen.add(index);
        chip.setAttribute("aria-pressed", String(this.chosen.has(index)));
        this.draw();
      } }, name);
      return chip;
    });
    this.maps = made("div", { class: "maps" });
    root.replaceChildren(made("div", {},
      grid.views.length > 1 ? made("p", { class: "chips" }, made("label", {}, "Metric ", metrics)) : null,
      grid.rows.length > 1 ? made("div", { class: "chips", role: "group", "aria-label": "Rows that are shown" }, ...chips) : null,
      this.maps,
    ));
    this.draw();
  }

  shade(view, value) {
    const [best, worst] = view.ends;
    return best === worst ? 0 : Math.round((SHADES * (best - value)) / (best - worst));
  }

  draw() {
    const view = this.grid.views[this.metric];
    const shown = [...this.chosen].sort((a, b) => a - b);
    this.maps.replaceChildren(...shown.map((index) => this.table(view, index)));
  }

  mean(mean) {
    if (typeof mean === "string") return made("td", { class: "num over incomplete" }, mean);
    return made("td", { class: mean[3] ? "num over best" : "num over", title: range(mean[1], mean[2], this.grid.views[this.metric]) }, made("span", { class: "value" }, printed(mean[0], this.grid.views[this.metric])));
  }

  table(view, index) {
    const { grid } = this, row = view.rows[index], [name, outliers] = grid.rows[index];
    const wide = grid.severities.length + 2, marks = new Set();
    const cell = (place, step) => {
      const [value, mark] = row.cells[place][step], key = grid.keys[index][place][step];
      if (mark) marks.add(mark);
      const text = value === null ? mark : printed(value, view);
      const link = key ? made("a", { href: "#cells", "data-cell": key }, text) : text;
      return made("td", { class: value === null ? "num na" : `num h${this.shade(view, value)}` }, link, value === null ? null : mark);
    };
    let place = 0;
    const bodies = grid.families.map(([family, names], number) => made("tbody", {},
      grid.families.length > 1 ? made("tr", { class: "over" }, made("th", { scope: "rowgroup" }, family), made("td", { colspan: String(wide - 2) }), this.mean(row.families[number])) : null,
      ...names.map((corruption) => {
        const at = place++;
        return made("tr", {}, made("th", { scope: "row" }, corruption), ...grid.severities.map((_, step) => cell(at, step)), this.mean(row.corruptions[at]));
      })));
    const last = made("tbody", {}, made("tr", { class: "over" }, made("th", { scope: "row" }, "mean"), ...row.severities.map((mean) => this.mean(mean)), this.mean(row.grid)));
    const said = { "\u2026": "has no result yet", "*": "saw only some of the images", "n/a": "is undefined" };
    const remark = [...marks].filter((mark) => said[mark]).map((mark) => `${mark} ${said[mark]}`).join("; ");
    return made("div", { class: "scroll", role: "group", "aria-label": `${name}, ${view.title} by corruption and severity`, tabindex: "0" },
      made("table", { class: "heat" },
        made("caption", {}, name, outliers ? made("span", { class: "tag ood" }, "outlier data") : null),
        made("thead", {}, made("tr", {}, made("th", { scope: "col", class: "pinned" }, "Corruption"), ...grid.severities.map((each) => made("th", { scope: "col", class: "num" }, made("span", { class: "unit" }, "severity"), ` ${each}`)), made("th", { scope: "col", class: "num" }, "mean"))),
        ...bodies, last),
      remark ? made("p", { class: "remark" }, `${remark}.`) : null);
  }
}

whenNear(document.querySelectorAll(".heatmap"), async (root) => {
  const grid = (await data()).grids[root.dataset.of];
  if (grid.views.length) new HeatMaps(root, grid);
});

// ---- means of any metric: over the grid, severities and families, and by corruption ----

function meanCell(mean, metric) {
  if (typeof mean === "string") return made("td", { class: "num incomplete", "data-value": "" }, mean);
  const [value, lo, hi, best, err] = mean, between = range(lo, hi, metric);
  return made("td", { class: best ? "num best" : "num", "data-value": String(value) },
    made("span", { class: "value" }, printed(value, metric)), best ? made("span", { class: "unseen" }, " best") : null,
    between ? made("span", { class: "range" }, between) : null,
    err ? made("span", { class: "range" }, `± ${Number(((metric.percent ? 100 : 1) * err).toPrecision(2))}`) : null);
}

function sortableHead(title, kind, metric) {
  return made("th", { scope: "col", class: metric ? "num" : null, "data-sort": kind }, made("span", { class: "head" }, title), metric ? made("span", { class: "unit" }, ` ${arrow(metric)}`) : null);
}

function scrolled(label, table) {
  const region = made("div", { class: "scroll", role: "group", "aria-label": label, tabindex: "0" }, table);
  makeSortable(region);
  return region;
}

const meanName = ([name, outliers]) => made("th", { scope: "row", "data-value": name }, name, outliers ? made("span", { class: "tag ood" }, "outlier data") : null);

function meansOver(grid, view) {
  const clean = grid.steps[0] === 0;
  const places = ["mean", ...(clean ? ["clean"] : []), ...grid.severities.map((each) => `severity ${each}`), ...grid.families.map(([family]) => family)];
  const rows = grid.rows.map((row, index) => {
    const mine = view.rows[index];
    const means = [mine.grid, ...(clean ? [mine.curve[0]] : []), ...mine.severities, ...mine.families];
    return made("tr", { "data-row": `${row[0]} ${grid.model ?? ""}`, "data-model": grid.model ?? row[0], class: row[1] ? "saw" : null }, meanName(row), ...means.map((mean) => meanCell(mean, view)));
  });
  return scrolled(`${view.title}, means`, made("table", { class: "ranked" },
    made("thead", {}, made("tr", {}, sortableHead(grid.model === null ? "Model" : "Method", "text"), ...places.map((place) => sortableHead(place, view.better, view)))), made("tbody", {}, ...rows)));
}

function meansByCorruption(grid, view) {
  let at = 0;
  const bodies = grid.families.map(([family, names]) => made("tbody", {},
    made("tr", { class: "group" }, made("th", { scope: "rowgroup", colspan: String(grid.rows.length + 1) }, made("span", {}, family))),
    ...names.map((name) => {
      const place = at++;
      return made("tr", {}, made("th", { scope: "row", "data-value": name }, name), ...view.rows.map((row) => meanCell(row.corruptions[place], view)));
    })));
  return scrolled(`${view.title} by corruption`, made("table", {},
    made("thead", {}, made("tr", {}, sortableHead("Corruption", "text"), ...grid.rows.map(([name]) => sortableHead(name, view.better, view)))), ...bodies));
}

drawers.means = (grid) => switchable(grid.views, (view) => made("div", {}, meansOver(grid, view), meansByCorruption(grid, view),
  made("p", { class: "remark" }, "By corruption: means over the severities. Bold is the best of its column above and of its row below, and only where its lead is clear.")));
