// A schedule's grid: arrow keys move, one box is in the order of the Tab key, dragging paints. Boxes work without it.
"use strict";
{
  const rows = [...document.querySelectorAll("#week tbody tr")].map((row) => [...row.querySelectorAll("input")]);
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const place = (box) => { const row = rows.findIndex((one) => one.includes(box)); return [row, rows[row].indexOf(box)]; };
  const hold = (box) => { for (const one of rows.flat()) one.tabIndex = one === box ? 0 : -1; };
  const week = document.getElementById("week");
  let painting = null;

  hold(rows.flat().find((box) => box.checked) ?? rows[16][0]);
  week.addEventListener("focusin", (event) => hold(event.target));
  week.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const [row, column] = place(event.target);
    rows[row + step[0]]?.[column + step[1]]?.focus();
  });
  week.addEventListener("pointerdown", (event) => { if (event.target.matches("input")) painting = !event.target.checked; });
  week.addEventListener("pointerover", (event) => {
    if (painting !== null && event.buttons && event.target.matches("input")) event.target.checked = painting;
  });
  week.addEventListener("pointerout", (event) => {
    if (painting !== null && event.buttons && event.target.matches("input")) event.target.checked = painting;
  });
  document.addEventListener("pointerup", () => { painting = null; });
}
