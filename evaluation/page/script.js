"use strict";
const controls = document.querySelector(".controls");
const cards = document.querySelector("#cards");

function show() {
  for (const stack of document.querySelectorAll(".stack")) {
    for (const side of ["left", "right"]) {
      for (const image of stack.querySelectorAll("img")) {
        image.classList.toggle(side, image.dataset.layer === controls.elements[side].value);
      }
    }
  }
}

function valueOf(card, order) {
  const found = [...card.querySelectorAll("data")].find((one) => one.dataset.order === order);
  return found ? Number(found.value) : NaN;
}

function sort() {
  const order = controls.elements.order.value;
  const sign = controls.elements.down.checked ? -1 : 1;
  const all = [...cards.children];
  if (order === "name") {
    all.sort((a, b) => sign * a.dataset.name.localeCompare(b.dataset.name));
  } else {
    const values = new Map(all.map((card) => [card, valueOf(card, order)]));
    all.sort((a, b) => {
      const [x, y] = [values.get(a), values.get(b)];
      return Number.isNaN(x) - Number.isNaN(y) || sign * (x - y);  // what has no number comes last
    });
  }
  cards.append(...all);
}

function sortTable(heading) {
  const table = heading.closest("table");
  const place = heading.cellIndex;
  const down = heading.dataset.down !== "yes";
  heading.dataset.down = down ? "yes" : "no";
  const key = (row) => row.cells[place].dataset.value ?? row.cells[place].textContent;
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (place === 0) return (down ? 1 : -1) * x.localeCompare(y);
    return (x === "") - (y === "") || (down ? -1 : 1) * (Number(x) - Number(y));
  });
  table.tBodies[0].append(...rows);
}

controls.elements.left.addEventListener("change", show);
controls.elements.right.addEventListener("change", show);
controls.elements.order.addEventListener("change", sort);
controls.elements.down.addEventListener("change", sort);
cards.addEventListener("input", (event) => {
  if (event.target.type === "range") {
    event.target.closest("article").querySelector(".stack").style.setProperty("--at", `${event.target.value}%`);
  }
});
for (const heading of document.querySelectorAll(".sortable thead th")) {
  heading.addEventListener("click", () => sortTable(heading));
}
show();
