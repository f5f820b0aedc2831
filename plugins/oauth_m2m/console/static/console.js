// The pages work without this: a link to a page that asks becomes a dialog, a secret can be copied, and nobody
// leaves the page of a secret by mistake.

const status = document.getElementById("status");

function say(text) {
  const line = document.createElement("p");
  line.className = "notice";
  line.textContent = text;
  status.replaceChildren(line);
}

// <a data-dialog href="PAGE"> shows the element #ask of PAGE in a dialog
async function ask(link) {
  const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
  const asked = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("ask");
  if (asked === null) {
    // an error, or the login
    location.assign(link.href);
    return;
  }
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "ask-title");
  dialog.append(document.adoptNode(asked));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) {
      event.preventDefault();
      dialog.close();
    }
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    link.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("[data-close]").focus(); // what does nothing comes first
}

for (const link of document.querySelectorAll("a[data-dialog]")) {
  link.setAttribute("role", "button");
  link.setAttribute("aria-haspopup", "dialog");
  link.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      event.preventDefault();
      link.click();
    }
  });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-dialog]");
  if (link && event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)) {
    event.preventDefault();
    ask(link).catch(() => location.assign(link.href));
  }
});

// <button data-copy="ID"> copies the value of the field ID
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      say("Copied.");
    } catch {
      say("Selected: copy it with your keyboard.");
    }
  });
}

// <form data-once>: the page is left by this form, or after a question, and no "back" leads to it
const once = document.querySelector("form[data-once]");
if (once !== null) {
  const stay = (event) => event.preventDefault();
  addEventListener("beforeunload", stay);
  once.addEventListener("submit", (event) => {
    event.preventDefault();
    removeEventListener("beforeunload", stay);
    location.replace(once.action);
  });
}

// a form is sent once, however often it is clicked within a few seconds
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  setTimeout(() => delete form.dataset.sent, 5000);
});
