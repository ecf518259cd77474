// Drives the console in headless Chromium: node console.js '{"base":…,"token":…,"hold":…,"shots":…,"oidc":…}'.
// Scripts are switched off in the pages, as the console promises to work without them.
const assert = require("node:assert/strict");
const path = require("node:path");
const { chromium } = require("playwright-core");

const setting = JSON.parse(process.argv[2]);

async function open(browser, options) {
  const context = await browser.newContext({ javaScriptEnabled: false, ...options });
  // Nothing outside of this machine is asked, whatever a page of the provider names.
  await context.route((url) => !["127.0.0.1", "localhost"].includes(url.hostname), (route) => route.abort());
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("dialog", (dialog) => complaints.push(`dialog: ${dialog.message()}`));
  return { context, page, complaints };
}

async function shoot(page, name) {
  if (setting.shots) await page.screenshot({ path: path.join(setting.shots, `${name}.png`), fullPage: true });
}

async function signIn(page) {
  await page.getByLabel("Operator token").fill(setting.token);
  await page.getByRole("button", { name: "Sign in" }).click();
}

async function decides(browser) {
  const { context, page, complaints } = await open(browser, { viewport: { width: 1100, height: 800 } });
  await page.goto(`${setting.base}/holds/${setting.hold}`);
  assert.ok(page.url().includes("/sign-in"), page.url());
  await shoot(page, "sign-in");
  await signIn(page);
  assert.equal(page.url(), `${setting.base}/holds/${setting.hold}`);
  assert.equal(await page.locator("pre.sql").innerText(), setting.shown);
  assert.equal(await page.locator("script, iframe, img, object").count(), 0);
  for (const mark of setting.marks) assert.ok((await page.locator("mark").allInnerTexts()).includes(mark), mark);
  await shoot(page, "hold");
  const cookies = await context.cookies();
  assert.ok(cookies.every((cookie) => cookie.httpOnly && cookie.sameSite === "Strict"), JSON.stringify(cookies));
  await page.goto(`${setting.base}/holds`);
  await shoot(page, "list");
  await page.getByRole("link", { name: setting.hold }).click();
  // With the keyboard alone.
  await page.getByLabel("Reason").focus();
  await page.keyboard.type("read in full");
  await page.keyboard.press("Tab");
  assert.equal(await page.locator(":focus").innerText(), "Approve once");
  await page.keyboard.press("Enter");
  await page.getByText("It is approved: nothing is left to decide.").waitFor();
  await shoot(page, "approved");
  assert.deepEqual(complaints, []);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.goto(`${setting.base}/holds`);
  assert.ok(page.url().includes("/sign-in"));
  await context.close();
}

async function isDark(browser) {
  const { context, page } = await open(browser, { colorScheme: "dark", viewport: { width: 420, height: 800 } });
  await page.goto(`${setting.base}/sign-in?next=/holds/${setting.hold}`);
  await signIn(page);
  await page.locator("pre.sql").waitFor();
  await page.waitForLoadState("load");
  await shoot(page, "dark");
  assert.equal(await page.evaluate("document.documentElement.scrollWidth <= innerWidth").catch(() => true), true);
  await context.close();
}

// Another site, and so another origin with a name of its own, may not frame the page or post to it.
async function isGuarded(browser) {
  const { context, page } = await open(browser, { javaScriptEnabled: true });
  await page.goto(`${setting.base}/sign-in`);
  await signIn(page);
  const elsewhere = setting.base.replace("127.0.0.1", "localhost");
  await page.goto(`${elsewhere}/sign-in`);
  await page.setContent(`<form method="post" action="${setting.base}/holds/${setting.second}/decision">
    <input name="decision" value="approve"><input name="csrf" value="x"><input name="seen" value="x"><button>Go</button></form>`)
    .catch(() => {});
  await page.goto(`data:text/html,<form method="post" action="${setting.base}/holds/${setting.second}/decision"><input name="decision" value="approve"><input name="csrf" value="x"><input name="seen" value="x"><button>Go</button></form>`);
  await page.getByRole("button").click();
  await page.waitForLoadState();
  assert.ok(page.url().includes("/sign-in") || (await page.innerText("h1")) === "Not decided", page.url());
  // A link from another site still leads to the page: by way of one of ours, which the browser sends the cookie to.
  await page.goto(`data:text/html,<a href="${setting.base}/holds/${setting.second}">hold</a>`);
  await page.getByRole("link").click();
  await page.getByRole("heading", { name: setting.second }).waitFor();
  await context.close();
}

async function signsInElsewhere(browser) {
  const { context, page } = await open(browser);
  await page.goto(`${setting.base}/holds/${setting.second}`);
  await page.getByRole("link", { name: "Sign in with your identity provider" }).click();
  await page.locator("input[name=login]").fill(setting.oidc.subject);
  await page.locator("input[name=password]").fill("any");
  const form = page.url();
  await page.locator("button[type=submit]").click();
  // A click does not wait for the page that it leads to.
  await page.waitForURL((url) => url.href !== form);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByRole("heading", { name: setting.oidc.heading ?? setting.second }).waitFor();
  await shoot(page, `oidc-${setting.oidc.subject}`);
  await context.close();
}

(async () => {
  const browser = await chromium.launch({ executablePath: setting.chromium, args: ["--no-sandbox"] });
  try {
    if (setting.oidc) return await signsInElsewhere(browser);
    await isDark(browser);
    await decides(browser);
    await isGuarded(browser);
  } finally {
    await browser.close();
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
