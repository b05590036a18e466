// Sends a change. The token goes in a header that no other page can send, and is kept for this tab only.

const KEY = "balancer-admin-token";
let kept = "";

export function token() {
  try {
    return sessionStorage.getItem(KEY) ?? kept;
  } catch {
    return kept; // a browser that keeps nothing: until the page is closed
  }
}

export function keep(given) {
  kept = given;
  try {
    if (given) sessionStorage.setItem(KEY, given);
    else sessionStorage.removeItem(KEY);
  } catch {
    // See above.
  }
}

const REFUSALS = {
  401: "The token was not accepted. Nothing was changed.",
  412:
    "Somebody has changed something since you opened this. Nothing was changed: look at the present state, and ask " +
    "again.",
};

// PATCH, if `revision` is still the present one. Returns {ok, status, text}: `text` says what was wrong.
export async function change(path, body, revision) {
  const headers = { "Content-Type": "application/json", "If-Match": `"${revision}"`, "X-Operator": "dashboard" };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  let response;
  try {
    response = await fetch(path, { method: "PATCH", headers, body: JSON.stringify(body), credentials: "omit" });
  } catch {
    return { ok: false, status: 0, text: "The balancer does not answer. It is not known whether this was changed." };
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return { ok: true, status: response.status, text: "" };
  const said = answer.error ?? `The balancer answers with ${response.status}`;
  return { ok: false, status: response.status, text: REFUSALS[response.status] ?? `Nothing was changed: ${said}.` };
}
