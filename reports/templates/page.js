"use strict";
// The page is whole without this: it only lets a column be sorted and opens the cell that a link points to.
for (const head of document.querySelectorAll("th[data-sort]")) {
  const label = head.querySelector(".head");
  const button = document.createElement("button");
  button.type = "button";
  button.title = "Sort by this column";
  button.append(...label.childNodes);
  if (label.hasAttribute("aria-label")) button.setAttribute("aria-label", label.getAttribute("aria-label"));
  label.replaceWith(button);
  button.addEventListener("click", () => sort(head));
}

function sort(head) {
  const kind = head.dataset.sort;
  const before = head.getAttribute("aria-sort");
  const first = kind === "lower" || kind === "text" ? "ascending" : "descending";
  const order = before === null ? first : before === "ascending" ? "descending" : "ascending";
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const column = head.cellIndex;
  const sign = order === "ascending" ? 1 : -1;
  for (const body of head.closest("table").tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    rows.sort((a, b) => compare(a.cells[column].dataset.value, b.cells[column].dataset.value, kind === "text", sign));
    body.append(...rows);
  }
}

// What is undefined stays at the end in both directions.
function compare(a, b, text, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (text ? a.localeCompare(b, "en", { numeric: true }) : Number(a) - Number(b));
}

function reveal() {
  const target = document.getElementById(location.hash.slice(1));
  for (let each = target; each; each = each.parentElement) if (each instanceof HTMLDetailsElement) each.open = true;
}
addEventListener("hashchange", reveal);
reveal();
