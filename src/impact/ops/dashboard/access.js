// What every question to the server carries, and what it says where it refuses.

export const TOKEN = "impact.ops.token";

export const bearer = () => ({ authorization: `Bearer ${sessionStorage.getItem(TOKEN)}` });

export async function problem(response) {
  const body = await response.json().catch(() => ({}));
  return body.detail ?? `the server answered ${response.status}`;
}
