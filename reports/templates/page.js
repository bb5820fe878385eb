// The tables and pictures of the page are whole without a script. This one sorts and filters them and sets the theme;
// the files after it draw charts and print cells from the data at the end of the page.

function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// ---- sorting ----

function makeSortable(root) {
  for (const head of root.querySelectorAll("th[data-sort]")) {
    const label = head.querySelector(".head");
    if (!label) continue;
    const button = made("button", { type: "button", title: "Sort by this column", "aria-label": label.getAttribute("aria-label") });
    button.append(...label.childNodes);
    label.replaceWith(button);
    button.addEventListener("click", () => sort(head));
  }
}

function nextOrder(head) {
  const kind = head.dataset.sort, before = head.getAttribute("aria-sort");
  const first = kind === "lower" || kind === "text" ? "ascending" : "descending";
  const order = before === null ? first : before === "ascending" ? "descending" : "ascending";
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  return order === "ascending" ? 1 : -1;
}

function sort(head) {
  const sign = nextOrder(head), column = head.cellIndex, text = head.dataset.sort === "text";
  for (const body of head.closest("table").tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    rows.sort((a, b) => compare(valueOf(a.cells[column]), valueOf(b.cells[column]), text, sign));
    body.append(...rows);
  }
}

const valueOf = (cell) => cell.dataset.value ?? cell.textContent.trim();

// What is undefined stays at the end in both directions.
function compare(a, b, text, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (text ? String(a).localeCompare(String(b), "en", { numeric: true }) : Number(a) - Number(b));
}

// ---- filtering: every word has to occur in the row's method or model ----

const wanted = { words: [], model: "", saw: true, published: true, task: "", corruption: "" };
const onFilter = []; // what else follows the filter: charts and the table of every cell

function keeps(text, model, saw) {
  const low = text.toLowerCase();
  return wanted.words.every((word) => low.includes(word)) && (wanted.saw || !saw) && (!wanted.model || model === wanted.model);
}

function filter() {
  let kept = 0, all = 0;
  for (const row of document.querySelectorAll("tr[data-row]")) {
    const copied = row.classList.contains("published");
    const saw = row.classList.contains("saw") || row.parentElement.classList.contains("saw");
    const { row: text, model } = row.dataset; // published rows are of no model of this run
    const keep = copied ? wanted.published && keeps(text, wanted.model, false) : keeps(text, model, saw);
    row.hidden = !keep;
    kept += keep;
    all += 1;
  }
  for (const group of document.querySelectorAll("tr.group")) {
    const under = [...group.parentElement.rows].filter((row) => row.dataset.row !== undefined);
    group.hidden = under.length > 0 && under.every((row) => row.hidden);
  }
  filterColumns();
  document.getElementById("kept").textContent = kept === all ? "" : `${kept} of ${all} rows`;
  for (const follow of onFilter) follow();
}

// Tasks are groups of columns of the leaderboard.
function filterColumns() {
  for (const each of document.querySelectorAll("[data-task]")) {
    const { task, grid } = each.dataset;
    each.hidden = (wanted.task && task !== wanted.task) || (wanted.corruption && grid !== wanted.corruption);
  }
}

function listen(id, event, set) {
  const control = document.getElementById(id);
  if (control) control.addEventListener(event, () => { set(control); filter(); });
}

// ---- theme ----

const THEMES = ["system", "light", "dark"];

function setTheme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  document.getElementById("theme").textContent = `Theme: ${name}`;
}

function remembered(name) {
  try {
    if (name === undefined) return localStorage.getItem("bench-theme");
    localStorage.setItem("bench-theme", name);
  } catch (error) { // a browser may keep nothing for a page that is a file
    if (!(error instanceof DOMException)) throw error;
  }
  return name ?? null;
}

// What a link leads to must not come to lie below the bar, however many lines that takes.
function clearBar() {
  const bar = document.querySelector(".top");
  new ResizeObserver(() => {
    const stays = getComputedStyle(bar).position === "sticky";
    document.documentElement.style.scrollPaddingTop = `${stays ? Math.ceil(bar.getBoundingClientRect().height) + 8 : 8}px`;
  }).observe(bar);
}

// ---- views: one at a time; an address after the # names a view, or something in it ----

const HOME = document.getElementById("/"), TITLE = document.title;

function addressed() {
  try {
    return document.getElementById(decodeURIComponent(location.hash.slice(1)) || "/");
  } catch (error) { // a % that encodes nothing
    if (!(error instanceof URIError)) throw error;
    return null;
  }
}

function showView(view) {
  for (const other of document.querySelectorAll(".view.current")) other.classList.remove("current");
  view.classList.add("current");
  document.body.classList.toggle("at-home", view === HOME);
  document.title = view === HOME ? TITLE : `${view.dataset.name} · ${TITLE}`;
  for (const chart of view.querySelectorAll("details[data-opens]")) { // all that a view has is not folded away
    delete chart.dataset.opens;
    chart.open = true;
  }
  showHardest(view);
  for (const link of document.querySelectorAll('.top nav a[href^="#"]')) {
    const path = link.getAttribute("href").slice(1), under = view.dataset.under;
    if (path === view.id || (under && path.startsWith(under))) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function route(event) {
  const target = addressed() ?? HOME, view = target.closest(".view");
  if (!view) return target.scrollIntoView();
  const before = document.querySelector(".view.current");
  showView(view);
  for (const each of document.querySelectorAll(".alone")) each.classList.remove("alone");
  if (target.matches(".shot")) showShot(target);
  for (let each = target; each; each = each.parentElement) if (each instanceof HTMLDetailsElement) each.open = true;
  if (target !== view && !target.matches(".shot")) return target.scrollIntoView();
  if (event && (before !== view || target !== view)) {
    scrollTo({ top: 0, behavior: "instant" });
    document.getElementById("results").focus({ preventScroll: true }); // the next Tab goes into the view
  }
}

function begin() {
  makeSortable(document);
  document.querySelector(".controls").hidden = false;
  clearBar();
  listen("filter", "input", (box) => { wanted.words = box.value.toLowerCase().split(/\s+/).filter(Boolean); });
  listen("of-model", "change", (box) => { wanted.model = box.value; });
  listen("of-task", "change", (box) => { wanted.task = box.value; });
  listen("corruption", "change", (box) => { wanted.corruption = box.value; });
  listen("saw", "change", (box) => { wanted.saw = box.checked; });
  listen("published", "change", (box) => { wanted.published = box.checked; });
  document.querySelector(".controls").addEventListener("submit", (event) => event.preventDefault());
  let theme = THEMES.includes(remembered()) ? remembered() : "system";
  setTheme(theme);
  document.getElementById("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    setTheme(theme);
    remembered(theme);
  });
  addEventListener("hashchange", route);
  route();
}

begin();
