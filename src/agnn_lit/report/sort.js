"use strict";
// A click on a heading sorts its table, numbers from largest and text from A; a second click reverses the order.
// Cells without a value stay last, and footer rows stay in place.
document.querySelectorAll("table.sortable").forEach(function (table) {
  const heads = Array.from(table.tHead.rows[table.tHead.rows.length - 1].cells);
  heads.forEach(function (head, column) {
    head.querySelector("button").addEventListener("click", function () {
      const numeric = head.classList.contains("num");
      const before = head.getAttribute("aria-sort");
      const descending = before ? before === "ascending" : numeric;
      heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = table.tBodies[0];
      const keyed = Array.from(body.rows).map(function (row, index) {
        const raw = row.cells[column].dataset.v;
        const value = raw === undefined || raw === "" ? null : numeric ? Number(raw) : raw;
        return { row: row, value: value, index: index };
      });
      keyed.sort(function (a, b) {
        if (a.value === null || b.value === null) {
          return (a.value === null) - (b.value === null) || a.index - b.index;
        }
        const order = typeof a.value === "number" && typeof b.value === "number"
          ? a.value - b.value
          : String(a.value).localeCompare(String(b.value), "en", { numeric: true });
        return (descending ? -order : order) || a.index - b.index;
      });
      keyed.forEach(function (entry) { body.appendChild(entry.row); });
    });
  });
});
