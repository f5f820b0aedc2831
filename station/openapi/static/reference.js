// Swagger UI over /openapi.json, for whatever address Station was reached by.
"use strict";

const HOW_TO_CALL = `**Authorize** fetches a token: give a client's id and secret under *client*, then try
\`GET /auth/client\`. Admins give their key under *internal-api-key*. Nothing of it is kept when the page is left.`;

const root = document.getElementById("reference");
const here = new URL(".", location.href).href.replace(/\/$/, "");

// The document names the issuer. Its name may not be the one in the address bar (localhost, a tunnel), and the
// page may talk to its own origin only.
function callHere(description) {
  const issuer = description.servers[0].url;
  description.servers = [{ url: here }];
  for (const scheme of Object.values(description.components.securitySchemes ?? {})) {
    for (const flow of Object.values(scheme.flows ?? {})) {
      flow.tokenUrl = flow.tokenUrl.replace(issuer, here);
    }
  }
}

// Where HTTP Basic is the challenge a browser would ask for a password in a window of its own, over the page,
// unless the request is sent without what the browser itself knows: those endpoints read no cookie.
function withoutPasswordWindow(description) {
  const schemes = description.components.securitySchemes ?? {};
  const isBasic = (name) => schemes[name]?.scheme === "basic";
  const challenges = new Set();
  for (const [path, item] of Object.entries(description.paths)) {
    for (const operation of Object.values(item)) {
      if (operation.security?.some((requirement) => Object.keys(requirement).some(isBasic))) {
        challenges.add(here + path);
      }
    }
  }
  return (request) => {
    if (challenges.has(request.url)) {
      request.credentials = "omit";
    }
    return request;
  };
}

function groupByPath(description) {
  for (const [path, item] of Object.entries(description.paths)) {
    for (const operation of Object.values(item)) {
      if (operation instanceof Object) {
        operation.tags = [path.split("/")[1]];
      }
    }
  }
}

// what Swagger UI leaves without a name, or out of the keyboard's reach (WCAG 2.1, 4.1.2 and 2.1.1)
const NAMES = { "#servers": "Server", ".close-modal": "Close", ".body-param__text": "Request body" };

function completeControls() {
  for (const [selector, name] of Object.entries(NAMES)) {
    for (const control of root.querySelectorAll(`${selector}:not([aria-label])`)) {
      control.setAttribute("aria-label", name);
    }
  }
  for (const control of root.querySelectorAll("tr :is(input, select, textarea):not([aria-label])")) {
    const { paramName, propertyName } = control.closest("tr").dataset;
    control.setAttribute("aria-label", paramName ?? propertyName ?? "Value");
  }
  for (const scrolls of root.querySelectorAll("pre:not([tabindex])")) {
    scrolls.tabIndex = 0;
  }
}

function followColorScheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", follow);
  follow();
}

async function show() {
  const answer = await fetch(`${here}/openapi.json`);
  if (!answer.ok) {
    throw new Error(`openapi.json: ${answer.status}`);
  }
  const description = await answer.json();
  description.info.description = HOW_TO_CALL;
  callHere(description);
  groupByPath(description);
  new MutationObserver(completeControls).observe(root, { childList: true, subtree: true });
  SwaggerUIBundle({
    domNode: root,
    spec: description,
    displayRequestDuration: true,
    persistAuthorization: false, // secrets and tokens end with the page
    queryConfigEnabled: false, // nobody's link changes what is shown
    requestInterceptor: withoutPasswordWindow(description),
    syntaxHighlight: false, // whose colours are too weak
    tryItOutEnabled: true,
    validatorUrl: null, // which is somebody else's
  });
}

followColorScheme();
show().catch((error) => {
  root.textContent = `The reference cannot be shown. ${error}`;
});
