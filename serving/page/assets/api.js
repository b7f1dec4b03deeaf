// The server's own API, and nothing else: the page asks nobody else anything.

// In this page's memory alone, as the admin token is.
let key = "";

export const useKey = (given) => {
  key = given;
};

async function asked(path, options = {}) {
  let answer;
  try {
    const headers = key ? { "x-api-key": key, ...options.headers } : options.headers;
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer; is it still running?");
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    const error = new Error(body?.error ?? `the server answered with ${answer.status}`);
    throw Object.assign(error, { status: answer.status });
  }
  return body;
}

const json = (method, body, headers = {}) => ({
  method,
  headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify(body),
});

export const models = () => asked("v1/models");
export const languages = () => asked("v1/languages");
export const routes = () => asked("v1/routes");
export const prompts = () => asked("v1/prompts");
export const trials = () => asked("v1/trials");

/** Classify texts; `request` is as in the API. */
export const classify = (request, signal) =>
  asked("v1/classify", { ...json("POST", request), signal });

const bearer = (token) => ({ authorization: `Bearer ${token}` });

/** Publish a prompt file; `query` makes it a trial. */
export const publish = (name, file, query, token) =>
  asked(`v1/prompts/${encodeURIComponent(name)}${query}`, {
    method: "PUT",
    headers: { "content-type": "application/octet-stream", ...bearer(token) },
    body: file,
  });

export const promote = (trial, token) =>
  asked("v1/promote", json("POST", { trial }, bearer(token)));

/** Bring a generation back; null is the one before. */
export const rollBack = (to, token) =>
  asked("v1/rollback", json("POST", { to }, bearer(token)));

export const endTrial = (trial, token) =>
  asked("v1/rollback", json("POST", { trial: String(trial) }, bearer(token)));
