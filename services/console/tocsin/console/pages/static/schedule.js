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
  week.addEventListener("pointerdown", (event) => {
    if (event.target.matches("input")) painting = { on: !event.target.checked, from: place(event.target) };
  });
  week.addEventListener("pointerover", (event) => {
    if (!painting || !event.buttons || !event.target.matches("input")) return;
    const [[top, bottom], [left, right]] = place(event.target)
      .map((to, at) => [Math.min(to, painting.from[at]), Math.max(to, painting.from[at])]);
    if (top === bottom && left === right) return; // the click will switch it
    for (const row of rows.slice(top, bottom + 1)) for (const box of row.slice(left, right + 1)) box.checked = painting.on;
  });
  document.addEventListener("pointerup", () => { painting = null; });
}
