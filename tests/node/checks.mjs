// What the scripted checks of the TypeScript SDKs have in common.

const CHECK_DEADLINE_MS = 15_000;

/** Runs the checks on one connected peer, prints how each ended, and ends the process. */
export async function perform(connect, checks, skipped) {
  let [passed, failed] = [0, 0];
  let peer;
  const report = async (name, check) => {
    try {
      await within(check());
      passed += 1;
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      const why = error?.code === undefined ? String(error?.message ?? error) : `${error}`;
      console.log(`not ok ${name}: ${why.replaceAll("\n", " ")}`);
    }
  };
  await report("connect", async () => {
    peer = await connect();
  });
  for (const [name, check] of Object.entries(checks)) {
    if (peer && !skipped.includes(name)) await report(name, () => check(peer));
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

/** The error a call ends with. */
export async function refused(call) {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error("it was answered, a refusal was due");
}

/** Comes back once `holds()` does; `what` is waited for. */
export async function until(holds, what) {
  const deadline = Date.now() + CHECK_DEADLINE_MS / 2;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** `got` and `wanted` are the same JSON. */
export function same(got, wanted, what = "") {
  const [left, right] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (left !== right) throw new Error(`${what} got ${short(left)}, wanted ${short(right)}`.trim());
}

/** `holds`, or `why` is shown. */
export function must(holds, why) {
  if (!holds) throw new Error(`got ${short(JSON.stringify(why))}`);
}

function short(text) {
  return text && text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

function within(promise) {
  const late = new Promise((_, reject) => {
    const fail = () => reject(new Error(`no end within ${CHECK_DEADLINE_MS} ms`));
    setTimeout(fail, CHECK_DEADLINE_MS).unref();
  });
  return Promise.race([promise, late]);
}
