// The page of an ordinary user, whom polkit lets prune and mount old roots, and nothing else.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Daemon, Page, impermanence } from "./page.mjs";

const daemon = new Daemon();
let page;

before(async () => {
    daemon.start();
    page = await Page.open({ colorScheme: "dark" });
});
after(async () => {
    await daemon.stop();
    await page.close();
});

const roots = () => JSON.parse(impermanence("roots", "--json")).roots;

test("everybody sees how things are", async () => {
    await page.page.getByRole("heading", { name: "Overview" }).waitFor();
    await page.sees("Fresh root, began empty");
    await page.row("2024-11-04_10:33:02").waitFor();
});

test("what polkit refuses is not done, and the page says what to do", async () => {
    await page.button("Pin 2024-11-04_10:33:02").click();
    await page.sees("Turn on administrative access");
    assert.ok(roots().every(r => !r.pinned));
    await page.accessible();
    await page.pictures("refused");
    await page.page.getByRole("button", { name: "Dismiss" }).click();
    await page.gone(page.page.locator(".alert"));
});

test("in a dialog it says so there", async () => {
    await page.button("Take a snapshot…").click();
    await page.button("Take it").click();
    await page.sees("Turn on administrative access", page.dialog);
    await page.button("Cancel").click();
});

test("what was typed is there still when administrative access is turned on, and what was asked is answered", async () => {
    await page.button("Take a snapshot…").click();
    await page.dialog.getByLabel("Label").fill("before the upgrade");
    process.kill(daemon.process.pid, "SIGSTOP");
    await page.button("Take it").click();
    await page.page.evaluate(() => cockpit.dbus(null, { bus: "internal" }).call("/superuser", "cockpit.Superuser", "Start", ["cockpit-bridge"]));
    await page.sees("Asking the daemon…");
    process.kill(daemon.process.pid, "SIGCONT");
    await page.sees("Turn on administrative access", page.dialog);
    assert.equal(await page.dialog.getByLabel("Label").inputValue(), "before the upgrade");
    await page.button("Cancel").click();
});

test("what the kernel refuses is said in the same words", async () => {
    await page.button("Details of 2024-11-04_10:33:02").click();
    await page.button("Browse…").click();
    await page.sees("Turn on administrative access", page.dialog);
    await page.button("Close").click();
    await page.gone(page.row("2024-11-04_10:33:02").getByText("in use")); // it is let go all the same
});

test("what polkit allows is done", async () => {
    await page.button("Prune…").click();
    await page.button("Delete 4 roots").click();
    await page.hears("Prune: done");
    await page.gone(page.row("2024-11-04_10:33:02"));
    assert.equal(roots().length, 2);
});
