// Tables: which metric, which lines, in which order. Without this script everything is shown, best first.
(() => {
  "use strict";
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  const nameTheme = () => {
    theme.textContent = isDark() ? "Light colours" : "Dark colours";
  };
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
  });
  prefersDark.addEventListener("change", nameTheme);
  nameTheme();
  theme.hidden = false;

  const sortBy = (table, heading, descending) => {
    const place = [...heading.parentNode.children].indexOf(heading);
    const words = heading.dataset.sort === "text";
    const body = table.tBodies[0];
    const said = (row) => row.querySelector(".label").textContent;
    const rows = [...body.rows].map((row) => [row, words ? said(row) : row.cells[place].dataset.value]);
    rows.sort(([, one], [, other]) => {
      if (words) return (descending ? -1 : 1) * one.localeCompare(other);
      if (one === "" || other === "") return (one === "") - (other === ""); // what has no value stays below
      return (descending ? -1 : 1) * (Number(one) - Number(other));
    });
    body.append(...rows.map(([row]) => row));
    for (const other of heading.parentNode.children) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  };

  for (const table of document.querySelectorAll("table.leaderboard")) {
    for (const heading of table.tHead.rows[0].cells) {
      const words = heading.querySelector(".heading");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...words.childNodes);
      words.replaceWith(button);
      button.addEventListener("click", () => {
        const now = heading.getAttribute("aria-sort");
        const first = heading.dataset.sort === "number"; // numbers start with the highest, names with A
        sortBy(table, heading, now === "none" ? first : now === "ascending");
      });
    }
  }

  for (const board of document.querySelectorAll(".board")) {
    const form = board.querySelector(".filters");
    const metric = form.querySelector(".metric-choice");
    const find = form.querySelector(".find");
    const roles = [...form.querySelectorAll(".role-choice")];
    const tables = [...board.querySelectorAll(".metric")];
    const none = board.querySelector(".none");
    const update = () => {
      const wanted = find.value.trim().toLocaleLowerCase();
      const off = new Set(roles.filter((role) => !role.checked).map((role) => role.value));
      let left = 0;
      for (const table of tables) {
        table.hidden = metric !== null && table.dataset.metric !== metric.value;
        for (const row of table.querySelectorAll("tbody tr")) {
          const said = row.querySelector(".name").textContent.toLocaleLowerCase();
          row.hidden = off.has(row.dataset.role) || !said.includes(wanted);
          if (!row.hidden && !table.hidden) left += 1;
        }
      }
      none.hidden = left > 0;
    };
    form.addEventListener("input", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    update();
  }
})();
