// The first page of the audit follows what happens: every other second its rows are asked for again, and new ones are
// marked. One question at a time, none while nobody looks or while it is paused. Without this a reload does it.

const rows = document.getElementById("events");
const tail = document.getElementById("tail");
const pause = document.getElementById("pause");
const SECONDS = 2;

let paused = false;
let following = rows !== null && "latest" in rows.dataset;

function say(text) {
  if (tail.textContent !== text) {
    tail.textContent = text;
  }
}

function idsOf(body) {
  return new Set(Array.from(body.querySelectorAll("tr[data-event]"), (row) => row.dataset.event));
}

function show(html) {
  const table = new DOMParser().parseFromString(`<table><tbody>${html}</tbody></table>`, "text/html");
  const latest = table.querySelector("tbody");
  const known = idsOf(rows);
  const news = Array.from(latest.querySelectorAll("tr[data-event]")).filter((row) => !known.has(row.dataset.event));
  if (latest.textContent === rows.textContent) {
    return;
  }
  // who reads a row with the keyboard or selects its text keeps it
  if (rows.contains(document.activeElement) || (getSelection()?.containsNode(rows, true) && !getSelection().isCollapsed)) {
    say(`${news.length} new: not shown while you are in the table.`);
    return;
  }
  news.forEach((row) => row.classList.add("new"));
  rows.replaceChildren(...Array.from(latest.childNodes));
  document.getElementById("no-events")?.remove();
  if (news.length > 0) {
    say(news.length === 1 ? "1 new event." : `${news.length} new events.`);
  }
}

async function look() {
  const answer = await fetch(rows.dataset.latest, { headers: { Accept: "text/html" } });
  if (answer.redirected && !new URL(answer.url).pathname.startsWith("/console/audit")) {
    following = false; // the session has ended
    location.reload();
    return;
  }
  if (!answer.ok) {
    throw new Error(String(answer.status));
  }
  show(await answer.text());
}

async function follow() {
  if (!paused && !document.hidden) {
    try {
      await look();
    } catch {
      say("Station does not answer; trying again.");
    }
  }
  if (following) {
    setTimeout(follow, SECONDS * 1000);
  }
}

if (following) {
  pause.hidden = false;
  say("New events appear by themselves.");
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    say(paused ? "Paused: what happens now is shown when you go on." : "New events appear by themselves.");
  });
  setTimeout(follow, SECONDS * 1000);
}
